import errno
import os

import pytest

from qkan.forecasting.io.files import RunError, read_json, write_atomic, write_json, write_text


def test_written_json_reads_back(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, None, "ü"]})
    assert read_json(tmp_path / "a.json") == {"x": [1, None, "ü"]}


def test_file_gets_the_permissions_that_the_umask_allows(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch, call):
    write_text(tmp_path / "a.txt", "old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call != "write":
        monkeypatch.setattr(os, call, full)
    with pytest.raises(RunError, match=r"cannot write .*a\.txt: No space left on device; nothing was lost: make room"):
        write_atomic(tmp_path / "a.txt", full if call == "write" else lambda file: file.write(b"new"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_interrupted_writer_leaves_the_old_file_and_no_temporary_one(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a.txt", interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(RunError, match=r"cannot write .*nowhere.*No such file or directory"):
        write_text(tmp_path / "nowhere" / "a.txt", "x")


def test_nan_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"cannot read .*a\.json"),
        (b"\xff\xfe", r"cannot read .*a\.json"),
        (b"[1]", r"a\.json must hold a JSON object, got list"),
        (None, r"a\.json is missing; give a run folder, or restore"),
    ],
)
def test_unreadable_json_is_explained(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunError, match=message):
        read_json(tmp_path / "a.json")
