"""A small, readable description of the noise of a device."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Noise:
    """What goes wrong in a circuit. Every value is a probability in [0, 1].

    Attributes:
        depolarizing: after every gate, the state is hit by X, Y or Z with this probability (a third each): the Bloch
            vector shrinks to 1 - 4 p / 3 of its length.
        amplitude_damping: after every gate, |1> decays to |0> with this probability g: X and Y shrink to sqrt(1 - g),
            Z becomes (1 - g) Z + g.
        readout: the measured bit is flipped with this probability p: <Z> shrinks to 1 - 2 p.

    Raises:
        ValueError: a value outside [0, 1].
        TypeError: a value that is not a number.

    Examples:
        >>> from qkan import Noise
        >>> noise = Noise.parse("depolarizing=0.01,readout=0.02")
        >>> print(noise.scaled(0.5))
        depolarizing=0.005,readout=0.01
    """

    depolarizing: float = 0.0
    amplitude_damping: float = 0.0
    readout: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"noise: {field.name} must be a number in [0, 1], got {type(value).__name__}")
            if not 0 <= value <= 1:
                raise ValueError(f"noise: {field.name} {value} is not a probability; give a number in [0, 1]")

    @classmethod
    def parse(cls, text: str) -> Noise:
        """The noise that a text such as ``"depolarizing=0.01,amplitude_damping=0.02,readout=0.03"`` describes.

        Raises:
            ValueError: an unknown or repeated name, something that is not a number, or a number outside [0, 1].
        """
        known = [field.name for field in fields(cls)]
        values: dict[str, float] = {}
        for part in text.split(","):
            name, equals, value = (word.strip() for word in part.partition("="))
            if name not in known or not equals:
                raise ValueError(f"noise {part.strip()!r} must be one of {', '.join(f'{n}=P' for n in known)}")
            if name in values:
                raise ValueError(f"noise names {name} twice; name it once")
            try:
                values[name] = float(value)
            except ValueError:
                raise ValueError(f"noise: {name} {value!r} is not a number; give one in [0, 1]") from None
        return cls(**values)

    def scaled(self, factor: float) -> Noise:
        """The same noise with every probability multiplied by ``factor``."""
        return Noise(**{field.name: factor * getattr(self, field.name) for field in fields(self)})

    def __str__(self) -> str:
        parts = [f"{field.name}={getattr(self, field.name):g}" for field in fields(self) if getattr(self, field.name)]
        return ",".join(parts) or "none"
