"""Processes of other packages: no network, no package."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.peer_process import PeerProcess

WORKER = """
import json, os, sys, time
print("hello", file=sys.stderr, flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "sleep":
        time.sleep(60)
    if request["do"] == "die":
        print("terminate called", file=sys.stderr, flush=True)
        os._exit(9)
    print(json.dumps({"pid": os.getpid(), "got": request["do"]}), flush=True)
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[PeerProcess]:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    with PeerProcess(Path(sys.executable), tmp_path / "worker.log", worker) as running:
        yield running


def test_one_process_answers_all_requests(process: PeerProcess) -> None:
    answers = [process.ask({"do": word}, 60) for word in ("this", "that")]
    assert [answer["got"] for answer in answers] == ["this", "that"]
    assert answers[0]["pid"] == answers[1]["pid"]


def test_a_process_that_hangs_is_replaced(process: PeerProcess) -> None:
    first = process.ask({"do": "this"}, 60)
    assert process.ask({"do": "sleep"}, 0.2) == {"reason": "too slow: no answer within 0 s"}
    assert process.ask({"do": "that"}, 60)["pid"] != first["pid"]


def test_a_process_that_dies_leaves_its_last_words(process: PeerProcess) -> None:
    assert process.ask({"do": "die"}, 60) == {"reason": "its process ended with status 9: terminate called"}
    assert process.ask({"do": "that"}, 60)["got"] == "that"


def test_a_process_that_died_between_requests_is_a_reason(process: PeerProcess) -> None:
    process.ask({"do": "this"}, 60)
    assert process._process is not None
    process._process.kill()
    process._process.wait()
    assert process.ask({"do": "that"}, 60)["reason"].startswith("its process ended with status ")


def test_no_process_is_left_behind(process: PeerProcess) -> None:
    process.ask({"do": "this"}, 60)
    running = process._process
    process.close()
    assert running is not None
    assert running.returncode is not None


def test_the_real_worker_starts_and_says_what_is_missing(tmp_path: Path) -> None:
    request = {"builder": "pykan", "size": [2, 3, 4, 1], "device": "cpu", "dtype": "float32", "threads": 1, "seed": 0}
    with PeerProcess(Path(sys.executable), tmp_path / "worker.log") as running:
        answer = running.ask(request, 120)
    assert answer == {"reason": "ModuleNotFoundError: No module named 'kan'"}
    assert json.loads(json.dumps(answer)) == answer
