"""The backends of layers by name: which there are, which can run here, and simulators that stand where a name does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from qkan.kernels.backend_choice import LAYERS
from qkan.kernels.circuits.ansatz import Ansatz, get_ansatz
from qkan.kernels.circuits.bloch import triton_gpu as bloch_triton
from qkan.kernels.spectral import coefficients as spectral

READOUTS = ("z", "amplitude")
BACKENDS = LAYERS.names


@runtime_checkable
class Simulator(Protocol):
    """Something outside the kernels that evaluates circuits; it may stand where the name of a backend does.

    Any object with these two methods is one; :class:`qkan.PennyLane` is.

    Examples:
        >>> from qkan.quantum import PennyLane, Simulator
        >>> isinstance(PennyLane(), Simulator)
        True
    """

    def check(self, ansatz: Ansatz, readout: str) -> None:
        """Raise an error if it cannot run such circuits at all."""

    def phi(
        self,
        x: Tensor,
        theta: Tensor,
        preact_weight: Tensor | None,
        preact_bias: Tensor | None,
        *,
        ansatz: Ansatz,
        reps: int,
        readout: str,
    ) -> Tensor:
        """Evaluate one circuit per element.

        Args:
            x: real, any shape S.
            theta: (*P, rows, angles) in radians, P broadcastable with S; ``ansatz.gates(reps)`` says which gate takes
                which of them.
            preact_weight, preact_bias: (*P, reps), or None for weight 1 and bias 0.
            ansatz, reps: the circuit.
            readout: ``"z"``, the expectation <Z>, or ``"amplitude"``, |alpha| - |beta|.

        Returns:
            Tensor of the broadcast shape of S and P, in the dtype of ``theta``.
        """
        ...


Backend = str | Simulator
#: Simulators that have a name: who provides one enters it here.
SIMULATORS: dict[str, Callable[[], Simulator]] = {}


def available_backends() -> dict[str, str | None]:
    """Every backend by name, with None if it can run here, else the reason why not."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    like = torch.empty(0, dtype=torch.float32, device=device)
    reasons = dict.fromkeys(LAYERS.names[1:])
    return reasons | {
        "triton": triton_unsupported_reason(like, get_ansatz("pz"), reps=1, per_sample=False),
    }


def triton_unsupported_reason(x: Tensor, ansatz: Ansatz, *, reps: int, per_sample: bool) -> str | None:
    """Why the Triton kernel of circuits cannot run for inputs like ``x``, or None if it can."""
    return bloch_triton.unsupported_reason(
        ansatz=ansatz, reps=reps, device=x.device, dtype=x.dtype, per_sample=per_sample
    )


def resolve_backend(backend: Backend) -> Backend:
    """The simulator of that name, or what was given, if it is a backend.

    Raises:
        ValueError: no backend has that name.
        TypeError: neither a name nor a simulator.
    """
    if isinstance(backend, str):
        if backend in LAYERS.names:
            return backend
        if backend in SIMULATORS:
            return SIMULATORS[backend]()
        raise ValueError(f"unknown backend {backend!r}; use one of {', '.join((*LAYERS.names, *SIMULATORS))}")
    if not isinstance(backend, Simulator):
        raise TypeError(f"backend must be a name or a simulator such as PennyLane(), got {type(backend).__name__}")
    return backend


def check_backend(backend: Backend, ansatz: Ansatz, readout: str, *, sums: bool = True) -> Backend:
    """Return ``backend`` if it is, or names, one that can run such circuits.

    Raises:
        ValueError: it does not, or no input would ever let it run. ``sums`` says whether inputs are summed over.
        TypeError: neither a name nor a simulator.
    """
    simulator = resolve_backend(backend)
    if isinstance(simulator, Simulator):
        simulator.check(ansatz, readout)
    elif backend == "spectral":
        refuse("spectral", spectral.unsupported_reason(ansatz=ansatz, readout=readout, per_sample=False))
    elif backend == "triton" and not sums:
        refuse(backend, NO_EDGES)
    return backend


ON_CPU = "its kernels run on CUDA and ROCm devices"
NO_TRANSFORMS = "its kernels have no rules for transforms of torch.func and no forward derivatives"
NO_EDGES = "its kernels always sum over inputs, and here every edge is asked for"


def refuse(backend: str, reason: str | None, remedy: str = "; use 'bloch' or 'auto'") -> None:
    """Raise ValueError if there is a reason why a backend cannot run."""
    if reason is not None:
        raise ValueError(f"backend {backend!r} cannot run this layer: {reason}{remedy}")


def check_readout(readout: str) -> str:
    """Return ``readout`` if it names one.

    Raises:
        ValueError: it does not.
    """
    if readout not in READOUTS:
        raise ValueError(f"unknown readout {readout!r}; use z (the expectation <Z>) or amplitude (|alpha| - |beta|)")
    return readout
