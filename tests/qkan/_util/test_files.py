"""Files that appear whole or not at all, and locks that a kill, a link or a disk without locks does not spoil."""

import errno
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from qkan._util.files import only_process, remove_leftovers, save_figure, sync_folder, write_atomic, write_output


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


@pytest.mark.parametrize("write", [write_atomic, write_output])
def test_a_link_is_replaced_and_what_it_points_to_is_left(tmp_path, write):
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"mine")
    link.symlink_to(victim)
    write(link, lambda file: file.write(b"new"))
    assert victim.read_bytes() == b"mine"
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"


def special(kind, path):
    """Make something that is no file; skip where that needs more rights."""
    if kind == "null":
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root makes devices")
    elif kind == "link to null":
        path.symlink_to("/dev/null")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))


@pytest.mark.parametrize("kind", ["null", "link to null", "pipe", "folder", "socket"])
def test_only_files_are_replaced(tmp_path, monkeypatch, kind):
    """As root, a rename over /dev/null would break every program of the machine."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.csv"
    special(kind, Path("x.csv"))
    before = path.lstat()
    with pytest.raises(OSError, match=r"it is (no regular file, but a device, a pipe or a socket|a folder)"):
        write_atomic(path, lambda file: file.write(b"new"))
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_that_a_user_names_is_written_through(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    write_output(path, lambda file: file.write(b"forecast"))
    reader.join()
    assert got == [b"forecast"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_device_that_a_user_names_is_written_through(tmp_path):
    device = tmp_path / "link"
    device.symlink_to("/dev/null")
    write_output(device, lambda file: file.write(b"forecast"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert device.is_symlink()
    with pytest.raises(OSError, match="No space left"):
        write_output(Path("/dev/full"), lambda file: file.write(b"forecast"))


def test_links_of_the_system_are_not_replaced(tmp_path):
    """/dev/stdout is such a link; where the output goes to a file, it leads to a regular one."""
    (tmp_path / "out").write_bytes(b"mine")
    with (tmp_path / "out").open("rb") as file:
        link = Path(f"/proc/self/fd/{file.fileno()}")
        with pytest.raises(OSError, match=rf"it is a link of the system, to '{tmp_path / 'out'}'"):
            write_output(link, lambda stream: stream.write(b"new"))
        assert link.is_symlink()
    assert (tmp_path / "out").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["x" * 251, "ü" * 125, "\U0001d4b3" * 62])
def test_a_name_as_long_as_a_disk_allows_is_written(tmp_path, name):
    path = tmp_path / f"{name}.csv"
    write_atomic(path, lambda file: file.write(b"new"))
    assert list(tmp_path.iterdir()) == [path]


def test_a_figure_is_drawn_in_the_format_of_its_name(tmp_path):
    from matplotlib.figure import Figure

    for name, start in (("a.svg", b"<?xml"), ("b.png", b"\x89PNG"), ("c", b"\x89PNG")):
        save_figure(Figure(), tmp_path / name)
        assert (tmp_path / name).with_suffix(Path(name).suffix or ".png").read_bytes().startswith(start)
    save_figure(Figure(), "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_folder_that_may_not_be_read_or_synced_is_no_error(tmp_path, monkeypatch):
    def refuse(code):
        def call(*arguments):
            raise OSError(code, os.strerror(code))

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse(errno.EACCES))
        sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)
