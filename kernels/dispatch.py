"""The seam between layers and the ways to evaluate their circuits: one ``backend`` name, one function."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels import bloch, reference
from qkan.kernels.ansatz import Ansatz

READOUTS = ("z", "amplitude")


def _reference(
    x: Tensor,
    theta: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mix: Tensor | None,
    *,
    ansatz: Ansatz,
    reps: int,
    readout: str,
    reduce: bool,
) -> Tensor:
    value = reference.phi(x.unsqueeze(-2), theta, weight, bias, ansatz=ansatz, reps=reps, readout=readout)
    if mix is not None:
        value = value * mix
    return value.sum(-1) if reduce else value


_BACKENDS: dict[str, Callable[..., Tensor]] = {"bloch": bloch.circuits, "reference": _reference}
BACKENDS: tuple[str, ...] = ("auto", *_BACKENDS)


def available_backends() -> dict[str, str | None]:
    """Every backend by name, with None if it can run here, else the reason why not."""
    return dict.fromkeys(_BACKENDS)


def check_backend(backend: str) -> str:
    """Return ``backend`` if it names one.

    Raises:
        ValueError: it does not.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; use one of {', '.join(BACKENDS)}")
    return backend


def check_readout(readout: str) -> str:
    """Return ``readout`` if it names one.

    Raises:
        ValueError: it does not.
    """
    if readout not in READOUTS:
        raise ValueError(f"unknown readout {readout!r}; use z (the expectation <Z>) or amplitude (|alpha| - |beta|)")
    return readout


def circuits(
    x: Tensor,
    theta: Tensor,
    preact_weight: Tensor | None,
    preact_bias: Tensor | None,
    mix: Tensor | None,
    *,
    ansatz: Ansatz,
    reps: int,
    readout: str = "z",
    reduce: bool = True,
    backend: str = "auto",
) -> Tensor:
    """Evaluate the circuits of a layer by the backend asked for.

    Computed in the dtype of ``theta``, at least in float32, also under autocast: angles need the digits.

    Args:
        x: (..., inputs), any real dtype.
        theta: (outputs, inputs, rows, angles) in radians, or with leading dimensions equal to those of ``x``
            (per-sample circuits).
        preact_weight, preact_bias: (outputs, inputs, reps), or None for weight 1 and bias 0.
        mix: (outputs, inputs) weights of the sum over inputs, or None for ones.
        ansatz, reps, readout: the circuit and what is read from it.
        reduce: sum over inputs.
        backend: one of :data:`BACKENDS`; ``"auto"`` takes ``"bloch"``.

    Returns:
        (..., outputs) if ``reduce``, else (..., outputs, inputs), in the dtype of ``theta``.
        Where one circuit per input serves all outputs (theta of one output, ``mix`` of several), the sum over inputs
        is one matrix product.
    """
    evaluate = _BACKENDS["bloch" if backend == "auto" else check_backend(backend)]
    dtype = theta.dtype
    compute = torch.promote_types(dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        lead = x.shape[:-1]
        flat, theta, weight, bias, mix = (
            None if t is None else t.to(compute)
            for t in (x.reshape(-1, x.shape[-1]), theta, preact_weight, preact_bias, mix)
        )
        if theta.dim() > 4:
            theta = theta.expand(*lead, *theta.shape[-4:]).reshape(-1, *theta.shape[-4:])
        options = {"ansatz": ansatz, "reps": reps, "readout": readout}
        if reduce and mix is not None and mix.shape[0] > 1 and theta.shape[-4] == 1:
            shared = evaluate(flat, theta, weight, bias, None, reduce=False, **options)
            out = F.linear(shared.squeeze(-2), mix)
        else:
            out = evaluate(flat, theta, weight, bias, mix, reduce=reduce, **options)
        return out.reshape(*lead, *out.shape[1:]).to(dtype)
