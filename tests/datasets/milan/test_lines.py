"""Malformed lines of daily Milan files: found by the fast way, explained by the slow one."""

import datetime as dt
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkan.datasets import DataError
from qkan.datasets.milan import lines as milan_lines
from qkan.datasets.milan.lines import check_line, read_blocks

DAY = dt.date(2013, 11, 1)
FIRST = 1383260400000
GOOD = f"5161\t{FIRST + 600_000}\t39\t0.5\t\t1\t2.25e-1\t3.0"


def read(text, **options):
    data = text.encode() if isinstance(text, str) else text
    return list(read_blocks(io.BytesIO(data), DAY, options.get("signal", "sms_in"), "'f.txt'"))


def refusal(text):
    with pytest.raises(DataError) as error:
        read(text)
    return str(error.value)


def test_rows_become_arrays():
    block, *none = read(f"{GOOD}\n1\t{FIRST}\t0\t\t\t\t\t7\n")
    assert not none
    assert block.squares.tolist() == [5161, 1]
    assert block.intervals.tolist() == [1, 0]
    assert block.codes.tolist() == [39, 0]
    assert block.activity.tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    ("signal", "value"), [("sms_in", 0.5), ("sms_out", 0.0), ("call_in", 1.0), ("call_out", 0.225), ("internet", 3.0)]
)
def test_each_signal_has_its_column(signal, value):
    assert read(GOOD + "\n", signal=signal)[0].activity.tolist() == [value]


@pytest.mark.parametrize("text", [GOOD, GOOD + "\r\n", "\n" + GOOD + "\n\n", "\ufeff" + GOOD + "\n"])
def test_line_ends_and_blank_lines_do_not_matter(text):
    assert sum(len(block.squares) for block in read(text)) == 1


WRONG = [
    (f"1\t{FIRST}\t0\t1\t1\t1\t1", "has 7 tab-separated fields instead of 8 (square_id, time_ms, country_code, sms_in"),
    (GOOD + "\t1", "has 9 tab-separated fields instead of 8"),
    (GOOD.replace("\t", ","), "has 1 tab-separated fields instead of 8"),
    (f"0\t{FIRST}\t0\t\t\t\t\t", "has square_id 0, outside 1 to 10000"),
    (f"10001\t{FIRST}\t0\t\t\t\t\t", "has square_id 10001, outside 1 to 10000"),
    (f"-5\t{FIRST}\t0\t\t\t\t\t", "has square_id -5, outside 1 to 10000"),
    (f"1.0\t{FIRST}\t0\t\t\t\t\t", "has square_id '1.0', which is no whole number"),
    (f"\t{FIRST}\t0\t\t\t\t\t", "has square_id '', which is no whole number"),
    ("square_id\ttime\tcode\ta\tb\tc\td\te", "has square_id 'square_id', which is no whole number"),
    (f"1\t{FIRST}\t\t\t\t\t\t", "has country_code '', which is no whole number"),
    (f"1\t{FIRST}\t-1\t\t\t\t\t", "has country_code -1, outside 0 to 999999"),
    (f"1\t{FIRST}\t1000000\t\t\t\t\t", "has country_code 1000000, outside 0 to 999999"),
    ("1\t99999999999999999999\t0\t\t\t\t\t", "has time_ms '99999999999999999999', which is no whole number"),
    (
        f"1\t{FIRST + 1}\t0\t\t\t\t\t",
        f"has time_ms {FIRST + 1}, which is no start of a 10-minute interval",
    ),
    (
        f"1\t{FIRST - 600_000}\t0\t\t\t\t\t",
        f"has time_ms {FIRST - 600_000}, on 2013-10-31 in Milan, but the file is of",
    ),
    (f"1\t{FIRST + 86_400_000}\t0\t\t\t\t\t", f"has time_ms {FIRST + 86_400_000}, on 2013-11-02 in Milan, but"),
    ("1\t-600000\t0\t\t\t\t\t", "has time_ms -600000, outside the years 1970 to 2261"),
    (f"1\t{FIRST}\t0\tmany\t\t\t\t", "has sms_in 'many', which is no number (empty means none)"),
    (f"1\t{FIRST}\t0\t\t1_0\t\t\t", "has sms_out '1_0', which is no number"),
    (f"1\t{FIRST}\t0\t\t\t-0.5\t\t", "has call_in -0.5, outside 0 to 1e+12"),
    (f"1\t{FIRST}\t0\t\t\t\tinf\t", "has call_out inf, outside 0 to 1e+12"),
    (f"1\t{FIRST}\t0\t\t\t\t\tnan", "has internet nan, outside 0 to 1e+12"),
    (f"1\t{FIRST}\t0\t\t\t\t\t1e13", "has internet 1e13, outside 0 to 1e+12"),
    (f'1\t{FIRST}\t0\t"1"\t\t\t\t', "has sms_in '\"1\"', which is no number"),
    (f"1\t{FIRST}\t0\t1" + "0" * 20_000 + "\t\t\t\t", "has more than 10,000 characters, where about 100 are usual"),
    (f"1\t{FIRST}\t0\t1\x00\t\t\t\t", "has sms_in '1\\x00', which is no number"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_a_malformed_line_is_named_with_its_value_and_the_range(line, message):
    told = refusal(f"{GOOD}\n{GOOD}\n{line}\n{GOOD}\n")
    assert told.startswith("line 3 of 'f.txt' " + message)
    assert told.endswith("(1 malformed line in this file); get the file again or correct it, nothing of it was taken")


def test_undecodable_bytes_are_a_malformed_line():
    assert "has square_id '\ufffd\ufffd', which is no whole number" in refusal(b"\xff\xfe" + GOOD[4:].encode() + b"\n")


def test_malformed_lines_are_counted_across_blocks(monkeypatch):
    monkeypatch.setattr(milan_lines, "BLOCK", 200)
    lines = [GOOD] * 40
    lines[11] = lines[12] = "x"
    lines[33] = GOOD + "\t"
    told = refusal("\n".join(lines))
    assert told.startswith("line 12 of 'f.txt' has 1 tab-separated fields instead of 8")
    assert "(3 malformed lines in this file)" in told


def test_counting_stops_after_a_thousand():
    assert "(more than 1,000 malformed lines in this file)" in refusal("x\n" * 5000)


def test_a_line_without_end_takes_no_memory(monkeypatch):
    monkeypatch.setattr(milan_lines, "BLOCK", 20_000)

    class Endless(io.RawIOBase):
        asked = 0

        def read(self, size=-1):
            self.asked += size
            return b"1" * size

    file = Endless()
    with pytest.raises(DataError, match="line 1 of 'f' has more than 10,000 characters"):
        list(read_blocks(file, DAY, "sms_in", "'f'"))
    assert file.asked <= 60_000


def test_blocks_give_all_rows_wherever_they_end(monkeypatch):
    lines = [f"{n}\t{FIRST + 600_000 * (n % 144)}\t{n % 7}\t{n / 8}\t\t\t\t" for n in range(1, 300)]
    for block in (60, 97, 1000, 10**6):
        monkeypatch.setattr(milan_lines, "BLOCK", block)
        blocks = read("\n".join(lines))
        assert np.concatenate([b.squares for b in blocks]).tolist() == list(range(1, 300))
        assert np.concatenate([b.activity for b in blocks]).tolist() == [n / 8 for n in range(1, 300)]


# Without a leading "+", which releases of Arrow judge differently.
ODD = ["", "  ", " 1", "1 ", "1e3", "1e", "1e+2", "1e400", "0x1", "0X1f", "007", "1.", ".5", "-0", "1d", "1,5", "\xa01"]
WORDS = ["NaN", "-inf", "Infinity", "null", "٣", "٣.5"]
FIELD = st.one_of(
    st.integers(-3, 10_003).map(str),
    st.sampled_from(ODD + WORDS),
    st.integers(-1, 145).map(lambda n: str(FIRST + 600_000 * n)),
    st.text(max_size=4).filter(lambda text: "+" not in text),
)


@given(st.dictionaries(st.integers(0, 7), FIELD, min_size=1, max_size=3))
def test_the_fast_way_takes_a_line_exactly_if_the_slow_one_finds_nothing_wrong(changes):
    fields = GOOD.split("\t")
    for place, field in changes.items():
        fields[place] = field
    text = "\t".join(fields)
    if "\n" in text or "\r" in text:
        return
    wrong = check_line(text.encode(errors="replace"), DAY)
    if wrong is None:
        assert len(read(text + "\n")[0].squares) == 1
    else:
        assert refusal(text + "\n").startswith(f"line 1 of 'f.txt' {wrong} (1 mal")
