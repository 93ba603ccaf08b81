"""Single-qubit data re-uploading circuits as data.

Every gate used here is a rotation of the Bloch sphere, so a circuit is a list of rotations about coordinate axes
whose angles are sums of trained angles and encoded inputs. An :class:`Ansatz` states the gates;
:meth:`Ansatz.program` turns them into that list. Kernels run the list and know nothing else, so a new ansatz needs no
new kernel.

Definitions: Quantum Variational Activation Functions Empower Kolmogorov-Arnold Networks (arXiv 2509.14026).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple


class Gate(NamedTuple):
    """A gate of one qubit: exp(-i t sigma / 2), which turns the Bloch vector by t, or sigma itself, half a turn.

    Attributes:
        axis: 0, 1 or 2 for x, y, z: what it turns about. A half turn keeps this Bloch component and flips the others.
        rotates: whether it takes an angle t.
        sigma: the Pauli matrix of its axis, by rows.
        pennylane: what PennyLane calls it.
    """

    axis: int
    rotates: bool
    sigma: tuple[tuple[complex, complex], tuple[complex, complex]]
    pennylane: str


_X, _Y, _Z = ((0, 1), (1, 0)), ((0, -1j), (1j, 0)), ((1, 0), (0, -1))
#: By the names that an :class:`Ansatz` and OpenQASM have for them. Whatever simulates circuits reads this table.
GATES: dict[str, Gate] = {
    "rx": Gate(0, True, _X, "RX"),
    "ry": Gate(1, True, _Y, "RY"),
    "rz": Gate(2, True, _Z, "RZ"),
    "x": Gate(0, False, _X, "PauliX"),
    "y": Gate(1, False, _Y, "PauliY"),
    "z": Gate(2, False, _Z, "PauliZ"),
}
ENCODING_MAPS = ("identity", "acos")
MAX_REPS = 1024


@dataclass(frozen=True)
class Rotation:
    """One rotation of the Bloch vector.

    Attributes:
        axis: 0, 1 or 2 for x, y, z.
        thetas: ``(row, column)`` of every trained angle that adds to the rotation angle.
        encodings: index ``l`` of every encoded input ``w_l x + b_l`` that adds to it.
        half_turn: a fixed turn by pi (a Pauli gate); such a step has no angles.
    """

    axis: int
    thetas: tuple[tuple[int, int], ...] = ()
    encodings: tuple[int, ...] = ()
    half_turn: bool = False


@dataclass(frozen=True)
class Ansatz:
    """A single-qubit data re-uploading circuit: ``reps`` times (block, encoding), then the final gates, then <Z>.

    Args:
        name: what users type and what run folders store.
        block: gates before every encoding; ``"rx"``, ``"ry"``, ``"rz"`` carry one trained angle each, ``"x"``,
            ``"y"``, ``"z"`` are Pauli gates.
        encoding: the rotation that takes the input, ``"rx"``, ``"ry"`` or ``"rz"``.
        final: gates after the last encoding.
        initial: the Bloch vector before the first gate; the default is that of H|0>.
        encoding_map: ``"identity"`` encodes the angle ``w x + b``; ``"acos"`` encodes ``acos(w x + b)``, defined on
            [-1, 1] and NaN outside, as :func:`torch.acos` is.
        trains_preact_bias: the phase ``b`` is trained even where the pre-activation is not, because without it the
            circuit could only express even functions.
        near_linear: where the angles of row 1 of theta sit when ``phi(x)`` is about ``sin(a) sin(w_0 x)`` and all other
            angles are near zero, with the column of ``a`` named by ``slope``; None if the circuit has no such point. An
            ansatz that does not encode about z has them in its last row, and only ``a`` in row 1.
        slope: the column of row 1 of theta that scales the near-linear function.

    Raises:
        ValueError: a gate, axis, map or vector that is not one of the above, or a circuit without trained angles.

    Examples:
        >>> from qkan import Ansatz, QKANLayer
        >>> mine = Ansatz("mine", block=("rx", "rz"), encoding="ry", final=("rx", "rz"))
        >>> mine.angles, mine.rows(2)
        (2, 3)
        >>> layer = QKANLayer(4, 3, reps=2, ansatz=mine)
    """

    name: str
    block: tuple[str, ...]
    encoding: str = "rz"
    final: tuple[str, ...] = ()
    initial: tuple[float, float, float] = (1.0, 0.0, 0.0)
    encoding_map: Literal["identity", "acos"] = "identity"
    trains_preact_bias: bool = False
    near_linear: tuple[float, ...] | None = None
    slope: int = 0
    _hash: int = field(default=0, init=False, repr=False, compare=False)
    # A plain dictionary, because compilers trace through it without a warning, unlike functools.lru_cache.
    _programs: dict[int, tuple[Rotation, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for part in ("block", "final"):
            gates = tuple(getattr(self, part))
            object.__setattr__(self, part, gates)
            for gate in gates:
                if gate not in GATES:
                    raise ValueError(
                        f"ansatz {self.name!r}: unknown gate {gate!r} in {part}; "
                        "use rx, ry, rz (trained) or x, y, z (Pauli)"
                    )
        if self.encoding not in GATES or not GATES[self.encoding].rotates:
            raise ValueError(f"ansatz {self.name!r}: encoding {self.encoding!r} must be one of rx, ry, rz")
        if self.encoding_map not in ENCODING_MAPS:
            raise ValueError(f"ansatz {self.name!r}: encoding_map {self.encoding_map!r} must be identity or acos")
        object.__setattr__(self, "initial", tuple(float(v) for v in self.initial))
        if self.near_linear is not None:
            object.__setattr__(self, "near_linear", tuple(float(v) for v in self.near_linear))
        if len(self.initial) != 3 or not math.isclose(math.hypot(*self.initial), 1.0, abs_tol=1e-9):
            raise ValueError(f"ansatz {self.name!r}: initial {self.initial!r} must be a Bloch vector of length 1")
        if self._angles(self.block) == 0:
            raise ValueError(f"ansatz {self.name!r}: block {self.block!r} needs at least one trained gate rx, ry or rz")
        if self.final and self._angles(self.final) not in (0, self.angles):
            raise ValueError(
                f"ansatz {self.name!r}: final has {self._angles(self.final)} trained gates; it must have none or "
                f"{self.angles}, as many as the block, because all rows of theta have one length"
            )
        if self.near_linear is not None and len(self.near_linear) != self.angles:
            raise ValueError(f"ansatz {self.name!r}: near_linear must hold {self.angles} angles, one a column of theta")
        if not 0 <= self.slope < self.angles:
            raise ValueError(
                f"ansatz {self.name!r}: slope {self.slope} must be a column of theta, 0 to {self.angles - 1}"
            )

        values = (self.name, self.block, self.encoding, self.final, self.initial, self.encoding_map)
        object.__setattr__(self, "_hash", hash(values))

    def __hash__(self) -> int:
        """Made once: caches of kernels ask for it at every call of a layer."""
        return self._hash

    @staticmethod
    def _angles(gates: tuple[str, ...]) -> int:
        return sum(GATES[gate].rotates for gate in gates)

    @property
    def angles(self) -> int:
        """Trained angles per row of theta."""
        return self._angles(self.block)

    def rows(self, reps: int) -> int:
        """Rows of theta: one per repetition and one for the final gates, if they carry trained angles."""
        return reps + (self._angles(self.final) > 0)

    def program(self, reps: int) -> tuple[Rotation, ...]:
        """The circuit as rotations, neighbours about one axis merged, turns that <Z> cannot see left out.

        Raises:
            TypeError: reps is not an int.
            ValueError: reps outside [1, 1024].
        """
        if isinstance(reps, bool) or not isinstance(reps, int):
            raise TypeError(f"reps must be an int, got {type(reps).__name__}")
        if not 1 <= reps <= MAX_REPS:
            raise ValueError(f"reps {reps} is outside [1, {MAX_REPS}]; a circuit repeats its block at least once")
        if reps not in self._programs:
            self._programs[reps] = _compile(self, reps)
        return self._programs[reps]

    def gates(self, reps: int) -> list[tuple[str, tuple[int, int] | None, int | None]]:
        """Every gate in order as ``(gate, (row, column) of its trained angle or None, encoding index or None)``."""
        listed: list[tuple[str, tuple[int, int] | None, int | None]] = []

        def add(gates: tuple[str, ...], row: int) -> None:
            column = 0
            for gate in gates:
                if GATES[gate].rotates:
                    listed.append((gate, (row, column), None))
                    column += 1
                else:
                    listed.append((gate, None, None))

        for rep in range(reps):
            add(self.block, rep)
            listed.append((self.encoding, None, rep))
        add(self.final, reps)
        return listed


def _compile(ansatz: Ansatz, reps: int) -> tuple[Rotation, ...]:
    steps: list[Rotation] = []
    for gate, theta, encoding in ansatz.gates(reps):
        axis = GATES[gate].axis
        if not GATES[gate].rotates:
            steps.append(Rotation(axis, half_turn=True))
            continue
        thetas: tuple[tuple[int, int], ...] = () if theta is None else (theta,)
        encodings: tuple[int, ...] = () if encoding is None else (encoding,)
        if steps and steps[-1].axis == axis and not steps[-1].half_turn:
            last = steps.pop()
            thetas, encodings = last.thetas + thetas, last.encodings + encodings
        steps.append(Rotation(axis, thetas, encodings))
    while steps and steps[-1].axis == GATES["rz"].axis:
        steps.pop()  # a turn about z leaves <Z> as it is, so it needs neither arithmetic nor gradient
    return tuple(steps)


_HALF_PI = math.pi / 2

#: The ansätze of the field, by the names they have there.
ANSATZE: dict[str, Ansatz] = {
    ansatz.name: ansatz
    for ansatz in (
        Ansatz("pz", ("rz", "ry"), "rz", ("rz", "ry"), near_linear=(_HALF_PI, 0.0), slope=1),
        Ansatz("rpz", ("ry",), "rz", ("ry",), trains_preact_bias=True),
        Ansatz("px", ("rz",), "rx", ("rz",), encoding_map="acos"),
        Ansatz("real", ("x", "ry", "z"), "ry"),
        Ansatz("mix", ("rz", "rx"), "ry", ("rz", "rx"), near_linear=(0.0, _HALF_PI), slope=1),
    )
}


def get_ansatz(ansatz: str | Ansatz) -> Ansatz:
    """The ansatz of that name, or the ansatz itself.

    Raises:
        ValueError: no ansatz has that name.
        TypeError: neither a name nor an :class:`Ansatz`.
    """
    if isinstance(ansatz, Ansatz):
        return ansatz
    if not isinstance(ansatz, str):
        raise TypeError(f"ansatz must be a name or an Ansatz, got {type(ansatz).__name__}")
    if ansatz not in ANSATZE:
        raise ValueError(f"unknown ansatz {ansatz!r}; use one of {', '.join(ANSATZE)}, or build an Ansatz")
    return ANSATZE[ansatz]
