"""The spectral Triton kernels compile for GPUs that are not here, without spilling registers."""

from typing import Any

import built
import pytest

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

KERNELS = ("forward", "input_gradient", "matrix_gradient")
#: Always every dtype, basis and base for one device, and one or two of them for the others.
CASES = built.cases(
    [
        "sm_80/fp32/chebyshev/silu/64",
        "sm_90/fp32/fourier/gelu/64",
        "sm_90/fp32/chebyshev/silu/64",
        "sm_90/bf16/fourier/silu/64",
        "sm_90/fp16/fourier/tanh/64",
        "sm_90/fp32/chebyshev/none/7",
        "gfx942/fp32/fourier/gelu/64",
        "gfx942/bf16/fourier/silu/64",
    ],
    [
        "sm_80/fp32/fourier/gelu/64",
        "sm_80/bf16/fourier/silu/64",
        "sm_80/fp16/fourier/tanh/64",
        "sm_80/fp32/chebyshev/none/7",
        "gfx942/fp32/chebyshev/silu/64",
        "gfx942/fp16/fourier/tanh/64",
        "gfx942/fp32/chebyshev/none/7",
    ],
)
#: What a program can use on every one of them.
SHARED = 64 * 1024


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    return built.rows("spectral_triton_builds.py", CASES, tmp_path_factory)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_no_register_spills(used: dict[tuple[str, str], dict[str, Any]], case: str, kernel: str) -> None:
    row = used[case, kernel]
    assert row["spilled"] == 0
    assert row["shared"] <= SHARED
