"""The kernels of recurrences compile for GPUs that are not here, and spill nothing to memory."""

from typing import Any

import built
import pytest

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

#: Every kind, both precisions and states in registers and in memory on all three devices; the whole grid is the
#: Always every kind, both precisions, states in registers and in memory and all three devices; the whole grid is the
#: script's default.
CASES = built.cases(
    [
        "sm_80/hybrid/64/fp32",
        "sm_80/gru/100/low",
        "sm_90/classical/64/fp32",
        "sm_90/chebyshev/64/fp32",
        "sm_90/shaped/5/fp32",
        "gfx942/qkan/64/fp32",
        "gfx942/hybrid/100/low",
    ],
    [
        "sm_80/qkan/16/fp32",
        "sm_80/chebyshev/64/low",
        "sm_80/chebyshev/32/fp32",
        "sm_80/qkan/100/fp32",
        "sm_90/shaped/100/fp32",
        "sm_90/hybrid/32/low",
        "gfx942/gru/32/fp32",
        "gfx942/shaped/64/low",
        "gfx1100/qkan/16/fp32",
    ],
)
#: Of shared memory, what the smallest devices have for a program: capabilities 8.6 and 12.0, and AMD's.
SHARED = {"sm": 99 * 1024, "gf": 64 * 1024}


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    return built.rows("recurrence_triton_resources", CASES, tmp_path_factory)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel", ["forward", "backward"])
def test_nothing_is_spilled_to_memory(used: dict[tuple[str, str], dict[str, Any]], case: str, kernel: str) -> None:
    row = used[case, kernel]
    assert row["spilled"] - row["scalars"] == 0
    assert 0 < row["registers"] <= 255
    assert 0 < row["shared"] <= SHARED[case[:2]]
    assert not row["tf32"]  # errors of a recurrence feed back
