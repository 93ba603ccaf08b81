"""Generated C files as functions: compiled with the machine's C compiler, strictly, and called through ctypes."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")


def c_compiler() -> str:
    """The C compiler; without one tests are skipped, but fail in CI."""
    found = shutil.which("cc")
    if found is None:
        assert "CI" not in os.environ, "CI must have a C compiler"
        pytest.skip("no C compiler (cc)")
    return found


def compile_c(source: Path, target: Path, *flags: str) -> None:
    """Compile a file without a single warning."""
    done = subprocess.run(
        [c_compiler(), *STRICT, *flags, str(source), "-o", str(target), "-lm"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def object_bytes(source: Path, folder: Path) -> int:
    """Bytes of code and constant data that a file compiles to, for size."""
    target = folder / f"{source.stem}.o"
    compile_c(source, target, "-Os", "-c")
    sizes = subprocess.run(["size", str(target)], capture_output=True, text=True, check=True).stdout.splitlines()[1]
    text, data, bss = map(int, sizes.split()[:3])
    return text + data + bss


class Program:
    """The functions of a generated file.

    Args:
        source: The file, whose values are single precision.
        folder: Where to compile it.
        numbers: Numbers of a forecast.
    """

    def __init__(self, source: Path, folder: Path, numbers: int) -> None:
        library = folder / f"{source.stem}.so"
        compile_c(source, library, "-shared", "-fPIC")
        self._library, self._numbers = ctypes.CDLL(str(library)), numbers
        self._state = ctypes.create_string_buffer(1 << 16)

    def predict(self, values: object, step: int = 0, series: int = 0) -> tuple[int, np.ndarray]:
        """What ``qkan_predict`` returns and writes."""
        array, out = np.ascontiguousarray(values, dtype=np.float32), np.zeros(self._numbers, dtype=np.float32)
        good = self._library.qkan_predict(_at(array), None, None, ctypes.c_long(step), series, _at(out))
        return good, out

    def start(self, step: int = 0, series: int = 0) -> None:
        """Begin a stream."""
        self._library.qkan_init(self._state, ctypes.c_long(step), series)

    def step(self, value: float) -> tuple[int, np.ndarray]:
        """What ``qkan_step`` returns and writes for the next value."""
        out = np.zeros(self._numbers, dtype=np.float32)
        good = self._library.qkan_step(self._state, ctypes.c_float(value), None, None, None, _at(out))
        return good, out


def _at(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
