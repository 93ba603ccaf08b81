"""Messages of the library in the words of the command line."""

import pytest

from qkan.cli.errors import as_options, explain


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("use a rate below lr=0.01", "use a rate below --lr 0.01"),
        ("take device='cpu'", "take --device cpu"),
        ("pass overwrite=True.", "pass --overwrite."),
        ("pass resume=True (--resume on the command line) to go on", "pass --resume to go on"),
        ("name them: data=... (--data on the command line)", "name them: --data ..."),
        ("bias=False has no effect", "--no-bias has no effect"),
        (
            "a cell of hidden_size=4096 and num_layers=2 is large",
            "a cell of --hidden-size 4096 and --num-layers 2 is large",
        ),
        ("no cell fits budget_params=(3, 5); take more", "no cell fits --budget-params 3,5; take more"),
        ("the file calls=3.csv is empty", "the file calls=3.csv is empty"),
        ("take a smaller hidden_size", "take a smaller --hidden-size"),
        ("no column 'time_col' in /data/batch_size/x.csv", "no column 'time_col' in /data/batch_size/x.csv"),
        ("my_lr=3 is not an option", "my_lr=3 is not an option"),
    ],
)
def test_arguments_become_options(message: str, expected: str) -> None:
    assert as_options(message) == expected


def test_an_error_without_words_is_not_explained() -> None:
    assert explain(ValueError()) is None


def test_lines_of_a_message_are_joined() -> None:
    assert explain(ValueError("one\n   two")) == "one two"
