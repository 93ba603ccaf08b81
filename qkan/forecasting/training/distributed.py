"""Several processes that train one model on Lightning: which of them this is, and whether they can run here.

Lightning starts them: from one command, it runs the same command again for every further process of the machine;
under torchrun and SLURM (srun) it finds those that are there already. The first process writes the run folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.data.loaders import shard_edges
from qkan.forecasting.io.files import RunError

if TYPE_CHECKING:
    import numpy as np
    from lightning.fabric.plugins.environments import ClusterEnvironment

    from qkan.datasets import ForecastData, Scaler, Series

_LONGEST_WAIT = timedelta(hours=6)  # the others wait while the first process evaluates and writes
_BY_HAND = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


def resolve_device(name: str) -> torch.device:
    """Return the device for ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Raises:
        ValueError: this CUDA device is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(f"device {name!r} is not available: PyTorch sees {count} CUDA devices here; use device='cpu'")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def training_device(config: TrainConfig) -> torch.device:
    """Return the device that this process trains on.

    Raises:
        ValueError: the machine has no such device, or not as many, or they cannot compute as asked for; or the
            processes cannot be started as asked for.
    """
    device = resolve_device(config.device)
    _check_precision(config, device)
    if config.processes == 1:
        return device
    there = torch.cuda.device_count() if device.type == "cuda" else os.cpu_count() or 1
    if config.device.startswith("cuda:"):
        raise ValueError(f"device={config.device!r} is one device, devices={config.devices} more; use device='cuda'")
    if config.devices > there:
        kind = "CUDA devices" if device.type == "cuda" else "CPU cores"
        raise ValueError(
            f"devices={config.devices} are more than the {there} {kind} of this machine; use devices={there}"
        )
    environment = _environment(config)
    return torch.device("cuda", environment.local_rank()) if device.type == "cuda" else device


def rank_of(config: TrainConfig) -> int:
    """Return the number of this process among those that train together, from 0; the first one writes files."""
    if config.processes == 1:
        return 0
    environment = _environment(config)
    if _started_by_others(environment):
        return environment.global_rank()
    return environment.node_rank() * config.devices + environment.local_rank()


def trainer_options(config: TrainConfig, device: torch.device) -> dict[str, Any]:
    """Return the arguments of Lightning's trainer that say where and in what to compute, and its plugins."""
    from lightning.pytorch.strategies import DDPStrategy

    from qkan.forecasting.training.checkpoints import AtomicCheckpointIO

    options = {"accelerator": "gpu" if device.type == "cuda" else "cpu", "precision": config.precision}
    plugins: list[Any] = [AtomicCheckpointIO()]
    if config.processes == 1:
        return {**options, "devices": [device.index] if device.type == "cuda" else 1, "plugins": plugins}
    backend = "nccl" if device.type == "cuda" else "gloo"
    return {
        **options,
        "devices": config.devices,
        "num_nodes": config.num_nodes,
        # Buffers are constants; sending them around in every forward pass would only cost time.
        "strategy": DDPStrategy(process_group_backend=backend, broadcast_buffers=False, timeout=_LONGEST_WAIT),
        "plugins": [*plugins, _environment(config)],
    }


def connect(config: TrainConfig, device: torch.device) -> None:
    """Start the other processes of this machine, if nobody has, and connect with all of them.

    Lightning would do both when the training begins; whoever shares work before it comes here.

    Args:
        config: Says how many there are.
        device: That this process trains on.
    """
    from lightning.fabric.utilities.distributed import _init_dist_connection
    from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

    from qkan._util.signals import children_leave_signals
    from qkan.forecasting.training.process_state import quiet_lightning

    if config.processes == 1 or torch.distributed.is_initialized():
        return
    environment = _environment(config)
    launcher = _SubprocessScriptLauncher(environment, config.devices, config.num_nodes)
    with children_leave_signals(), quiet_lightning():
        launcher.launch(lambda: None)
    _started.append(launcher)
    environment.set_global_rank(rank_of(config))
    environment.set_world_size(config.processes)
    with quiet_lightning():
        _init_dist_connection(environment, "nccl" if device.type == "cuda" else "gloo", timeout=_LONGEST_WAIT)


_started: list[Any] = []  # launchers whose processes run


def end_children() -> None:
    """End the processes that :func:`connect` started: only the first one writes files."""
    for launcher in _started:
        launcher.kill(signal.SIGKILL)
        for process in launcher.procs:
            process.wait()
        launcher.procs.clear()  # Lightning's observer of them would kill this process too
    _started.clear()


@contextlib.contextmanager
def children_end_on_failure() -> Iterator[None]:
    """End the processes that :func:`connect` started if what is done here fails: they would wait for this one."""
    try:
        yield
    except BaseException:
        end_children()
        raise


def gather(config: TrainConfig, own: Any) -> list[Any]:
    """Give every process what all have, in their order; all of them must come here, after :func:`connect`."""
    if config.processes == 1:
        return [own]
    found: list[Any] = [None] * config.processes
    torch.distributed.all_gather_object(found, own)
    return found


def sharing_of(config: TrainConfig) -> OwnShards | None:
    """Return how the processes of a training share a panel on disk; ``None`` where each of them reads all data."""
    return OwnShards(config) if config.processes > 1 and config.shards > 1 else None


class OwnShards:
    """Lets every process map its own shards of a panel on disk, fit the scaler of their series and give it to all.

    Args:
        config: What is trained.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def _range(self, series: Series) -> tuple[int, int]:
        """First of the series of this process, and the one after the last."""
        edges, own = shard_edges(len(series.ids), self.config.shards), self.config.shards // self.config.processes
        rank = rank_of(self.config)
        return int(edges[rank * own]), int(edges[(rank + 1) * own])

    def own(self, series: Series) -> Series:
        """The panel, of which this process maps its own shards."""
        return series.only(*self._range(series))

    def scaler(self, series: Series, train_ends: np.ndarray) -> Scaler:
        """The scaler of all series, whose training parts end there, int64 (series,)."""
        from qkan.datasets import Scaler, fit_scaler

        fitted = fit_scaler(series, train_ends, self.config.scaler, only=range(*self._range(series)))
        connect(self.config, training_device(self.config))
        parts = gather(self.config, (fitted.offset, fitted.scale))
        offset, scale = (tuple(number for part in parts for number in part[place]) for place in (0, 1))
        return Scaler(self.config.scaler, series.ids, offset, scale)


def mapped_values(config: TrainConfig, data: ForecastData) -> tuple[int, ...]:
    """Return how many values of a panel on disk every process has mapped; nothing for data in memory."""
    own = data.series.mapped_values()
    return () if own is None else tuple(gather(config, own))


def wait_for_first() -> None:
    """Wait until the first process has come here too: it has written everything then.

    Raises:
        RunError: it ended before.
    """
    try:
        torch.distributed.barrier()
    except RuntimeError as error:
        raise RunError("the first process ended before it had written the run; see its message") from error


def _environment(config: TrainConfig) -> ClusterEnvironment:
    """Lightning's view of what started this process."""
    from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment

    environment: ClusterEnvironment
    if TorchElasticEnvironment.detect():
        environment = TorchElasticEnvironment()
    elif "SLURM_NTASKS" in os.environ and os.environ["SLURM_NTASKS"] != "1" and SLURMEnvironment.detect():
        if "SLURM_NTASKS_PER_NODE" not in os.environ:
            raise ValueError(
                f"SLURM must know where the processes go: use --nodes={config.num_nodes} "
                f"--ntasks-per-node={config.devices} instead of --ntasks={os.environ['SLURM_NTASKS']}"
            )
        environment = SLURMEnvironment(auto_requeue=False)
    else:
        environment = LightningEnvironment()
        _check_launch(config, environment)
        return environment
    if environment.world_size() != config.processes:
        raise ValueError(
            f"{environment.world_size()} processes were started, and devices={config.devices} with "
            f"num_nodes={config.num_nodes} makes {config.processes}; start as many processes on every node as devices"
        )
    return environment


def _started_by_others(environment: ClusterEnvironment) -> bool:
    from lightning.fabric.plugins.environments import LightningEnvironment

    return not isinstance(environment, LightningEnvironment)


def _check_launch(config: TrainConfig, environment: ClusterEnvironment) -> None:
    """Refuse what Lightning could not start processes for."""
    missing = [name for name in _BY_HAND if name not in os.environ]
    if config.num_nodes > 1 and missing:
        raise ValueError(
            f"num_nodes={config.num_nodes} needs torchrun or SLURM's srun on every node, or the environment variable "
            f"{missing[0]}; use one of them or num_nodes=1"
        )
    main = sys.modules["__main__"]
    if not environment.creates_processes_externally and not hasattr(main, "__file__"):
        raise ValueError(
            f"devices={config.devices} starts the same script again for every process, and an interactive session has "
            "none; write a script, use the command line, or use devices=1"
        )


def _check_precision(config: TrainConfig, device: torch.device) -> None:
    if config.precision == "16-mixed" and device.type != "cuda":
        raise ValueError(
            f"precision='16-mixed' needs a CUDA device, and device={config.device!r} is the CPU here; "
            "use precision='bf16-mixed' or precision='32-true'"
        )
    if config.precision == "bf16-mixed" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ValueError("precision='bf16-mixed' is beyond this CUDA device; use precision='16-mixed'")
