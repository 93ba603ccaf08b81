"""Helpers that know nothing of the package: files, training modes, optional libraries, lazy names."""

#: The modules that other folders import.
__all__ = ["files", "lazy", "module_list", "optional", "train_mode"]
