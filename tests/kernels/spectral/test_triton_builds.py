"""The Triton kernels of expansions compile for GPUs that are not here, without spilling registers."""

from typing import Any

import built
import pytest

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

KERNELS = ("coefficients", "coefficients_gradient", "features", "input_gradient")
SMALL = ("small_forward", "small_backward")
SPLINES = ("family_features", "family_input_gradient")
OF_KIND = {"small": SMALL, "splines": SPLINES}
CASES = built.cases(
    [
        *("sm_80/fp32/fixed", "sm_90/fp32/trained", "gfx942/bf16/trained", "sm_90/fp32/small", "gfx942/fp32/small"),
        "sm_90/fp32/splines",
    ],
    [
        *("sm_80/bf16/trained", "sm_90/bf16/fixed", "gfx942/fp32/fixed", "gfx1100/fp32/trained", "sm_80/fp32/small"),
        *("sm_80/bf16/splines", "gfx942/fp32/splines"),
    ],
)
#: What a program can use on every one of them.
SHARED = 64 * 1024


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    return built.rows("spectral_triton_builds", CASES, tmp_path_factory)


@pytest.mark.parametrize(
    ("case", "kernel"),
    [(case, kernel) for case in CASES for kernel in OF_KIND.get(case.rpartition("/")[2], KERNELS)],
)
def test_no_register_spills(used: dict[tuple[str, str], dict[str, Any]], case: str, kernel: str) -> None:
    row = used[case, kernel]
    assert row["spilled"] == 0
    assert row["shared"] <= SHARED
    assert row["registers"] <= 128
