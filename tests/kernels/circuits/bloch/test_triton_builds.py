"""The Triton kernels compile for GPUs that are not here, and keep everything in registers."""

from typing import Any

import built
import pytest

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

#: Every ansatz, both pre-activations and all three devices, and on each device one long circuit; the whole grid is the
#: Always every ansatz, both pre-activations, all three devices and a long circuit; the whole grid is the script's
#: default.
CASES = built.cases(
    [
        "sm_80/rpz/3/trained",
        "sm_90/px/3/fixed",
        "sm_90/real/3/fixed",
        "sm_90/mix/3/fixed",
        "sm_90/pz/8/fixed",
        "gfx942/pz/3/trained",
        "gfx942/px/3/trained",
    ],
    [
        "sm_80/pz/1/fixed",
        "sm_80/px/8/trained",
        "sm_90/pz/3/trained",
        "gfx942/mix/3/fixed",
        "gfx942/rpz/8/trained",
    ],
)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    return built.rows("triton_resources", CASES, tmp_path_factory)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel", ["forward", "backward"])
def test_nothing_is_spilled(used: dict[tuple[str, str], dict[str, Any]], case: str, kernel: str) -> None:
    row = used[case, kernel]
    assert row["spilled"] == 0
    # Schedulers of both makers have 512 registers a lane, so at 170 three warps hide each other's waits.
    assert 0 < row["registers"] <= 170
