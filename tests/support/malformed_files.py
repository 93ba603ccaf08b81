"""Damaged files, files that are not what their name says, and hostile paths."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from malformed import Arguments, Case, data_case, lines
from malformed_tables import SOUND


def _parquet() -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(
        {"ds": pd.date_range("2024-01-01", periods=500, freq="h"), "y": [n**0.5 for n in range(500)]}
    ).to_parquet(buffer)
    return buffer.getvalue()


def _zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.csv", content)
    return buffer.getvalue()


def damaged() -> dict[str, tuple[str, bytes, str]]:
    """File name, content and what the message says, by what is wrong."""
    parquet, packed = _parquet(), gzip.compress(SOUND)
    middle, flipped = len(parquet) // 3, bytearray(parquet)
    flipped[40:400] = bytes(byte ^ 0xFF for byte in flipped[40:400])
    wrong_sum = packed[:-8] + b"\1\2\3\4" + packed[-4:]
    bare_header = gzip.compress(b"")
    return {
        "parquet cut in the middle": ("x.parquet", parquet[:middle], "x.parquet"),
        "parquet cut by one byte": ("x.parquet", parquet[:-1], "x.parquet"),
        "parquet without its start": ("x.parquet", parquet[100:], "x.parquet"),
        "parquet with flipped bytes": ("x.parquet", bytes(flipped), "x.parquet"),
        "parquet of a magic number only": ("x.parquet", b"PAR1PAR1", "x.parquet"),
        "parquet with a footer longer than the file": ("x.parquet", b"PAR1" + b"\xff\xff\xff\x7fPAR1", "x.parquet"),
        "encrypted parquet": ("x.parquet", parquet[:-4] + b"PARE", "x.parquet"),
        "parquet of text": ("x.parquet", SOUND, "x.parquet"),
        "parquet that is gzip": ("x.parquet", packed, "x.parquet"),
        "parquet of zero bytes": ("x.parquet", b"\0" * 4096, "x.parquet"),
        "csv of parquet": ("x.csv", parquet, "x.csv"),
        "csv that is gzip": ("x.csv", packed, "x.csv"),
        "gzip that is plain": ("x.csv.gz", SOUND, "x.csv.gz"),
        "gzip that is a zip archive": ("x.csv.gz", _zipped(SOUND), "x.csv.gz"),
        "gzip that is bzip2": ("x.csv.gz", bz2.compress(SOUND), "x.csv.gz"),
        "gzip that is xz": ("x.csv.gz", lzma.compress(SOUND), "x.csv.gz"),
        "gzip cut in the middle": ("x.csv.gz", packed[: len(packed) // 2], "x.csv.gz"),
        "gzip cut in its header": ("x.csv.gz", packed[:6], "x.csv.gz"),
        "gzip without its last bytes": ("x.csv.gz", packed[:-3], "x.csv.gz"),
        "gzip with a wrong checksum": ("x.csv.gz", wrong_sum, "x.csv.gz"),
        "gzip with junk behind": ("x.csv.gz", packed + b"junk", "x.csv.gz"),
        "gzip of nothing": ("x.csv.gz", bare_header, "x.csv.gz"),
        "gzip of gzip": ("x.csv.gz", gzip.compress(packed), "x.csv.gz"),
        "gzip of zero bytes": ("x.csv.gz", gzip.compress(b"\0" * 100_000), "zero bytes|x.csv.gz"),
        "a table of another ending": ("x.ods", SOUND, "x.ods.*none of"),
        "json lines": ("x.json", b'{"ds": 1, "y": 2}\n', "x.json.*none of"),
        "a pickle": ("x.pkl", b"cos\nsystem\n(S'touch hacked'\ntR.", "x.pkl.*none of"),
        "a tab-separated file": ("x.tsv", SOUND, "x.tsv.*none of"),
        "a file without an ending": ("table", SOUND, "table.*none of"),
    }


def _link(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def _socket(path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(path.parent)  # the whole path may be longer than a socket's name may be
    try:
        listening.bind(path.name)
    finally:
        os.chdir(here)
        listening.close()


SPECIAL: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a pipe": ("x.csv", lambda path: os.mkfifo(path), "x.csv.*no regular file"),
    "a pipe called parquet": ("x.parquet", lambda path: os.mkfifo(path), "x.parquet.*no regular file"),
    "a socket": ("x.csv", _socket, "x.csv.*no regular file"),
    "an endless device": ("x.csv", _link("/dev/zero"), "x.csv.*no regular file"),
    "an endless device called gzip": ("x.csv.gz", _link("/dev/zero"), "x.csv.gz.*no regular file"),
    "an endless device called parquet": ("x.parquet", _link("/dev/zero"), "x.parquet.*no regular file"),
    "the null device": ("x.csv", _link("/dev/null"), "x.csv.*no regular file"),
    "a link to itself": ("x.csv", _link("x.csv"), "'x.csv': Too many levels"),
    "a link to nothing": ("x.csv", _link("nowhere.csv"), "no file 'x.csv'"),
    "a link to a folder": ("x.csv", _link("."), "'x.csv' is a folder"),
    "a folder": ("x.csv", lambda path: path.mkdir(), "'x.csv' is a folder"),
    "a folder called parquet": ("x.parquet", lambda path: path.mkdir(), "'x.parquet' is a folder"),
}

NAMES: dict[str, tuple[str, str]] = {
    "no such file": ("nowhere.csv", "no file 'nowhere.csv'"),
    "a folder above": ("..", "'..'"),
    "this folder": (".", "'.'"),
    "the root": ("/", "'/'"),
    "a file below a file": ("sound.csv/x.csv", "sound.csv/x.csv"),
    "an absolute name of nothing": ("/nowhere/at/all.parquet", "/nowhere/at/all.parquet"),
    "climbing out": ("../" * 40 + "etc/passwd", "etc/passwd"),
    "a device": ("/dev/zero", "'/dev/zero'"),
    "a line end": ("two\nlines.csv", "two.*lines.csv"),
    "a zero byte": ("a\0b.csv", "b.csv"),
    "a control sequence": ("\x1b[31mred.csv", "red.csv"),
    "half a surrogate": ("a\udc80b.csv", "b.csv"),
    "a very long name": ("n" * 5000 + ".csv", "name"),
    "a very deep path": ("d/" * 3000 + "x.csv", "name|path"),
    "an empty name": ("", "data"),
    "a blank name": (" ", "data"),
    "a misspelt series": ("telecon", "'telecom'"),
    "a Milan import that is not there": ("milan-internet-1h", "qkan data import milan"),
    "an address of the web": ("https://example.com/x.csv", "example.com/x.csv"),
    "an address of a bucket": ("s3://bucket/x.parquet", "bucket/x.parquet"),
    "an address of a file": ("file:///etc/passwd.csv", "passwd.csv"),
    "a home folder": ("~nobody/x.csv", "~nobody/x.csv"),
    "a pattern": ("*.csv", "'\\*.csv'"),
    "the standard input": ("-", "'-'"),
    "another ending of a file that is there": ("sound.csv.gz", "no file 'sound.csv.gz'"),
}


def file_cases() -> list[Case]:
    """Files that cannot be opened or read."""
    contents = [
        data_case(place, name, file, lambda path, content=content: path.write_bytes(content), says)
        for place, (name, (file, content, says)) in enumerate(damaged().items())
    ]
    special = [data_case(place, name, *found) for place, (name, found) in enumerate(SPECIAL.items())]
    commands = (("data", "show"), ("train", "lstm", "--data"), ("compare", "lstm", "--data"))
    names = [
        Case(f"path: {name}", _names(commands[place % 3], text), says)
        for place, (name, (text, says)) in enumerate(NAMES.items())
    ]
    return [*contents, *special, *names]


def _names(command: tuple[str, ...], text: str) -> Callable[[Path], Arguments]:
    def build(folder: Path) -> Arguments:
        (folder / "sound.csv").write_bytes(lines("ds,y", "1,2", "2,3", "3,4"))
        return [*command, "--", text] if command[0] == "data" else [*command, text]

    return build
