"""Refuse to run beside the other distribution that installs a package named ``qkan``."""

from importlib import metadata


def check_no_conflict() -> None:
    """Raise if the distribution ``qkan`` is installed in this environment as well.

    That distribution (the original authors' package) and this one (``qkan-seq``) both install an import package
    called ``qkan``. Whichever was installed last has overwritten files of the other, so what ``import qkan`` finds
    is a mixture that belongs to neither.

    Raises:
        ImportError: the distribution ``qkan`` is installed.
    """
    try:
        other = metadata.distribution("qkan")
    except metadata.PackageNotFoundError:
        return
    raise ImportError(
        f"The distributions qkan {other.version} and qkan-seq both install the import package 'qkan' and cannot share "
        "one environment: run `pip uninstall qkan qkan-seq` and install qkan-seq again, or give each of them its own "
        "virtual environment."
    )
