"""What all benchmarks of modules share: options, a piece of work, the comparison of gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.harness import candidates as measured
from benchmarks.harness.candidates import Candidate, Entry
from benchmarks.harness.measure import Limits, draw, free_bytes
from qkan.kernels.circuits.ansatz import get_ansatz

_JITTER = 0.1  # of pre-activation weights around 1 and biases around 0, as after some training
_ACOS_BOUND = 0.8  # with the jitter, arguments of acos stay inside [-1, 1]


class TokenSize(NamedTuple):
    """Of inputs (batch, tokens, channels)."""

    batch: int
    tokens: int
    channels: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.tokens} x {self.channels}"


@dataclass(frozen=True)
class Options:
    """How modules are measured.

    Attributes:
        inputs: ``"uniform"`` on [-1, 1] or standard ``"normal"``. Trained pre-activations are expanded up to the
            largest input, so they cost more where it is larger.
        ansatz, dtype: of the modules, by name; the ansatz is "" where there are no circuits.
        device: where everything runs.
        threads: of PyTorch on the CPU.
        rounds: timed steps of a candidate; fewer of a slow one.
        limit: seconds that a candidate may take at one size.
        backends: ways to evaluate circuits, by name; engines, for a recurrence.
        seed: of parameters and inputs.
    """

    inputs: str
    ansatz: str
    device: torch.device
    dtype: str
    threads: int
    rounds: int
    limit: float
    backends: tuple[str, ...]
    seed: int

    @property
    def bound(self) -> float:
        """Of uniform inputs."""
        if not self.ansatz:
            return 1.0
        return _ACOS_BOUND if get_ansatz(self.ansatz).encoding_map == "acos" else 1.0

    @property
    def torch_dtype(self) -> torch.dtype:
        """Of parameters and inputs."""
        return getattr(torch, self.dtype)

    def __str__(self) -> str:
        inputs = "standard normal" if self.inputs == "normal" else f"uniform on [-{self.bound:g}, {self.bound:g}]"
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.device.type == "cpu" else ""
        ansatz = f"ansatz {self.ansatz}, " if self.ansatz else ""
        return f"{ansatz}inputs {inputs}, {self.dtype}, {self.device}{threads}"

    def numbers(self, shape: Sequence[int], distribution: str, seed: int) -> Tensor:
        """Random numbers on the device: ``"uniform"`` within the bound of inputs, or standard ``"normal"``."""
        return draw(shape, distribution, self.bound, self.seed + seed).to(self.device, self.torch_dtype)

    def generator(self) -> torch.Generator:
        """A fresh one, for initial values."""
        return torch.Generator(self.device).manual_seed(self.seed)


@dataclass(frozen=True)
class Work(ABC):
    """Something to measure at one size; subclasses say what.

    Attributes:
        size: a named tuple, with ``batch`` rows and circuits with ``reps`` repetitions.
        options: how.
    """

    size: Any
    options: Options

    #: Names its command and its files.
    name: ClassVar[str]
    #: The sizes that a sweep lets grow, by the letter that stands for them.
    axes: ClassVar[Mapping[str, str]] = {}
    #: Candidates that all others are compared with.
    baselines: ClassVar[tuple[str, ...]]
    #: What a step is.
    step: ClassVar[str] = "forward + backward"
    #: Whether the forward pass without gradients is timed, too.
    infers: ClassVar[bool] = False

    @property
    def kind(self) -> str:
        """What tells works of one size apart."""
        return self.name

    @property
    def title(self) -> str:
        """What the table is about."""
        return f"{self.size}: {self.options}"

    @property
    def label(self) -> str:
        """The work in few words."""
        return str(self.size)

    @property
    def rows(self) -> int:
        """Of the whole work, so many of which a step may have fewer."""
        return self.size.batch

    @property
    @abstractmethod
    def numbers(self) -> int:
        """About as many have parameters, inputs and outputs together."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the figures on disk say of the work."""

    @property
    def request(self) -> dict[str, Any]:
        """What other packages must know, where :mod:`benchmarks.harness.peer_modules` has some."""
        return {}

    @property
    @abstractmethod
    def tolerances(self) -> dict[str, float]:
        """Largest errors, with words that say of what."""

    @abstractmethod
    def candidates(self) -> list[Candidate]:
        """Ours and classical ones."""

    def limits(self) -> Limits:
        """What one candidate may take."""
        return Limits(self.options.rounds, self.options.limit, free_bytes(self.options.device))

    def notes(self, entries: Sequence[Entry]) -> list[str]:
        """What the table does not say, in sentences."""
        return []

    def run(self, candidates: Sequence[Candidate], limits: Limits) -> list[Entry]:
        """Measure candidates."""
        return measured.run(candidates, self.rows, self.options.device, limits, infer=self.infers)


def state_of(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """Parameters of a module: its own, but pre-activations a little off their initial values."""
    state = module.state_dict()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in state.items():
        if name.rpartition(".")[2] in ("preact_weight", "preact_bias"):
            noise = 2 * torch.rand(tensor.shape, generator=generator) - 1
            state[name] = tensor + (_JITTER * noise).to(tensor)
    return state


def against_aim(value: float, what: str, way: str, bar: float) -> str:
    """A figure beside what it should be: ``way`` is "at least" or "at most"."""
    met = value >= bar if way == "at least" else value <= bar
    return f"{value:.3g} {what} ({way} {bar:g} is the aim{'' if met else ': MISSED'})"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial values from ``seed`` and leave PyTorch's own stream as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def spread(total: int, wanted: int, device: torch.device) -> Tensor:
    """At most ``wanted`` but at least one of the numbers 0 to total - 1, evenly spread, first and last among them."""
    count = min(total, max(1, wanted))
    return torch.linspace(0, total - 1, count, dtype=torch.float64).round().long().to(device)


def gradient_error(got: Tensor, expected: Tensor, part: tuple[Any, ...], none: float | Tensor = 0.0) -> Tensor:
    """Largest error over the largest entry, where every entry outside of ``part`` should be zero.

    Args:
        got: the gradient.
        expected: that part of it, in double precision.
        part: an index.
        none: stands for the largest entry if all are exactly zero.
    """
    elsewhere = got.detach().double().clone()
    wrong = elsewhere[part] - expected
    elsewhere[part] = 0
    largest = expected.abs().max()
    largest = torch.where(largest == 0, none, largest).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.maximum(wrong.abs().max(), elsewhere.abs().max()) / largest
