"""``python -m benchmarks.fwp`` measures what it says."""

from pathlib import Path

from click.testing import CliRunner

from benchmarks import fwp


def test_every_form_is_measured_on_the_same_weights() -> None:
    options = ["--batch", "2", "--steps", "3", "--hidden", "2", "--rounds", "1"]
    done = CliRunner().invoke(fwp.main, options, catch_exceptions=False)
    rows = [line.split(" | ") for line in done.output.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows][::4] == ["| QKANFWP", "| QKANFWP step by step"]
    assert [row[1] for row in rows][::5] == ["26", "40"]  # 2 * 2 + 2 (4 + 4 + 1) + 4; 8 (1 + 2 + 2)
    assert float(done.output.split()[-1]) < 1e-6


def test_yearly_sunspots_are_a_file_of_a_user(tmp_path: Path) -> None:
    file = tmp_path / "sunspots.csv"
    assert CliRunner().invoke(fwp.main, ["--sunspots", str(file)]).exit_code == 0
    lines = file.read_text().splitlines()
    assert (lines[0], lines[1], len(lines)) == ("ds,y", "1700-01-01,5.0", 310)
