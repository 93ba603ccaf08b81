"""Text of a C99 file: tables of numbers, helper functions that are written only where they are used, safe comments."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from qkan.forecasting.c99.helpers import HELPERS
from qkan.forecasting.io.files import RunError

MOST_NUMBERS = 1_000_000
"""Numbers in all tables of a file, at most."""

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _.,:;=+-()<>[]#%&|~^@!$'")
_LONGEST_NAME = 60
_LINE = 100


class Source:
    """The parts of a file while it is written.

    Attributes:
        functions: Texts of functions, in their order.
        bytes: Size of the tables that functions read, after :meth:`text`.
    """

    def __init__(self) -> None:
        self._tables: dict[str, tuple[str, int]] = {}
        self._helpers: dict[str, str] = {}
        self._numbers = self._others = 0
        self.functions: list[str] = []
        self.bytes = 0

    def use(self, *names: str) -> None:
        """Have some helpers written."""
        for name in names:
            if name not in self._helpers:
                text, others = HELPERS[name]
                self.use(*others)
                self._helpers[name] = text

    def count(self, numbers: int, size: int) -> None:
        """Count numbers of tables that functions bring along, and their bytes.

        Raises:
            RunError: the tables are too large.
        """
        self._numbers += numbers
        self._others += size
        if self._numbers > MOST_NUMBERS:
            raise RunError(
                f"a C file holds at most {MOST_NUMBERS:,} numbers, and this run needs more; export it to ONNX, or "
                "train a smaller model"
            )

    def table(self, values: np.ndarray, what: str) -> str:
        """Write a table of float32 or int8 numbers.

        Args:
            values: Of any shape.
            what: What they are, for a comment.

        Returns:
            the name of the table.

        Raises:
            RunError: a number is not finite, or the tables are too large.
        """
        values = np.asarray(values)
        whole = values.dtype == np.int8
        flat = values.ravel()
        if not whole:
            with np.errstate(over="ignore"):
                flat = flat.astype(np.float32)
        if not np.isfinite(flat).all():
            raise RunError(f"{what}: numbers of this run are not finite in single precision; train again")
        self.count(flat.size, 0)
        name = f"qkan_t{len(self._tables)}"
        words = [str(int(value)) if whole else number(value) for value in flat] or ["0"]
        shape = " x ".join(map(str, values.shape)) or "1"
        text = (
            f"/* {what}, {shape} */\nstatic const {'signed char' if whole else 'float'} "
            f"{name}[{max(flat.size, 1)}] = {{\n{wrapped(words)}\n}};"
        )
        self._tables[name] = text, flat.nbytes
        return name

    def text(self) -> str:
        """Tables, helpers and functions, but those that nothing calls or reads."""
        functions = [_without_nothing(text) for text in self.functions]
        parts = [text for text, _ in self._tables.values()] + list(self._helpers.values()) + functions
        names = [_DEFINED.findall(text) for text in parts]
        where = {name: place for place, own in enumerate(names) for name in own}
        waiting = [place for place, text in enumerate(parts) if "QKAN_API" in text]
        kept = set(waiting)
        while waiting:
            found = {where[word] for word in _WORD.findall(parts[waiting.pop()]) if word in where} - kept
            kept |= found
            waiting += found
        self.bytes = self._others + sum(size for name, (_, size) in self._tables.items() if where[name] in kept)
        return "\n\n".join(text for place, text in enumerate(parts) if place in kept)


def _without_nothing(text: str) -> str:
    """A function without products with 1 and sums with 0 that sizes have left in it."""
    for nothing in (r"\b1\.0f \* ", r" \* 1\.0f\b", r" \* 1(?=[\]); ,+])", r"(?<![\w.*] )\b0 \+ ", r" \+ 0(?=[\],;)])"):
        text = re.sub(nothing, "", text)
    return text


_WORD = re.compile(r"\bqkan_\w+")
_DEFINED = re.compile(r"^(?:QKAN_API|static)[\w *]*?\b(qkan_\w+)[\[(]", re.MULTILINE)


def number(value: float | np.floating) -> str:
    """A float32 constant of C, to the last bit."""
    text = f"{np.float32(value):.9g}"
    return text + ("f" if any(mark in text for mark in ".e") else ".0f")


def wrapped(words: Sequence[str]) -> str:
    """Words with commas in between, in lines."""
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) + 2 > _LINE:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return "\n".join([*lines, line])


def comment_text(text: str) -> str:
    """A text of a run for a comment: what could end the comment, or is no plain ASCII, as its number.

    Slashes, stars, double quotes, backslashes, question marks (trigraphs), control and all other characters become
    ``<U+002A>`` and the like.
    """
    shortened = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 3] + "..."
    return "".join(one if one in _PLAIN else f"<U+{ord(one):04X}>" for one in shortened)
