"""``qkan info``."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from qkan import __version__

LIBRARIES = (
    "torch",
    "lightning",
    "torchmetrics",
    "triton",
    "numpy",
    "pandas",
    "scipy",
    "pyarrow",
    "safetensors",
    "pennylane",
)


@click.command(epilog="Example:  qkan info")
def info() -> None:
    """Show versions, devices, and which circuit backends can run here."""
    from qkan._util.optional import unsupported_reason
    from qkan.cli.tables import print_facts
    from qkan.kernels.backends import available_backends

    versions = {"qkan-seq": __version__, "Python": f"{platform.python_version()} on {platform.platform()}"}
    versions |= {name: _version(name) for name in LIBRARIES}
    print_facts(versions, title="Versions")
    print_facts(_devices(), title="Devices")
    reasons = {**available_backends(), "pennylane": unsupported_reason()}
    backends = {name: "can run" if reason is None else reason for name, reason in reasons.items()}
    print_facts(backends, title="Circuit backends")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> dict[str, str]:
    import torch

    devices = {"cpu": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB"
    if len(devices) == 1:
        built = torch.version.cuda or torch.version.hip
        devices["cuda"] = "no device found" if built else "this PyTorch is built for the CPU only"
    return devices
