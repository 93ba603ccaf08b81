"""Options are made from the configuration classes."""

import re
from dataclasses import MISSING, fields

import click
import pytest

from qkan.cli.commands.compare import lstm as compare_lstm
from qkan.cli.commands.train import lstm as train_lstm
from qkan.cli.options import FROM_THE_DATA, GroupType, ListType, data_stem
from qkan.cli.sections import SECTIONS
from qkan.forecasting.config import OPTIONS, CompareConfig, TrainConfig
from qkan.forecasting.config.kinds import Whole


def parameters(command: click.Command) -> dict[str, click.Parameter]:
    return {str(parameter.name): parameter for parameter in command.params}


@pytest.mark.parametrize(("command", "config"), [(train_lstm, TrainConfig), (compare_lstm, CompareConfig)])
def test_every_field_is_an_option_with_its_default(command: click.Command, config: type) -> None:
    found = parameters(command)
    for field in fields(config):
        if OPTIONS[field.name].computed:
            assert field.name not in found
            continue
        assert field.name in found
        if field.name == "out":  # has a default that depends on the data
            continue
        if field.name in FROM_THE_DATA:
            assert found[field.name].default is None
            continue
        assert found[field.name].default == (None if field.default is MISSING else field.default), field.name


WHOLE = {name: option.kind for name, option in OPTIONS.items() if isinstance(option.kind, Whole)}


@pytest.mark.parametrize("name", sorted(set(WHOLE) & set(parameters(train_lstm))))
def test_whole_numbers_have_the_limits_of_the_configuration(name: str) -> None:
    kind = parameters(train_lstm)[name].type
    assert isinstance(kind, click.IntRange)
    assert (kind.min, kind.max) == (WHOLE[name].low, WHOLE[name].high)


def test_lists_are_split_at_commas() -> None:
    assert ListType(int, "whole number", "1,2").convert("35, 100", None, None) == (35, 100)


def test_parts_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(
        click.BadParameter, match="'35,x' is not a list of whole numbers separated by commas, such as 1,2"
    ):
        ListType(int, "whole number", "1,2").convert("35,x", None, None)


@pytest.mark.parametrize(("text", "value"), [("input", "input"), ("3", 3)])
def test_group_is_a_name_or_a_number(text: str, value: str | int) -> None:
    assert GroupType().convert(text, None, None) == value


@pytest.mark.parametrize(
    ("data", "stem"),
    [("telecom", "telecom"), ("a/b/calls.csv.gz", "calls"), ("calls.parquet", "calls"), (".csv", "data")],
)
def test_folder_name_comes_from_the_data(data: str, stem: str) -> None:
    assert data_stem(data) == stem


def test_19_every_option_has_one_heading_in_the_help(qkan) -> None:
    names = [name for under in SECTIONS.values() for name in under]
    assert sorted(names) == sorted(set(OPTIONS) - {"out"})
    for command in (["train", "lstm"], ["compare", "lstm"], ["forecast"]):
        text = qkan(*command, "--help").output
        headings = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
        assert headings[0] == "Options"
        assert [heading for heading in SECTIONS if heading in headings] == headings[1:]


def test_19_an_option_that_only_shares_its_name_is_the_commands_own(qkan) -> None:
    own, _, rest = qkan("forecast", "--help").output.partition("\nData:")
    assert "--level PERCENTAGE" in own
    assert "--horizon" in own
    assert "\n  --level" not in rest
