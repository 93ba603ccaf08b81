"""Finding and opening daily files: packings, archives, and everything that is no daily file."""

import bz2
import datetime as dt
import gzip
import lzma
import zipfile

import pytest

from qkan.datasets import DataError
from qkan.datasets.milan.importer import import_milan
from qkan.datasets.milan.sample import file_name, write_sample
from qkan.datasets.milan.sources import find_sources

DAY, NEXT = dt.date(2013, 11, 1), dt.date(2013, 11, 2)


@pytest.fixture
def daily(tmp_path):
    """A daily file."""
    return write_sample(tmp_path, [DAY], [1, 2, 3])[0]


def refusal(*paths):
    with pytest.raises(DataError) as error:
        find_sources(list(paths))
    return str(error.value)


def read_days(path):
    for source in find_sources([path]):
        read_all(source)


def read_all(source):
    with source.open() as file:
        return file.read()


def pack(path, how, data):
    target = path.with_name(path.name + how)
    if how == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"days/{path.name}", data)
    else:
        target.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[how].compress(data))
    return target


@pytest.mark.parametrize("how", [".gz", ".bz2", ".xz", ".zip"])
def test_every_packing_gives_the_same_text(daily, how):
    packed = pack(daily, how, daily.read_bytes())
    (source,) = find_sources([packed])
    assert source.day == DAY
    assert read_all(source) == daily.read_bytes()


@pytest.mark.parametrize("how", [".gz", ".bz2", ".xz", ".zip"])
def test_truncated_files_are_called_damaged(daily, how):
    data = daily.read_bytes() * 4
    packed = pack(daily, how, data)
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size * 2 // 3])
    with pytest.raises(DataError) as error:
        read_days(packed)
    assert str(error.value).startswith(f"{str(packed)!r} is truncated or damaged (")
    assert str(error.value).endswith("; get it again")


def test_a_truncated_gz_is_not_imported(daily, tmp_path):
    packed = pack(daily, ".gz", daily.read_bytes())
    packed.write_bytes(packed.read_bytes()[:-500])
    with pytest.raises(DataError, match="is truncated or damaged"):
        import_milan([packed], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("how", [".gz", ".bz2", ".xz", ".zip"])
def test_files_of_another_type_under_a_packed_name_are_refused(tmp_path, how):
    path = tmp_path / f"2013-11-01.txt{how}"
    path.write_bytes(b"neither this nor that" * 10)
    assert str(path) in refusal(path)


def test_a_corrupt_member_of_a_zip_is_called_damaged(daily):
    packed = daily.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.write(daily, daily.name)
    data = bytearray(packed.read_bytes())
    place = data.index(b"\n", 2000)
    data[place + 1] ^= 1
    packed.write_bytes(data)
    with pytest.raises(DataError, match=r"'sms-.*txt' in '.*zip' is truncated or damaged \(Bad CRC-32"):
        read_days(packed)


@pytest.mark.parametrize(
    "name",
    ["../2013-11-01.txt", "a/../../2013-11-01.txt", "/etc/2013-11-01.txt", "C:\\2013-11-01.txt", "..\\2013-11-01.txt"],
)
def test_unsafe_names_in_a_zip_are_refused(tmp_path, daily, name):
    path = tmp_path / "days.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(daily, daily.name)
        archive.writestr(name, daily.read_bytes())
    assert refusal(path).startswith(f"the archive {str(path)!r} has the unsafe name {name!r} (absolute, or leading out")


def test_other_files_in_a_zip_are_refused(tmp_path):
    path = tmp_path / "days.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("nested.zip", b"x")
    assert refusal(path).startswith(f"'nested.zip' in {str(path)!r} is of no type that can be read: .txt, .tsv, .csv;")
    with zipfile.ZipFile(path, "w"):
        pass
    assert refusal(path) == f"the archive {str(path)!r} holds no file; it needs daily files"


def test_an_encrypted_zip_is_refused(tmp_path, daily):
    path = tmp_path / "days.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(daily, daily.name)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag of encryption in the central directory
    path.write_bytes(data)
    assert refusal(path).endswith("is encrypted; unpack it first")


def test_several_days_in_a_zip_come_in_their_order(tmp_path):
    files = write_sample(tmp_path, [NEXT, DAY], [1])
    path = tmp_path / "days.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    assert [(source.day, source.member) for source in find_sources([path])] == [
        (DAY, file_name(DAY)),
        (NEXT, file_name(NEXT)),
    ]


def test_two_files_of_one_day_are_refused_but_the_same_path_counts_once(daily, tmp_path):
    packed = pack(daily, ".gz", daily.read_bytes())
    assert refusal(daily, packed).startswith(f"{str(daily)!r} and {str(packed)!r} both hold 2013-11-01; name one of")
    packed.unlink()
    link = tmp_path / "link-2013-11-01.txt"
    link.symlink_to(daily)
    assert len(find_sources([daily, tmp_path, link])) == 1


def test_a_folder_gives_its_dated_files_and_nothing_else(daily, tmp_path):
    for name in ("README.txt", ".2013-11-05.txt", "2013-11-06.md", ".x-2013-11-07.txt.abc.part"):
        (tmp_path / name).write_text("x")
    (tmp_path / "2013-11-08.txt").mkdir()
    assert [source.path for source in find_sources([tmp_path])] == [daily]


def test_a_folder_without_daily_files_is_explained(tmp_path):
    assert refusal(tmp_path).startswith(f"the folder {str(tmp_path)!r} has no daily file; their names have a date and")


def test_a_file_named_after_another_day_is_refused(daily):
    path = daily.rename(daily.with_name(file_name(NEXT)))
    assert (
        refusal(path)
        == f"{str(path)!r} is named after 2013-11-02, but its first line is of 2013-11-01 in Milan; rename it"
    )


def test_a_name_without_a_date_is_taken_by_its_path(daily):
    path = daily.rename(daily.with_name("day.tsv"))
    assert find_sources([path])[0].day == DAY


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "'{path}' is empty; get it again"),
        ("a.txt", "\n\n", "'{path}' is empty; get it again"),
        ("a.txt", "unique_id,ds,y\n", "line 1 of '{path}' has 1 tab-separated fields instead of 8"),
        ("a.txt", "<html>\n", "line 1 of '{path}' has 1 tab-separated fields"),
        (
            "a.parquet",
            "x",
            "'{path}' is of no type that can be read: .txt, .tsv, .csv, these with .gz,",
        ),
    ],
)
def test_files_of_another_format_are_refused(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    assert refusal(path).startswith(message.format(path=path))


def test_paths_that_lead_nowhere_are_refused(tmp_path):
    assert refusal(tmp_path / "no.txt") == f"there is no file or folder {str(tmp_path / 'no.txt')!r}; check the path"
    assert refusal() == "no file was named; give daily files of the Milan grid, or a folder of them"


def test_a_file_that_may_not_be_read_is_explained(daily, monkeypatch):
    def denied(path, *_arguments, **_options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(daily), "open", denied)  # the tests may run as root, who may read anything
    assert refusal(daily) == f"cannot read {str(daily)!r}: Permission denied; allow reading it or get it again"
