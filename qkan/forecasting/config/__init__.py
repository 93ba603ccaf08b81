"""What a training and a comparison can be asked for, checked where it is given."""

#: The modules that other folders import.
__all__ = ["checks", "options"]
