import errno
import json
import os
import subprocess
import sys

import pytest

from qkan.datasets import DataError
from qkan.datasets.milan.work_files import only_process, write_whole


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError) as error:
        write_whole(path, full, kept="the rest is kept")
    assert str(error.value) == (
        f"cannot write {str(path)!r}: No space left on device; the rest is kept: make room or allow writing there, "
        "then repeat the command"
    )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_holder_is_told_who_holds_the_lock(tmp_path):
    lock = tmp_path / ".lock"
    with only_process(lock, "importing to 'x'"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
        with (
            pytest.raises(DataError, match=rf"process {os.getpid()} on .* is importing to 'x' already"),
            only_process(lock, "importing to 'x'"),
        ):
            pass
        assert lock.exists()
    assert not lock.exists()


def test_a_lock_that_a_killed_process_left_is_no_obstacle(tmp_path):
    lock = tmp_path / ".lock"
    code = f"""
import os
from pathlib import Path
from qkan.datasets.milan.work_files import only_process
with only_process(Path({str(lock)!r}), "x"):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert json.loads(lock.read_text())["pid"] != os.getpid()
    with only_process(lock, "x"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_a_disk_without_locks_is_warned_of(tmp_path, monkeypatch):
    def cannot(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", cannot)
    ran = []
    with (
        pytest.warns(UserWarning, match=r"cannot lock '.*lock' \(No locks available\): see to it that no second"),
        only_process(tmp_path / ".lock", "x"),
    ):
        ran.append(True)
    assert ran == [True]
    assert not (tmp_path / ".lock").exists()


def test_the_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(KeyError), only_process(tmp_path / ".lock", "x"):
        raise KeyError
    assert not (tmp_path / ".lock").exists()


def test_a_lock_in_a_folder_that_is_not_there_is_explained(tmp_path):
    with (
        pytest.raises(DataError, match=r"cannot write '.*': No such file or directory; allow writing"),
        only_process(tmp_path / "no" / ".lock", "x"),
    ):
        pass
