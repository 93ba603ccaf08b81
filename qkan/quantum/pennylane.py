"""How PennyLane runs the circuits of a layer: one small object that stands where the name of a backend does."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from qkan._util.optional import require_pennylane, unsupported_reason
from qkan.kernels.circuits.ansatz import Ansatz
from qkan.quantum import execution
from qkan.quantum.noise import Noise

#: What each device can do for gradients, the best first. Shots leave parameter-shift alone.
GRADIENTS = {
    "default.qubit": ("backprop", "adjoint", "parameter-shift"),
    "lightning.qubit": ("adjoint", "parameter-shift"),
    "default.mixed": ("backprop", "parameter-shift"),
}
MAX_SHOTS = 10_000_000


@dataclass(frozen=True)
class PennyLane:
    """A backend that runs every circuit gate by gate in PennyLane: ``QKANLayer(..., backend=PennyLane(shots=1000))``.

    All edges and all samples are one broadcast execution, in pieces of bounded memory. The readout must be ``"z"``.

    Args:
        device: ``"default.qubit"``, ``"lightning.qubit"`` or ``"default.mixed"``; None takes default.mixed if there is
            noise, else default.qubit.
        diff_method: ``"backprop"`` (default.qubit, default.mixed; any derivative), ``"adjoint"`` (default.qubit,
            lightning.qubit) or ``"parameter-shift"`` (always possible: every angle is shifted by +-pi/2, and all
            shifted circuits of one gate are one broadcast execution); None takes the first of these that the device,
            the shots and the noise allow.
        shots: measurements of every circuit, or None for exact expectations. The standard error of an estimate is
            sqrt((1 - <Z>^2) / shots).
        noise: a :class:`Noise`, a text such as ``"depolarizing=0.01,readout=0.03"``, or None.
        seed: of the measurements; None draws one. Calls after each other differ, a new object begins again.
        force: run even what is estimated to take longer than :data:`qkan.quantum.runtime_estimate.LIMIT` seconds.

    Raises:
        ValueError: an unknown device, a gradient that the device cannot compute, shots with anything but
            parameter-shift, noise outside [0, 1] or on a device without noise.
        TypeError: shots or a seed that is not an int.

    Examples:
        >>> import torch
        >>> from qkan import PennyLane, QKANLayer
        >>> layer = QKANLayer(3, 2, reps=1, backend=PennyLane(shots=100, seed=0))
        >>> layer(torch.rand(5, 3)).shape
        torch.Size([5, 2])
        >>> print(PennyLane(noise="depolarizing=0.01"))
        pennylane (default.mixed, backprop, noise depolarizing=0.01)
    """

    device: str | None = None
    diff_method: str | None = None
    shots: int | None = None
    noise: Noise | str | None = None
    seed: int | None = None
    force: bool = False
    _devices: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.noise, str):
            object.__setattr__(self, "noise", Noise.parse(self.noise))
        if self.noise is not None and not isinstance(self.noise, Noise):
            raise TypeError(f"noise must be a Noise, a text or None, got {type(self.noise).__name__}")
        if self.device is None:
            object.__setattr__(self, "device", "default.qubit" if self.noise is None else "default.mixed")
        if self.device not in GRADIENTS:
            raise ValueError(f"unknown device {self.device!r}; use one of {', '.join(GRADIENTS)}")
        if self.noise is not None and self.device != "default.mixed":
            raise ValueError(f"device {self.device!r} simulates pure states, which have no noise; use 'default.mixed'")
        _check_int("shots", self.shots, 1, MAX_SHOTS)
        _check_int("seed", self.seed, 0, 2**32 - 1)
        self._check_gradient()

    def _check_gradient(self) -> None:
        possible = GRADIENTS[self.device]  # type: ignore[index]
        if self.diff_method is None:
            object.__setattr__(self, "diff_method", possible[0] if self.shots is None else "parameter-shift")
        every = GRADIENTS["default.qubit"]
        if self.diff_method not in every:
            raise ValueError(f"unknown diff_method {self.diff_method!r}; use one of {', '.join(every)}")
        if self.diff_method not in possible:
            raise ValueError(
                f"device {self.device!r} cannot do diff_method {self.diff_method!r}; use {' or '.join(possible)}"
            )
        if self.shots is not None and self.diff_method != "parameter-shift":
            raise ValueError(
                f"diff_method {self.diff_method!r} needs exact states, but shots={self.shots} gives samples; "
                "use diff_method='parameter-shift', or shots=None"
            )

    def __reduce__(self) -> tuple[type[PennyLane], tuple[Any, ...]]:
        # Copies and pickles carry the settings, not the devices, which hold random states and compiled code.
        return type(self), (self.device, self.diff_method, self.shots, self.noise, self.seed, self.force)

    def __str__(self) -> str:
        parts = [str(self.device), str(self.diff_method)]
        parts += [] if self.shots is None else [f"{self.shots} shots"]
        parts += [] if self.noise is None else [f"noise {self.noise}"]
        return f"pennylane ({', '.join(parts)})"

    def check(self, ansatz: Ansatz, readout: str) -> None:
        """Refuse what no circuit can do.

        Raises:
            ValueError: the readout ``"amplitude"``.
            ModuleNotFoundError: PennyLane is not installed.
        """
        check_measurable(readout)
        reason = unsupported_reason()
        if reason is not None:
            raise ModuleNotFoundError(reason, name="pennylane")

    def open_device(self) -> Any:
        """The PennyLane device, made when it is first needed."""
        if not self._devices:
            qml: ModuleType = require_pennylane()
            self._devices["device"] = qml.device(self.device, wires=1, seed=self.seed)
        return self._devices["device"]

    def phi(
        self,
        x: Tensor,
        theta: Tensor,
        preact_weight: Tensor | None,
        preact_bias: Tensor | None,
        *,
        ansatz: Ansatz,
        reps: int,
        readout: str = "z",
    ) -> Tensor:
        """Evaluate one circuit per element, in double precision; the arguments of
        :func:`qkan.kernels.circuits.statevector.phi`.

        Raises:
            ValueError: what :meth:`check` refuses, or so many circuits that they would take too long.
            ModuleNotFoundError: PennyLane is not installed.
        """
        self.check(ansatz, readout)
        shape = torch.broadcast_shapes(x.shape, theta.shape[:-2])
        angles = execution.gate_angles(x, theta, preact_weight, preact_bias, ansatz=ansatz, reps=reps)
        flat = torch.stack([angle.expand(shape).reshape(-1) for angle in angles])
        circuit = execution.Circuit(ansatz, reps)
        return execution.expectations(circuit, flat, self).reshape(shape).to(theta.dtype)


def check_measurable(readout: str) -> None:
    """Refuse a readout that no circuit measures.

    Raises:
        ValueError: it is not ``"z"``.
    """
    if readout != "z":
        raise ValueError(
            f"no circuit measures readout {readout!r}: |alpha| - |beta| is computed from the simulated state; "
            "use readout='z', the expectation <Z>"
        )


def _check_int(name: str, value: int | None, low: int, high: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int or None, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name} {value} is outside [{low}, {high}]")
