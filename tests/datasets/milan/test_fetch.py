"""Downloads from a server that drops connections, truncates, lies and refuses."""

import contextlib
import datetime as dt
import errno
import os
import re
import subprocess
import sys
import time

import pytest
from dataverse import LIST, Dataverse, entry

from qkan._util.files import only_process
from qkan.datasets import DataError
from qkan.datasets.milan import fetch as milan_fetch
from qkan.datasets.milan.fetch import fetch_milan
from qkan.datasets.milan.sample import file_name

DAYS = [dt.date(2013, 11, 1), dt.date(2013, 11, 2)]
DATA = [bytes(range(256)) * 400, b"second day\n" * 300]


@pytest.fixture
def server():
    files = {file_name(day): data for day, data in zip(DAYS, DATA, strict=True)}
    with Dataverse({**files, "README.pdf": b"about"}) as house:
        yield house


@pytest.fixture
def out(tmp_path):
    return tmp_path / "milan"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(milan_fetch, "ATTEMPTS", 3)
    monkeypatch.setattr(milan_fetch, "PAUSE", 0)


def fetch(server, out, days=None, **options):
    return fetch_milan(out, days, base_url=server.url, **options)


def refusal(server, out, days=None, **options):
    with pytest.raises(DataError) as error:
        fetch(server, out, days, **options)
    return str(error.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def on_files(server, *answers):
    """Let the answers to requests of files be these, one after the other; then the right ones."""
    left = list(answers)
    server.trouble = lambda handler, path: path != LIST and bool(left) and left.pop(0)(handler) is None


def on_list(server, answer):
    server.trouble = lambda handler, path: path == LIST and answer(handler) is None


class Told:
    def __init__(self):
        self.started, self.bytes, self.done = None, [], []

    def start(self, files, size):
        self.started = (files, size)

    def at(self, name, done):
        self.bytes.append(done)

    def complete(self, name, fetched):
        self.done.append((name, fetched))


def test_all_listed_days_are_downloaded_under_their_names(server, out):
    told = Told()
    paths = fetch(server, out, progress=told)
    assert paths == [out / file_name(day) for day in DAYS]
    assert [path.read_bytes() for path in paths] == DATA
    assert names(out) == [file_name(day) for day in DAYS]
    assert told.started == (2, len(DATA[0]) + len(DATA[1]))
    assert told.bytes[-1] == len(DATA[1])
    assert told.done == [(file_name(day), True) for day in DAYS]


def test_days_can_be_chosen_and_what_is_there_is_not_downloaded_again(server, out):
    assert fetch(server, out, [DAYS[1]]) == [out / file_name(DAYS[1])]
    asked = len(server.asked)
    told = Told()
    fetch(server, out, [DAYS[1]], progress=told)
    assert [path for path, _ in server.asked[asked:]] == [LIST]
    assert told.done == [(file_name(DAYS[1]), False)]


def test_a_day_that_is_not_listed_is_named(server, out):
    told = refusal(server, out, [dt.date(2013, 12, 24)])
    assert told == f"{server.url} has no file of 2013-12-24; it has 2 days, 2013-11-01 to 2013-11-02"


@pytest.mark.parametrize("length", [True, False])
def test_a_dropped_connection_is_tried_again(server, out, length):
    on_files(server, lambda h: h.answer(DATA[0], sent=40_000, length=length))
    assert fetch(server, out, [DAYS[0]])[0].read_bytes() == DATA[0]
    assert len(server.asked) == 3
    assert names(out) == [file_name(DAYS[0])]


def test_the_next_call_goes_on_with_the_files_that_are_missing(server, out):
    on_files(server, lambda h: h.answer(DATA[0]), *[lambda h: h.answer(b"", code=503)] * 3)
    told = refusal(server, out)
    assert told.endswith(
        "/api/access/datafile/2 cannot be had after 3 attempts: it answered 503 Service Unavailable; check the "
        "connection and repeat the command"
    )
    assert names(out) == [file_name(DAYS[0])]
    asked = len(server.asked)
    assert [path.read_bytes() for path in fetch(server, out)] == DATA
    assert [path for path, _ in server.asked[asked:]] == [LIST, "/api/access/datafile/2"]


def test_a_killed_download_leaves_nothing_that_the_next_call_does_not_remove(server, out):
    code = f"""
import os
from qkan.datasets.milan.fetch import fetch_milan
class Kill:
    def start(self, files, size): pass
    def at(self, name, done): os.kill(os.getpid(), 9)
fetch_milan({str(out)!r}, base_url={server.url!r}, progress=Kill())
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    left = names(out)
    assert all(name.startswith(".") for name in left)
    assert any(name.endswith(".tmp") for name in left)
    assert [path.read_bytes() for path in fetch(server, out)] == DATA
    assert names(out) == [file_name(day) for day in DAYS]


def test_a_truncated_file_is_not_taken_for_complete(server, out):
    on_files(server, *[lambda h: h.answer(DATA[0][:7000])] * 3)
    assert f"the answer ended after 7,000 of {len(DATA[0]):,} bytes" in refusal(server, out, [DAYS[0]])
    assert names(out) == []


def test_a_file_that_is_too_long_is_refused(server, out):
    on_files(server, *[lambda h: h.answer(DATA[0] + b"more")] * 3)
    assert f"it sent more than the {len(DATA[0]):,} bytes that its list announces" in refusal(server, out, [DAYS[0]])
    assert names(out) == []


def test_a_wrong_checksum_is_tried_again_and_then_refused(server, out):
    on_files(server, lambda h: h.answer(DATA[0][::-1]))
    assert fetch(server, out, [DAYS[0]])[0].read_bytes() == DATA[0]
    server.entries[1]["dataFile"]["checksum"]["value"] = "0" * 32
    told = refusal(server, out, [DAYS[1]])
    assert "was downloaded 2 times, and each time its MD5 sum was not " + "0" * 32 in told
    assert names(out) == [file_name(DAYS[0])]


def test_another_file_of_that_name_is_not_overwritten(server, out):
    out.mkdir()
    (out / file_name(DAYS[0])).write_bytes(b"mine")
    assert "is there but is not the server's 'sms-call-internet-mi-2013-11-01.txt'" in refusal(server, out)
    assert (out / file_name(DAYS[0])).read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("code", "message"),
    [(404, "answered 404 Not Found; check --base-url"), (403, "answered 403 Forbidden; it refuses access")],
)
def test_answers_that_will_not_change_are_not_tried_again(server, out, code, message):
    on_files(server, lambda h: h.answer(b"", code=code))
    assert refusal(server, out, [DAYS[0]]).endswith(f"/api/access/datafile/1 {message}")
    assert len(server.asked) == 2


def test_a_passing_failure_is_tried_again(server, out):
    on_files(server, lambda h: h.answer(b"", code=500), lambda h: h.answer(b"", code=429))
    assert fetch(server, out, [DAYS[0]])[0].read_bytes() == DATA[0]


def test_a_web_page_is_not_a_file(server, out):
    on_files(server, lambda h: h.answer(b"<html>" * 2000, kind="text/html; charset=utf-8"))
    assert "answered with a web page instead of the file; open it in a browser" in refusal(server, out)
    assert names(out) == []


@pytest.mark.parametrize(
    "name",
    [
        "../sms-call-internet-mi-2013-11-01.txt",
        "/etc/sms-call-internet-mi-2013-11-01.txt",
        "..\\sms-call-internet-mi-2013-11-01.txt",
        "C:sms-call-internet-mi-2013-11-01.txt",
        ".hidden",
        "..",
        None,
        7,
    ],
)
def test_unsafe_names_are_refused_before_anything_is_downloaded(server, out, name):
    server.entries[2]["label"] = name
    assert refusal(server, out).startswith(f"{server.url} lists a file with the unsafe name {name!r}, which could lead")
    assert [path for path, _ in server.asked] == [LIST]
    assert names(out) == []


@pytest.mark.parametrize(
    ("fact", "value"),
    [("id", "1; rm"), ("id", True), ("filesize", -1), ("filesize", None), ("checksum", {"type": "MD5", "value": "x"})],
)
def test_entries_that_cannot_be_checked_are_refused(server, out, fact, value):
    server.entries[0]["dataFile"][fact] = value
    assert refusal(server, out).endswith("hexadecimal digits are needed to check it, so check --base-url")


def test_the_older_form_of_the_checksum_is_read(server, out):
    del server.entries[0]["dataFile"]["checksum"]
    assert fetch(server, out, [DAYS[0]])[0].read_bytes() == DATA[0]


def test_of_a_table_that_the_server_made_the_original_is_asked_for(server, out):
    facts = server.entries[0]["dataFile"]
    server.entries[0]["label"] = file_name(DAYS[0]).replace(".txt", ".tab")
    facts |= {"originalFileFormat": "text/tsv", "originalFileName": file_name(DAYS[0])}
    facts |= {"originalFileSize": facts["filesize"], "filesize": 12}
    assert fetch(server, out, [DAYS[0]])[0].read_bytes() == DATA[0]
    assert server.asked[-1][0] == "/api/access/datafile/1?format=original"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "answered with no JSON; check --base-url, it must be a Dataverse server"),
        (b"[1]", "answered without a list of files; check --base-url"),
        (b'{"status": "OK", "data": []}', "lists no daily file of the Milan grid among 0; check --base-url"),
        (b'{"data": [{}]}', "lists a file without 'dataFile'; check --base-url"),
    ],
)
def test_other_answers_than_a_list_are_explained(server, out, body, message):
    on_list(server, lambda h: h.answer(body))
    assert message in refusal(server, out)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (file_name(DAYS[0]) + ".gz", "lists 2013-11-01 twice"),
        (
            "sms-call-internet-mi-2013-11-31.txt",
            "-31.txt', whose date does not exist",
        ),
    ],
)
def test_days_that_cannot_be_are_refused(server, out, name, message):
    server.entries.append(entry(9, name, b"x"))
    assert message in refusal(server, out)


def test_a_list_that_fails_is_tried_again_and_then_given_up(server, out):
    on_list(server, lambda h: h.answer(b"", code=500))
    assert "cannot be had after 3 attempts: it answered 500 Internal Server Error" in refusal(server, out)
    assert len(server.asked) == 3


def test_a_server_that_is_not_there_is_explained(server, out):
    with Dataverse({}) as gone:
        pass
    told = refusal(gone, out)
    assert "cannot be had after 3 attempts: the connection failed or broke off; check the connection" in told


@pytest.mark.parametrize(
    "url",
    ["dataverse.harvard.edu", "file:///etc", "ftp://x", "http://", "http://a b", "http://x:port", "https://x?y=1", ""],
)
def test_base_urls_that_are_none_are_refused(out, url):
    with pytest.raises(DataError, match=re.escape(f"base URL {url!r} is no address of a server; write it as https://")):
        fetch_milan(out, base_url=url)
    assert not out.exists()


def test_a_full_disk_is_explained_and_nothing_is_kept(server, out, monkeypatch):
    def full(_source, _target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert refusal(server, out, [DAYS[0]]).startswith(
        f"cannot write in {str(out)!r}: No space left on device; make room"
    )
    monkeypatch.undo()
    assert names(out) == []


def test_files_that_will_not_fit_are_refused_before_they_are_asked_for(server, out):
    server.entries[0]["dataFile"]["filesize"] = 10**18
    assert re.search(
        r"the files need 1000000000\.0 GB more, but '.*' has \d+\.\d GB free; make room", refusal(server, out)
    )
    assert len(server.asked) == 1


def test_a_second_download_to_the_folder_is_told(server, out):
    out.mkdir()
    with only_process(out / ".fetch.lock", "x", DataError):
        assert f"is downloading to {str(out)!r} already" in refusal(server, out)


def test_a_folder_that_cannot_be_made_is_explained(server, tmp_path):
    assert "cannot make the folder" in refusal(server, tmp_path / "a" / "b")


def test_a_server_that_sends_a_byte_at_a_time_is_given_up(server, out, monkeypatch):
    """Every piece comes in time, so only the time of all tells."""
    monkeypatch.setattr(milan_fetch, "_PATIENCE", 0.2)
    monkeypatch.setattr(milan_fetch, "_SLOWEST", 10**9)

    def trickle(handler):
        handler.answer(b"", headers={"Content-Length": str(len(DATA[0]))}, length=False)
        with contextlib.suppress(OSError):
            for place in range(500):
                handler.wfile.write(DATA[0][place : place + 1])
                time.sleep(0.01)

    on_files(server, trickle)
    assert "datafile/1 was still sending after 0 seconds, slower than 1,000,000,000 bytes a second; try" in refusal(
        server, out, [DAYS[0]]
    )
    assert names(out) == []


def test_a_server_that_sends_its_headers_a_byte_at_a_time_is_given_up(server, out, monkeypatch):
    monkeypatch.setattr(milan_fetch, "_PATIENCE", 0.1)
    monkeypatch.setattr(milan_fetch, "ATTEMPTS", 1)

    def trickle(handler):
        with contextlib.suppress(OSError):
            for letter in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 60:
                handler.wfile.write(bytes([letter]))
                time.sleep(0.01)

    on_list(server, trickle)
    assert "cannot be had after 1 attempts: it did not answer in time" in refusal(server, out)


@pytest.mark.parametrize(
    "url", ["http://dataverse.harvard.edu", "HTTP://example.org/x", "http://127.0.0.1.example.org"]
)
def test_data_over_an_unencrypted_connection_is_refused(out, url):
    with pytest.raises(DataError, match=re.escape(f"base URL {url!r} is not encrypted, so anybody on the way could")):
        fetch_milan(out, base_url=url)
    assert not out.exists()


def test_redirects_are_followed_but_not_to_an_unencrypted_place(server, out):
    to = {"Location": "/api/access/datafile/1?again"}
    on_files(server, lambda h: h.answer(b"", code=302, headers=to))
    assert fetch(server, out, [DAYS[0]])[0].read_bytes() == DATA[0]
    away = {"Location": "http://example.org/x?signature=secret"}
    on_files(server, lambda h: h.answer(b"", code=302, headers=away))
    told = refusal(server, out, [DAYS[1]])
    assert "/api/access/datafile/2 redirects to http://example.org, which is not encrypted" in told
    assert "secret" not in told
    on_files(server, *[lambda h: h.answer(b"", code=302, headers=to)] * 6)
    assert "redirects more than 5 times" in refusal(server, out, [DAYS[1]])
