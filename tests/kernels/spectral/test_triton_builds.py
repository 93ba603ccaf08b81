"""The spectral Triton kernels compile for GPUs that need not be there, without spilling registers."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from unittest import mock

import pytest
import spectral_triton_builds

Build = Callable[..., dict[str, int]]
TARGETS = {"sm_80": ("cuda", 80, 32), "sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}
#: What a program can use on every one of them.
SHARED = 64 * 1024


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """Compile in a process of its own, because Triton's interpreter is on in this one."""
    pytest.importorskip("triton", reason="Triton is not installed")
    environment = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    with (
        mock.patch.dict(os.environ, environment),
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
    ):
        yield lambda *args: pool.submit(spectral_triton_builds.build, *args).result()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kernel", ["forward", "input_gradient", "matrix_gradient"])
@pytest.mark.parametrize(
    ("dtype", "kind", "base", "extent"),
    [
        ("fp32", "fourier", "gelu", 64),
        ("fp32", "chebyshev", "silu", 64),
        ("bf16", "fourier", "silu", 64),
        ("fp16", "fourier", "tanh", 64),
        ("fp32", "chebyshev", "none", 7),
    ],
)
def test_no_register_spills(
    build: Build, target: str, kernel: str, dtype: str, kind: str, base: str, extent: int
) -> None:
    made = build(kernel, TARGETS[target], dtype, kind, base, extent)
    assert made["spilled"] == 0
    assert made["shared"] <= SHARED
