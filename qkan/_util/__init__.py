"""Helpers that know nothing of the package: files, training modes, optional libraries, lazy names, warnings."""

#: The modules that other folders import.
__all__ = [
    "csv_cells",
    "drawing",
    "files",
    "lazy",
    "lbfgs",
    "linear_maps",
    "module_list",
    "optional",
    "own_warnings",
    "periodogram",
    "signals",
    "torch_files",
    "train_mode",
]
