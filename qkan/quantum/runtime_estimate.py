"""How long PennyLane would take, before it is asked."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds beyond which a call is refused unless it is forced.
LIMIT = 60.0
#: Seconds of one gate of one circuit on one core of an AMD EPYC with PennyLane 0.45, without gradients: by device.
#: lightning.qubit and adjoint gradients run circuits one after the other.
_FORWARD = {"default.qubit": 1.0e-7, "lightning.qubit": 6.7e-5, "default.mixed": 3.0e-6}
#: The same with gradients, where these are no further circuits.
_BOTH = {
    ("default.qubit", "backprop"): 2.2e-7,
    ("default.qubit", "adjoint"): 6.0e-4,
    ("lightning.qubit", "adjoint"): 3.0e-5,
    ("default.mixed", "backprop"): 7.0e-6,
}
_SHOT = 1e-7  # of one measurement
QNODE = 2e-3  # of calling one QNode


@dataclass(frozen=True)
class Workload:
    """One call.

    Attributes:
        circuits: executions: with parameter-shift gradients also those of the shifted circuits.
        seconds: an estimate.
    """

    circuits: int
    seconds: float

    def __str__(self) -> str:
        minutes = self.seconds / 60
        time = f"{self.seconds:.0f} s" if minutes < 2 else f"{minutes:,.0f} min"
        return f"{self.circuits:,} circuits, about {time}"


def estimate(
    circuits: int, gates: int, device: str, diff_method: str, shots: int | None, *, backward: bool
) -> Workload:
    """What ``circuits`` circuits of ``gates`` trained or encoding rotations cost."""
    executions = circuits * (1 + 2 * gates * (backward and diff_method == "parameter-shift"))
    price = _BOTH.get((device, diff_method), _FORWARD[device]) if backward else _FORWARD[device]
    seconds = executions * (gates * price + _SHOT * (shots or 0))
    return Workload(executions, seconds)


def refuse_too_long(work: Workload, force: bool) -> None:
    """Refuse a call that would take longer than :data:`LIMIT`, unless it is forced.

    Raises:
        ValueError: it would; the message gives the estimate.
    """
    if work.seconds > LIMIT and not force:
        raise ValueError(
            f"this call would run {work} in PennyLane, above the limit of {LIMIT:.0f} s; use fewer samples, a smaller "
            "layer or another device, or PennyLane(force=True)"
        )
