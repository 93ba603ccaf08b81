"""Random recurrences of every kind, for the tests of their engines."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qkan.kernels.recurrence import api as recurrence
from qkan.kernels.recurrence.types import GATES, Layout, Spec, Weights
from qkan.kernels.spectral.basis import Basis


@dataclass(frozen=True)
class Case:
    """A recurrence with numbers: what :func:`qkan.kernels.recurrence.api.run` takes."""

    spec: Spec
    layout: Layout
    steps: Tensor
    weights: Weights
    h_0: Tensor
    c_0: Tensor | None

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that are there, by name."""
        named = {"steps": self.steps, **self.weights._asdict(), "h_0": self.h_0, "c_0": self.c_0}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def replaced(self, tensors: dict[str, Tensor]) -> Case:
        """The same with other tensors."""
        fields = {name: tensors.get(name) for name in Weights._fields}
        weights = Weights(**fields)  # type: ignore[arg-type]
        return Case(self.spec, self.layout, tensors["steps"], weights, tensors["h_0"], tensors.get("c_0"))

    def to(self, dtype: torch.dtype | None = None, device: str | None = None) -> Case:
        """In another dtype or on another device."""
        return self.replaced({name: tensor.to(device=device, dtype=dtype) for name, tensor in self.tensors().items()})


_FOURIER = Basis("fourier", 2)


@dataclass(frozen=True)
class Kind:
    """A kind of recurrence, without sizes."""

    cell: str = "lstm"
    basis: Basis = _FOURIER
    shaped: bool = False
    encoder: bool = False
    projection: bool = False
    reverse: bool = False
    matmul_dtype: torch.dtype | None = None
    inputs: int = 0

    def __str__(self) -> str:
        parts = [self.cell, self.basis.kind, str(self.basis.size), self.basis.base or "none"]
        for name in ("shaped", "encoder", "projection", "reverse"):
            if getattr(self, name):
                parts.append(name)
        if self.inputs:
            parts.append(f"{self.inputs} inputs")
        return "-".join(parts)


#: Every feature of an engine at least once, alone and combined.
KINDS = (
    Kind(),
    Kind(basis=Basis("fourier", 1)),
    Kind(basis=Basis("fourier", 3, base="silu"), reverse=True),
    Kind(basis=Basis("fourier", 0, base="identity")),
    Kind(basis=Basis("fourier", 0, base="tanh"), encoder=True),
    Kind(basis=Basis("chebyshev", 9, 1.5)),
    Kind(basis=Basis("chebyshev", 6, 1.5, base="gelu"), projection=True),
    Kind(basis=Basis("fourier", 2), shaped=True),
    Kind(basis=Basis("fourier", 2, base="silu"), shaped=True, reverse=True),
    Kind(basis=Basis("chebyshev", 7, 1.25, base="relu"), shaped=True),
    Kind(basis=Basis("fourier", 2), encoder=True),
    Kind(basis=Basis("chebyshev", 8, 4.0), encoder=True, projection=True, reverse=True),
    Kind(basis=Basis("fourier", 2, base="silu"), encoder=True, shaped=True, projection=True),
    Kind(inputs=2),
    Kind(basis=Basis("chebyshev", 8, 2.5, base="silu"), inputs=1, projection=True, reverse=True),
    Kind(basis=Basis("fourier", 2, base="gelu"), inputs=3, shaped=True),
    Kind(cell="gru"),
    Kind(cell="gru", basis=Basis("chebyshev", 7, 1.5, base="silu"), reverse=True),
    Kind(cell="gru", basis=Basis("fourier", 1, base="tanh"), shaped=True),
    Kind(cell="gru", basis=Basis("fourier", 0, base="identity")),
)


def make(
    kind: Kind,
    sizes: tuple[int, ...],
    hidden: int,
    *,
    seed: int = 0,
    batch: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> Case:
    """A recurrence of a kind with random numbers; latents are 3 wide, projections a little narrower than the state."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).to(dtype)

    def rand(*shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1).to(dtype)

    out = max(1, hidden - 2) if kind.projection else hidden
    width, gates = 3 if kind.encoder else out + kind.inputs, GATES[kind.cell] * hidden
    waves = kind.basis.terms - (kind.basis.base is not None)
    planes = 1 + (kind.basis.base is not None) if kind.shaped else kind.basis.terms
    rows, batch = sum(sizes), sizes[0] if batch is None else batch
    weights = Weights(
        matrix=randn(planes, width, gates, scale=(planes * width) ** -0.5),
        bias=randn(gates, scale=0.5),
        activation_coeffs=randn(waves + 1, width, scale=0.6) if kind.shaped else None,
        encoder=rand(width, out) / out if kind.encoder else None,
        projection=rand(out, hidden) / hidden if kind.projection else None,
    )
    steps = rand(rows, width) * 2 if kind.encoder else randn(rows, gates)
    if kind.inputs:
        steps = rand(rows, kind.inputs)
    return Case(
        Spec(kind.cell, kind.basis, kind.matmul_dtype, kind.inputs),  # type: ignore[arg-type]
        Layout(tuple(sizes), kind.reverse),
        steps,
        weights,
        rand(batch, out),
        randn(batch, hidden) if kind.cell == "lstm" else None,
    )


def results(case: Case, backend: str, seed: int = 1) -> dict[str, Tensor]:
    """Outputs and final states, then the gradients of a random weighing of them in every tensor."""
    named = {name: tensor.detach().clone().requires_grad_() for name, tensor in case.tensors().items()}
    of = case.replaced(named)
    found = recurrence.run(of.spec, of.layout, of.steps, of.weights, of.h_0, of.c_0, backend=backend)
    found = [tensor for tensor in found if tensor is not None]
    generator = torch.Generator().manual_seed(seed)
    upstream = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t) for t in found]
    gradients = torch.autograd.grad(found, list(named.values()), upstream)
    values = dict(zip(("outputs", "h_n", "c_n"), found, strict=False))
    values = {name: value.detach() for name, value in values.items()}
    return values | {f"grad {name}": grad for name, grad in zip(named, gradients, strict=True)}


def assert_close(case: Case, backend: str, tolerance: float) -> None:
    """Compare an engine with the reference in float64: outputs, final states and every gradient."""
    expected = results(case.to(torch.float64), "reference")
    for name, got in results(case, backend).items():
        scale = max(1.0, float(expected[name].abs().max()))
        error = float((got.double() - expected[name]).abs().max())
        assert error <= tolerance * scale, f"{name}: {error} beyond {tolerance * scale}"
