"""Machine code is read from folders and files of this user alone, and only as it was written."""

from __future__ import annotations

import os
import pickle
import stat
import warnings
from pathlib import Path

import pytest
import torch
from numba import config
from small_kernels import kernel_of, written_by

from qkan.kernels.common import numba_cache

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")
F64 = torch.float64


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A folder for machine code, as a user names it in NUMBA_CACHE_DIR."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(config, "CACHE_DIR", str(folder))
    monkeypatch.setattr(numba_cache, "_said", set())
    return folder


def entries(base: Path, kind: str) -> list[Path]:
    return sorted(base.rglob(f"*{kind}"))


def said_about(act) -> list[str]:
    """The warnings of an act, whose result must be 3."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert act() == 3.0
    return [str(warning.message) for warning in told]


def compute(tmp_path: Path) -> float:
    """What a kernel of a new process computes."""
    return written_by(kernel_of(tmp_path / "one", 3.0), F64)


def test_the_folder_is_made_for_this_user_alone(base: Path, tmp_path: Path) -> None:
    assert said_about(lambda: compute(tmp_path)) == []
    [folder] = base.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (*entries(base, ".nbi"), *entries(base, ".nbc"))} == {0o600}
    folder.chmod(0o755)
    numba_cache._folder.cache_clear()
    assert said_about(lambda: compute(tmp_path)) == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def ran(marker: Path):
    """An object whose pickle makes a file when it is read."""

    class Hostile:
        def __reduce__(self):
            return (Path.touch, (marker,))

    return Hostile()


@pytest.mark.parametrize("which", ["folder", "above"])
def test_a_folder_that_others_can_write_is_not_used_and_said_once(base, tmp_path, which) -> None:
    compute(tmp_path)
    [folder] = base.iterdir()
    for path in (*entries(base, ".nbi"), *entries(base, ".nbc")):
        path.write_bytes(pickle.dumps(ran(tmp_path / "ran")))
    (folder if which == "folder" else base).chmod(0o777)
    numba_cache._folder.cache_clear()
    [told] = said_about(lambda: compute(tmp_path))
    assert told.startswith(
        f"machine code cannot be kept (others can write in '{folder if which == 'folder' else base}'"
    )
    assert told.endswith(
        "compiled in every process, which takes up to a minute; set NUMBA_CACHE_DIR to a folder that is yours alone"
    )
    assert said_about(lambda: compute(tmp_path)) == []
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("which", ["folder", "above", "entries"])
def test_what_belongs_to_another_user_is_not_read(base: Path, tmp_path: Path, which: str) -> None:
    compute(tmp_path)
    [folder] = base.iterdir()
    files = [*entries(base, ".nbi"), *entries(base, ".nbc")]
    for path in files:
        path.write_bytes(pickle.dumps(ran(tmp_path / "ran")))
    for path in {"folder": [folder], "above": [base], "entries": files}[which]:
        os.chown(path, 12345, 12345)
    numba_cache._folder.cache_clear()
    [told] = said_about(lambda: compute(tmp_path))
    assert ("damaged or of another user" if which == "entries" else "belongs to another user") in told
    assert not (tmp_path / "ran").exists()


def flipped(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.mark.parametrize("kind", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage", [lambda c: b"", lambda c: c[:-1], lambda c: c[:20], flipped, lambda c: c + b"\0"],
    ids=["empty", "cut short", "in its checksum", "a bit", "longer"],
)  # fmt: skip
def test_a_damaged_file_is_removed_made_again_and_said_once(base: Path, tmp_path: Path, kind: str, damage) -> None:
    compute(tmp_path)
    [path] = entries(base, kind)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    [told] = said_about(lambda: compute(tmp_path))
    assert told == f"machine code in {str(path)!r} is damaged or of another user; it is removed and made again"
    assert kernel_of(tmp_path / "one", 3.0).is_compiled(F64)
    assert path.read_bytes() != damage(whole)  # names in it count what was compiled before
    assert said_about(lambda: compute(tmp_path)) == []


def test_a_link_among_the_files_is_not_followed(base: Path, tmp_path: Path) -> None:
    compute(tmp_path)
    [path] = entries(base, ".nbc")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert len(said_about(lambda: compute(tmp_path))) == 1
    assert not path.is_symlink()


def test_a_file_of_other_sources_beside_a_new_index_is_not_loaded(base: Path, tmp_path: Path) -> None:
    """What a crash between two writes may leave: the index names a file of other code."""
    compute(tmp_path)
    [old] = entries(base, ".nbc")
    kept = old.read_bytes()
    source = tmp_path / "one" / "numba_kernels.py"
    source.write_text(source.read_text().replace("3.0", "4.0"))
    assert compute(tmp_path) == 4.0
    old.write_bytes(kept)
    assert compute(tmp_path) == 4.0


def test_a_full_disk_does_not_stop_computing(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    [told] = said_about(lambda: compute(tmp_path))
    assert "machine code cannot be kept in" in told
    assert "(No space left on device), so kernels are compiled in every process" in told
    assert said_about(lambda: compute(tmp_path)) == []
    assert [path for path in base.rglob("*") if path.is_file()] == []
    monkeypatch.undo()


def test_a_folder_that_cannot_be_made_does_not_stop_computing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "file" / "cache"))
    [told] = said_about(lambda: compute(tmp_path))
    assert "Not a directory), so kernels are compiled in every process" in told


def test_without_a_home_there_is_no_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says its specification
    monkeypatch.setattr(Path, "home", no_home)
    assert numba_cache._user_caches() == []
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert numba_cache._user_caches() == [Path("/somewhere")]


def test_a_group_of_one_user_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o775)
    os.chown(tmp_path, -1, os.getegid())
    import grp
    import pwd

    user = pwd.getpwuid(os.geteuid())
    facts = tmp_path.stat()
    own = grp.struct_group((user.pw_name, "x", facts.st_gid, [user.pw_name]))
    shared = grp.struct_group((user.pw_name, "x", facts.st_gid, [user.pw_name, "eve"]))
    for group, expected in ((own, user.pw_gid == facts.st_gid), (shared, False)):
        monkeypatch.setattr(grp, "getgrgid", lambda number, group=group: group)
        assert numba_cache._only_ours(facts) is expected
    tmp_path.chmod(0o777)
    assert not numba_cache._only_ours(tmp_path.stat())
