"""What a trained run believes of its seasons, as numbers, closed forms and plots."""

#: The modules that other folders import.
__all__ = ["plot", "profile"]
