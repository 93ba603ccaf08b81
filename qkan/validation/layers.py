"""Fresh random layers: every backend against PennyLane, outputs and all gradients, over a grid of circuits."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from qkan.kernels.backends import Backend, available_backends, check_backend
from qkan.kernels.circuits.ansatz import ANSATZE, Ansatz
from qkan.layers.options import positive_int
from qkan.layers.qkan_layer import QKANLayer
from qkan.quantum import PennyLane

#: The largest difference allowed, by dtype, relative to the largest entry of the tensor where that is above 1.
TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-10}
#: The same for gradients in single precision through a Chebyshev expansion: slopes at the ends of its domain magnify
#: the rounding of K terms by up to K^2 (docs/how/spectral.md). float64 keeps its tolerance there.
EXPANDED_TOLERANCE = 2e-5
#: Backends that run every circuit.
ALWAYS = ("auto", "bloch", "reference")
#: The grid of :func:`validate_layers`.
REPS = (1, 2, 3, 5)
SHAPES = ((3, 5), (4, 1), (1, 4))
PREACTS: tuple[bool | Literal["input"], ...] = (False, True, "input")


@dataclass(frozen=True)
class Case:
    """A layer to compare: its circuit, sizes and options.

    Attributes:
        ansatz, reps, inputs, outputs, group: as of :class:`qkan.QKANLayer`; preact is its ``preact_trainable``.
        samples: rows of the input.
        dtype: of parameters and inputs.
        per_sample: give every sample circuits of its own.

    Examples:
        >>> from qkan.validation import Case
        >>> print(Case("rpz", reps=2, inputs=3, outputs=2, preact=True))
        rpz, R=2, 3 to 2, preact=True, float64
    """

    ansatz: str | Ansatz
    reps: int
    inputs: int
    outputs: int
    preact: bool | Literal["input"] = False
    group: int | Literal["input"] | None = None
    samples: int = 4
    dtype: torch.dtype = torch.float64
    per_sample: bool = False

    def __str__(self) -> str:
        name = self.ansatz if isinstance(self.ansatz, str) else self.ansatz.name
        parts = [f"{name}, R={self.reps}, {self.inputs} to {self.outputs}"]
        parts += [f"preact={self.preact}"] if self.preact else []
        parts += [f"group={self.group}"] if self.group is not None else []
        parts += ["per-sample theta"] if self.per_sample else []
        return ", ".join([*parts, str(self.dtype).removeprefix("torch.")])


@dataclass(frozen=True)
class Difference:
    """How far one tensor is from PennyLane's.

    Attributes:
        backend: what computed it.
        quantity: ``"output"`` or the name of what it is the gradient of, such as ``"d theta"``.
        value: the largest difference of its entries, divided by the largest entry where that is above 1.
        tolerance: what is allowed.
        case: where.

    Examples:
        >>> from qkan.validation import Difference
        >>> Difference("spectral", "output", value=2e-7, tolerance=1e-6, case="pz").passed
        True
    """

    backend: str
    quantity: str
    value: float
    tolerance: float
    case: str

    @property
    def passed(self) -> bool:
        """Whether it is small enough; what is not a number is not."""
        return self.value <= self.tolerance


def grid() -> list[Case]:
    """The cases of :func:`validate_layers`: all ansätze of the field, both dtypes, and what only some layers have."""
    cases = [
        Case(ansatz, reps, *SHAPES[index % len(SHAPES)], preact=preact, dtype=dtype)
        for index, (ansatz, reps, preact, dtype) in enumerate(product(ANSATZE, REPS, PREACTS, TOLERANCES))
    ]
    for ansatz, dtype in product(ANSATZE, TOLERANCES):
        cases.append(Case(ansatz, 2, 5, 3, preact=True, group=2, dtype=dtype))
        cases.append(Case(ansatz, 2, 3, 2, group="input", dtype=dtype))
        cases.append(Case(ansatz, 2, 3, 2, dtype=dtype, per_sample=True))
    return cases


def validate_layers(
    cases: Iterable[Case] | None = None,
    *,
    backends: Sequence[str] | None = None,
    settings: PennyLane | None = None,
    seed: int = 0,
) -> list[Difference]:
    """Compare backends with PennyLane on fresh random layers.

    Args:
        cases: the layers; None takes :func:`grid`.
        backends: names; None takes ``"auto"`` and all that can run here. One that cannot run a case leaves it out.
        settings: how PennyLane runs, exactly, without shots and noise.
        seed: of parameters and inputs.

    Returns:
        for every case, backend and tensor the largest difference.

    Raises:
        ValueError: settings with shots or noise, or a backend that nobody knows.
        ModuleNotFoundError: PennyLane is not installed.

    Examples:
        >>> from qkan.validation import Case, validate_layers
        >>> found = validate_layers([Case("pz", reps=2, inputs=3, outputs=2)], backends=["spectral"])
        >>> all(difference.passed for difference in found)
        True
    """
    settings, names = exact(settings), checked_backends(backends)
    differences: list[Difference] = []
    for number, case in enumerate(grid() if cases is None else cases):
        differences += compare(case, names, settings, seed + number)
    return differences


def exact(settings: PennyLane | None) -> PennyLane:
    """The settings, or default ones.

    Raises:
        ValueError: they have shots or noise.
    """
    settings = PennyLane() if settings is None else settings
    if settings.shots is not None or settings.noise is not None:
        raise ValueError(f"{settings} estimates or disturbs expectations; compare without shots and noise")
    return settings


def checked_backends(backends: Sequence[str] | None) -> list[str]:
    """The names, or all that can run here.

    Raises:
        ValueError: nobody knows one of them.
    """
    names = runnable_backends() if backends is None else list(backends)
    for name in names:
        check_backend(name, ANSATZE["pz"], "z")
    return names


def runnable_backends() -> list[str]:
    """``"auto"`` and every backend that can run here."""
    return ["auto", *(name for name, reason in available_backends().items() if reason is None)]


def random_layer(case: Case, seed: int) -> tuple[QKANLayer, Tensor, Tensor | None]:
    """A layer with everything that it can have, inputs (samples, inputs), and angles per sample where wanted."""
    generator = torch.Generator().manual_seed(seed)
    layer = QKANLayer(
        positive_int("inputs", case.inputs),
        positive_int("outputs", case.outputs),
        case.reps,
        ansatz=case.ansatz,
        preact_trainable=case.preact,
        group=case.group,
        postact_weight_trainable=True,
        postact_bias_trainable=True,
        dtype=case.dtype,
    )

    def draw(*shape: int, low: float, high: float) -> Tensor:
        numbers = torch.rand(shape, generator=generator, dtype=torch.float64)
        return (low + (high - low) * numbers).to(case.dtype)

    # acos(w x + b) is defined on [-1, 1] and steep at its ends.
    narrow = layer.ansatz.encoding_map == "acos"
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            low, high = {"theta": (-3.0, 3.0), "preact_weight": (0.5, 1.5)}.get(name, (-1.0, 1.0))
            if narrow and name.startswith("preact"):
                low, high = (0.3, 0.8) if name == "preact_weight" else (-0.1, 0.1)
            parameter.copy_(draw(*parameter.shape, low=low, high=high))
    bound = 0.8 if narrow else 2.0
    x = draw(case.samples, case.inputs, low=-bound, high=bound)
    if not case.per_sample:
        return layer, x, None
    circuits = (layer.ansatz.rows(case.reps), layer.ansatz.angles)
    return layer, x, draw(case.samples, case.outputs, case.inputs, *circuits, low=-3.0, high=3.0)


def compare(case: Case, backends: Sequence[str], settings: PennyLane, seed: int) -> list[Difference]:
    """Compare backends with PennyLane on one random layer."""
    layer, x, theta = random_layer(case, seed)
    truth = copy.deepcopy(layer).double()
    expected = results(truth, settings, x.double(), None if theta is None else theta.double())
    differences = []
    for name in backends:
        try:
            found = results(layer, name, x, theta)
        except ValueError:
            if name in ALWAYS:
                raise
            continue  # the backend cannot run such circuits, and says so
        differences += [
            Difference(
                name,
                quantity,
                distance(found[quantity], value),
                tolerance(name, quantity, case.dtype, bool(case.preact)),
                str(case),
            )
            for quantity, value in expected.items()
        ]
    return differences


def tolerance(backend: str, quantity: str, dtype: torch.dtype, trained: bool) -> float:
    """How far ``backend`` may be from PennyLane; ``trained`` says whether pre-activations are."""
    expands = backend == "auto" or backend.startswith("spectral")
    if dtype == torch.float32 and trained and expands and quantity != "output":
        return EXPANDED_TOLERANCE
    return TOLERANCES[dtype]


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two tensors, divided by the largest entry of ``expected`` where that is above 1."""
    scale = max(1.0, float(expected.abs().max()))
    return float((found.double() - expected).abs().max()) / scale


def results(layer: QKANLayer, backend: Backend, x: Tensor, theta: Tensor | None) -> dict[str, Tensor]:
    """Output and every gradient of a weighted sum of outputs, by name."""
    layer.backend = backend
    layer.zero_grad()
    x = x.clone().requires_grad_()
    theta = None if theta is None else theta.clone().requires_grad_()
    y = layer(x, theta)
    upstream = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).to(y.dtype).view_as(y)
    (y * upstream).sum().backward()
    found = {"output": y.detach(), "d x": x.grad}
    if theta is not None:
        found["d theta of samples"] = theta.grad
    gradients = {f"d {name}": parameter.grad for name, parameter in layer.named_parameters()}
    return {name: value for name, value in (found | gradients).items() if value is not None}
