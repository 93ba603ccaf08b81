"""Files that appear whole or not at all, and locks that a kill, a link or a disk without locks does not spoil."""

import errno
import json
import os
import subprocess
import sys
import threading

import pytest

from qkan._util.files import only_process, remove_leftovers, sync_folder, write_atomic


class Refused(Exception):  # noqa: N818
    """What the tests let a lock raise."""


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_replaced_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomic(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == mode
    assert list(tmp_path.iterdir()) == [path]


def test_a_planted_temporary_file_is_neither_written_nor_removed(tmp_path, monkeypatch):
    victim, planted = tmp_path / "victim", tmp_path / ".file.00.tmp"
    victim.write_bytes(b"mine")
    planted.symlink_to(victim)
    monkeypatch.setattr("secrets.token_hex", lambda size: "00")
    with pytest.raises(FileExistsError):
        write_atomic(tmp_path / "file", lambda file: file.write(b"new"))
    assert victim.read_bytes() == b"mine"
    assert planted.is_symlink()


def test_temporary_names_differ(tmp_path):
    names = []
    for _ in range(3):
        write_atomic(tmp_path / "file", lambda file: names.append(os.path.basename(file.name)))
    assert len(set(names)) == 3


def test_a_second_holder_is_told_who_holds_the_lock(tmp_path):
    lock = tmp_path / ".lock"
    with only_process(lock, "importing to 'x'", Refused):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
        with (
            pytest.raises(Refused, match=rf"process {os.getpid()} on .* is importing to 'x' already"),
            only_process(lock, "importing to 'x'", Refused),
        ):
            pass
        assert lock.exists()
    assert not lock.exists()


def test_a_lock_that_a_killed_process_left_is_no_obstacle(tmp_path):
    lock = tmp_path / ".lock"
    code = f"""
import os
from pathlib import Path
from qkan._util.files import only_process
with only_process(Path({str(lock)!r}), "x", OSError):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert json.loads(lock.read_text())["pid"] != os.getpid()
    with only_process(lock, "x", Refused):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_a_disk_without_locks_is_warned_of(tmp_path, monkeypatch):
    def cannot(handle, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", cannot)
    ran = []
    with (
        pytest.warns(UserWarning, match=r"cannot lock '.*lock' \(No locks available\): see to it that no second"),
        only_process(tmp_path / ".lock", "x", Refused),
    ):
        ran.append(True)
    assert ran == [True]
    assert not (tmp_path / ".lock").exists()


def test_the_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(KeyError), only_process(tmp_path / ".lock", "x", Refused):
        raise KeyError
    assert not (tmp_path / ".lock").exists()


def test_a_lock_in_a_folder_that_is_not_there_is_explained(tmp_path):
    with (
        pytest.raises(Refused, match=r"cannot write '.*': No such file or directory; allow writing"),
        only_process(tmp_path / "no" / ".lock", "x", Refused),
    ):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "soft").symlink_to(victim)
    os.link(victim, tmp_path / "hard")
    for name, reason in (("soft", "symbolic links"), ("hard", "it is no lock file")):
        with (
            pytest.raises(Refused, match=rf"cannot write '.*{name}': .*{reason}"),
            only_process(tmp_path / name, "x", Refused),
        ):
            pass
        assert victim.read_bytes() == b"mine"
        assert (tmp_path / name).exists()


def test_one_of_many_holds_the_lock_at_a_time(tmp_path):
    """Removing the lock file at the end of a block never lets two holders in."""
    inside, most, done = [], [], []

    def work():
        while len(done) < 60:
            try:
                with only_process(tmp_path / ".lock", "x", Refused):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    done.append(1)
            except Refused:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    for name in (".a.json.x1.tmp", ".b[.json.x1.tmp", "a.json", "b.tmp", ".hidden"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b[.json.x1.tmp", ".hidden", "a.json", "b.tmp"]
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "a.json", "b.tmp"]


def test_folders_are_not_synced_where_they_cannot_be_opened(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.setattr(os, "open", lambda *a: opened.append(a))
    sync_folder(tmp_path)
    assert opened == []
