"""Kinds of options: what values they allow, and the sentences that refuse all others."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_EXECUTOR = re.compile(r"processes|ray|(ray://)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


class Kind:
    """A kind of option.

    Args:
        allows: Tells whether a value is allowed.
        must: What every value must be or do, as it goes on after "must".
    """

    def __init__(self, allows: Callable[[Any], object], must: str) -> None:
        self.allows, self.must = allows, must

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that is not allowed.

        Raises:
            ValueError: it is not; the sentence names the option, its value and what is allowed.
        """
        if not self.allows(value):
            raise ValueError(f"{name} must {self.must}, got {value!r}")


class Whole(Kind):
    """Whole numbers from ``low`` to ``high``."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high
        super().__init__(
            lambda value: _is(int, value) and low <= value <= high, f"be an integer between {low} and {high}"
        )


class Choice(Kind):
    """One of a few names, which ``ask`` introduces in the message."""

    def __init__(self, choices: tuple[str, ...], ask: str = "choose one of") -> None:
        self.choices, self.ask = choices, ask

    def check(self, name: str, value: Any) -> None:
        """As of :class:`Kind`."""
        if value not in self.choices:
            raise ValueError(f"unknown {name} {value!r}; {self.ask} {', '.join(self.choices)}")


class Several(Kind):
    """A tuple of different values of one kind.

    Args:
        item: The kind of the values.
        what: What they are, as it goes on after "must be a tuple of".
        noun, example: What a value is, and a list of them as it is typed, for the command line.
        item_name: What a value is called in the messages of its own kind; ``{name}`` is the option.
        least: The fewest there may be.
        twins: Whether values may be equal.
    """

    def __init__(
        self,
        item: Kind,
        what: str,
        noun: str,
        example: str = "",
        *,
        item_name: str = "{name}",
        least: int = 0,
        twins: bool = False,
    ) -> None:
        self.item, self.noun, self.example, self.item_name = item, noun, example, item_name
        super().__init__(
            lambda values: isinstance(values, tuple) and len(values) >= least and (twins or not _has_twins(values)),
            f"be a list of {what}",
        )

    def check(self, name: str, value: Any) -> None:
        """As of :class:`Kind`."""
        super().check(name, value)
        for item in value:
            self.item.check(self.item_name.format(name=name), item)


class AllOf(Kind):
    """What several kinds allow; the first that does not answers."""

    def __init__(self, *kinds: Kind) -> None:
        self.kinds = kinds

    def check(self, name: str, value: Any) -> None:
        """As of :class:`Kind`."""
        for kind in self.kinds:
            kind.check(name, value)


def plain(value: Any) -> Any:
    """A number of numpy as one of Python; anything else as it is."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def _is(kind: type, value: object) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is(int, value) or (_is(float, value) and math.isfinite(value))


def _is_held(value: Any) -> bool:
    try:
        float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False
    return True


def _has_twins(values: tuple[object, ...]) -> bool:
    """Tell whether a value comes twice; values of a damaged file may have no hash."""
    return any(value in values[:place] for place, value in enumerate(values))


def _is_split(parts: tuple[float, float, float]) -> bool:
    train, validation, test = parts
    return train > 0 and validation >= 0 and test > 0 and abs(train + validation + test - 1) <= 1e-9


FLAG = Kind(lambda value: isinstance(value, bool), "be True or False")
PER_SERIES = Kind(
    lambda value: isinstance(value, bool) or (_is(int, value) and 0 <= value <= 10_000_000), "be True or False"
)
"""On or off; of data that were cut, how many series there are."""
TEXT = Kind(lambda value: isinstance(value, str) and value.strip(), "be a non-empty string")
EXECUTOR = Kind(
    lambda value: (
        isinstance(value, str) and (match := _EXECUTOR.fullmatch(value)) and int(match[3] or 1) in range(1, 65536)
    ),
    "be processes, ray, or the address of a Ray cluster such as HOST:6379 or ray://HOST:10001",
)
CHARACTER = Kind(
    lambda value: isinstance(value, str) and (len(value) == 1 or value in ("tab", "\\t")), "be one character, or 'tab'"
)
NUMBER = AllOf(
    Kind(lambda value: _is_number(value), "be a finite number"),
    Kind(lambda value: _is_held(value), "be a number that float64 holds"),
)
SHARE = AllOf(NUMBER, Kind(lambda value: 0 <= value < 1, "be at least 0 and below 1"))
RATE = AllOf(NUMBER, Kind(lambda value: 0 < value <= 10, "be above 0 and at most 10"))
LEVEL = AllOf(
    NUMBER, Kind(lambda value: 1 <= value < 100, "lie between 1 and 100 %, the latter excluded (90 is 5 % to 95 %)")
)
DEVICE = AllOf(TEXT, Kind(_DEVICE.fullmatch, "be 'auto', 'cpu', 'cuda' or 'cuda:N'"))
GROUP = Kind(
    lambda value: value in ("edge", "input") or (_is(int, value) and value >= 1),
    "be 'edge', 'input' or a positive integer",
)
NAMES = Several(TEXT, "names, each of them once", "name", item_name="every name of {name}")
COLUMNS = Several(TEXT, "names, each of them once", "column", item_name="every name of {name}")


class Seasons(Kind):
    """``auto``, ``none``, or lengths of seasons in steps, ascending."""

    def __init__(self, longest: int) -> None:
        super().__init__(
            lambda value: value in ("auto", "none") if isinstance(value, str) else _ascend(value, longest),
            f"be auto, none, or different whole numbers of steps between 2 and {longest:,} in ascending order",
        )


def _ascend(lengths: object, longest: int) -> bool:
    return (
        isinstance(lengths, tuple)
        and bool(lengths)
        and all(_is(int, length) and 2 <= length <= longest for length in lengths)
        and list(lengths) == sorted(set(lengths))
    )


class Split(Kind):
    """Three fractions (train, validation, test) that sum to 1, with training and test parts that are not empty."""

    noun, example, item = "number", "0.7,0.1,0.2", NUMBER

    def __init__(self) -> None:
        super().__init__(_is_split, "be three fractions that sum to 1 with train > 0, validation >= 0 and test > 0")

    def check(self, name: str, value: Any) -> None:
        """As of :class:`Kind`."""
        if not isinstance(value, tuple) or len(value) != 3:
            raise ValueError(f"{name} must be three fractions (train, validation, test), got {value!r}")
        for part in value:
            NUMBER.check(f"every fraction of {name}", part)
        super().check(name, value)


@dataclass(frozen=True)
class Option:
    """One option of a training or a comparison; its type and default are those of the field of its name.

    Attributes:
        help: What it means, for the command line.
        kind: What values it allows.
        optional: Whether ``None`` is allowed too.
        flags: Further names on the command line.
        computed: Whether it follows from the data, and is not asked for.
    """

    help: str
    kind: Kind
    optional: bool = False
    flags: tuple[str, ...] = ()
    computed: bool = False

    def taken(self, value: object) -> object:
        """Return a value as it is kept: several in a list, an array or an index as a tuple, and a number among them."""
        if not isinstance(self.kind, Several | Split | Seasons) or isinstance(value, str | bytes | dict | set):
            return plain(value)
        value = value.tolist() if hasattr(value, "tolist") else value  # of numpy and pandas
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (value,)
        if isinstance(value, Iterable):
            value = tuple(own.tolist() if hasattr(own, "tolist") else own for own in value)
        if isinstance(self.kind, Seasons) and isinstance(value, tuple) and all(type(own) is int for own in value):
            return tuple(sorted(value))
        return value

    def check(self, name: str, value: object) -> None:
        """Refuse a value that is not allowed; raises as :meth:`qkan.forecasting.config.kinds.Kind.check`."""
        if value is not None or not self.optional:
            self.kind.check(name, value)
