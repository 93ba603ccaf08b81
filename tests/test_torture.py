"""A few of the cases that ``make torture`` tries, with the same seeds; those first that have found something."""

import importlib

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")

#: By kind: a digit of the scaler, the checkpoint, a workbook; options; nothing, a list, nested, sparse and cut tensors.
CASES = {
    "files": (*range(9), 39, 153, 216),
    "options": (2, 5, 10, 14, 18, 29, 106),
    "tensors": (0, 3, 4, 8, 15, 27, 35, 48, 51, 53, 63, 67, 70, 75, 87),
}


@pytest.mark.parametrize(("kind", "index"), [(kind, index) for kind, indices in CASES.items() for index in indices])
def test_a_case_of_make_torture(kind: str, index: int, tmp_path) -> None:
    what, ended = importlib.import_module(f"torture.{kind}").run(index, tmp_path)
    assert what
    assert ended
