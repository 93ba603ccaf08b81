"""What a ``.pt2`` file may hold before torch.export reads it.

A ``.pt2`` file is a zip archive that describes a program, and torch.export.load trusts it: it unpickles what the
archive calls pickled, evaluates the texts of shapes and guards as Python, and calls whatever function a node names. A
forecaster needs none of that. So an archive is refused unless its files have known names, nothing is pickled (in files
of old releases: nothing but tensors), shapes and guards are arithmetic, and every node is an operation of torch on
tensors and numbers that takes no text, so none that could open a file.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import torch

EXTRA_FILE = "qkan.json"
"""Name of the extra file that holds the text."""

_ROOT = re.compile(r"[A-Za-z0-9_-]+/")
_NAMES = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|\.format/[a-z_]+"
    r"|models/model\.json|extra/qkan\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json|model\.pt)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json|model\.pt)|data/sample_inputs/model\.pt"
)
_OLD_NAMES = re.compile(
    r"version|serialized_exported_program\.json|serialized_(state_dict|constants|example_inputs)\.pt"
    r"|extra_files/qkan\.json"
)
_TEXTS = (f"extra/{EXTRA_FILE}", f"extra_files/{EXTRA_FILE}")

_TARGET = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|getitem)"
    r"|torch\.sym_(max|min|int|not|float)|math\.(ceil|floor|trunc)"
)
_EXPRESSION = re.compile(
    r"(Symbol\('[a-z]+\d+'(, [a-z]+=(True|False))*\)|(Integer|Rational)\(-?\d+(, \d+)?\)"
    r"|(Mul|Add|Min|Max|Mod|PythonMod|FloorDiv|CleanDiv|Pow|PowByNatural|Eq|Ne|Gt|Ge|Lt|Le|And|Or|Not)\("
    r"|\b[su]\d+\b|\b\d+\b|[-+*/(), <>=&|~]|true|false|evaluate=False)+"
)
_SIZE = r"(L\['\w+'\]\.size\(\)\[\d+\]|\d+)"
_GUARD = re.compile(rf"{_SIZE} (==|!=|<|<=|>|>=) {_SIZE}( (==|!=|<|<=|>|>=) {_SIZE})*")
_ARGUMENTS = re.compile(
    r"as_(none|tensors?|optional_tensors?|ints?|int_lists|floats?|bools?|(sym_)?(int|bool|float)s?|scalar_type"
    r"|memory_format|layout|device|expr|name|strings?)"
)
_WORDS = frozenset({"constant", "none", "tanh", "floor", "trunc"})
"""Texts that arguments of operations may be: how to pad, to round and to approximate."""


def check_archive(content: bytes) -> str | None:
    """Refuse an archive that could run code when loaded, and return the text in its extra file, None without one.

    Raises:
        ValueError: it is no zip archive, or it holds what a forecaster does not need; the message says what.
    """
    text = None
    for name, file in _files(content):
        if name in _TEXTS:
            text = file.decode("utf-8", errors="replace")
        elif name.endswith(".json"):
            _check_json(name, file)
        elif name.endswith(".pt") and file:
            _check_tensors(name, file)
    return text


def _files(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Names below the folder that holds everything, and what the files hold."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            root = _ROOT.match(names[0]) if names else None
            prefix = root[0] if root and all(name.startswith(root[0]) for name in names) else ""
            for name, entry in zip(names, entries, strict=True):
                short = name.removeprefix(prefix)
                known = (_NAMES if prefix else _OLD_NAMES).fullmatch(short)
                if not known or names.count(name) > 1:
                    raise ValueError(f"it holds a file {name!r}, which a forecaster's never does")
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(content):
                    raise ValueError(f"its file {name!r} is compressed, which torch.export never does")
                yield short, archive.read(entry)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, RuntimeError):
        raise ValueError("it is no whole zip archive of torch.export") from None


def _check_tensors(name: str, file: bytes) -> None:
    """Refuse a pickle of more than tensors; only files of old releases have any."""
    try:
        torch.load(io.BytesIO(file), weights_only=True)
    except Exception as error:
        raise ValueError(f"its file {name!r} is pickled and holds more than tensors") from error


def _check_json(name: str, file: bytes) -> None:
    try:
        content = json.loads(file)
    except (ValueError, RecursionError):
        raise ValueError(f"its file {name!r} is no JSON") from None
    for key, value in _items(content):
        _check_value(key, value)


def _items(content: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every object, with its value, however deep."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check_value(key: str, value: Any) -> None:
    """Refuse a key of the description of a program that stands for code, or whose value does."""
    if key == "use_pickle" and value is not False:
        raise ValueError("it holds pickled tensors, which a forecaster's never does")
    if key == "path_name" and not re.fullmatch(r"(weight|tensor)_\d+", str(value)):
        raise ValueError(f"it refers to the file {value!r}, which is no tensor")
    if key == "target" and not _TARGET.fullmatch(str(value)):
        raise ValueError(f"it calls {value!r}, which is no operation of torch on tensors")
    if key == "expr_str" and not _EXPRESSION.fullmatch(str(value)):
        raise ValueError(f"one of its sizes is {value!r}, which is no arithmetic")
    if key == "guards_code":
        for guard in value if isinstance(value, list) else [value]:
            if not _GUARD.fullmatch(str(guard)):
                raise ValueError(f"one of its guards is {guard!r}, which compares no sizes")
    if key.startswith("as_"):
        texts = value if isinstance(value, list) else [value]
        texts = texts if key in ("as_string", "as_strings") else []
        if not _ARGUMENTS.fullmatch(key) or any(text not in _WORDS for text in texts):
            raise ValueError(f"one of its operations takes {key.removeprefix('as_')} {str(value)[:80]!r}")
