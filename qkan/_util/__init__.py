"""Helpers that know nothing of the package: files, training modes, optional libraries, lazy names."""

#: The modules that other folders import.
__all__ = ["drawing", "files", "lazy", "module_list", "optional", "signals", "train_mode"]
