"""The kernels of group-rational activations compile for GPUs that are not here, and spill nothing to memory."""

from typing import Any

import built
import pytest

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

#: Every order and dtype of interest and both denominators on every device, runs of every kind; the whole grid is the
#: Always every order, dtype and denominator, runs of every kind and all three devices; the whole grid is the script's
#: default.
CASES = built.cases(
    [
        "sm_80/8,8/abs_sum/bf16/7",
        "sm_90/5,4/abs_sum/fp32/96",
        "sm_90/8,8/abs_terms/bf16/96",
        "sm_90/8,8/abs_sum/fp32/4096",
        "sm_90/3,2/abs_sum/fp16/7",
        "gfx942/5,4/abs_terms/fp32/96",
        "gfx942/8,8/abs_sum/bf16/96",
    ],
    [
        "sm_80/5,4/abs_terms/fp32/96",
        "sm_80/8,8/abs_sum/bf16/96",
        "sm_80/3,2/abs_terms/bf16/4096",
        "sm_90/5,4/abs_terms/bf16/96",
        "gfx942/8,8/abs_terms/fp32/4096",
        "gfx942/3,2/abs_terms/bf16/7",
        "gfx1100/5,4/abs_terms/fp32/96",
    ],
)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    return built.rows("rational_triton_builds", CASES, tmp_path_factory)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel", ["forward", "backward"])
def test_nothing_is_spilled(used: dict[tuple[str, str], dict[str, Any]], case: str, kernel: str) -> None:
    row = used[case, kernel]
    assert row["spilled"] == 0
    # Twelve warps of 32 lanes, or eight of 64, then still share a multiprocessor.
    assert 0 < row["registers"] <= (255 if case.startswith("gfx") else 168)
    if case.startswith("sm"):
        assert row["vectors"] == (not case.endswith("/7"))  # 16 bytes at once, where runs are aligned
    if row["vectors"]:
        _, order, _, dtype, _ = case.split("/")
        size, terms, back = 4 if dtype == "fp32" else 2, sum(map(int, order.split(","))), kernel == "backward"
        element = row["element"]
        assert (element["loaded"], element["stored"]) == (2 * size if back else size, size)
        assert element["divisions"] == 1
        # Value, slope and sum of every coefficient: docs/decisions.md says why not fewer.
        assert element["multiply_adds"] <= (3 * terms + 2 if back else terms)
