"""Environments and processes of other people's packages: no network, no package."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.harness import peers
from benchmarks.harness.peers import Peer, PeerError, PeerProcess, prepare

PLAIN = Peer("spline-1.0", ("spline==1.0", "numpy"))
BUILT = Peer("built-2.0", ("built==2.0",), build_tools=("setuptools",))


class Commands:
    """Stands in for subprocess.run: takes note of the commands; ``answers`` maps a word of one to its result."""

    def __init__(self, answers: dict[str, tuple[int, str]] | None = None) -> None:
        self.answers, self.ran = answers or {}, []

    def __call__(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        self.ran.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True, exist_ok=True)
        code, text = next((result for word, result in self.answers.items() if word in command), (0, ""))
        return subprocess.CompletedProcess(command, code, "", text)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Commands]:
    def install(answers: dict[str, tuple[int, str]] | None = None) -> Commands:
        stand_in = Commands(answers)
        monkeypatch.setattr(peers.subprocess, "run", stand_in)
        return stand_in

    return install


def test_environment_gets_the_package_and_our_torch(commands, tmp_path: Path) -> None:
    ran = commands()
    said: list[str] = []
    python = prepare(PLAIN, "2.13.0+cpu", said.append, tmp_path)
    assert python.parent.parent == tmp_path / "spline-1.0"
    assert ran.ran[0] == [sys.executable, "-m", "venv", "--clear", str(tmp_path / "spline-1.0")]
    assert ran.ran[1][0] == str(python)
    assert ran.ran[1][-3:] == ["spline==1.0", "numpy", "torch==2.13.0"]
    assert len(ran.ran) == 2
    assert said == [f"installing spline-1.0 with torch==2.13.0 into {tmp_path / 'spline-1.0'} (once)"]


def test_package_that_is_built_finds_torch_installed(commands, tmp_path: Path) -> None:
    ran = commands()
    prepare(BUILT, "2.13.0", [].append, tmp_path)
    assert ran.ran[1][-2:] == ["torch==2.13.0", "setuptools"]
    assert ran.ran[2][-3:] == ["--no-build-isolation", "built==2.0", "torch==2.13.0"]


def test_environment_is_found_again(commands, tmp_path: Path) -> None:
    ran = commands()
    first = prepare(PLAIN, "2.13.0", [].append, tmp_path)
    done = len(ran.ran)
    said: list[str] = []
    assert prepare(PLAIN, "2.13.0", said.append, tmp_path) == first
    assert (len(ran.ran), said) == (done, [])


@pytest.mark.parametrize("peer", [PLAIN, Peer("spline-1.0", ("spline==1.0",))])
def test_another_torch_or_other_requirements_make_it_anew(peer: Peer, commands, tmp_path: Path) -> None:
    ran = commands()
    prepare(PLAIN, "2.13.0", [].append, tmp_path)
    prepare(peer, "2.14.0", [].append, tmp_path)
    assert sum("venv" in command for command in ran.ran) == 2


def test_installation_that_broke_off_is_done_again(commands, monkeypatch, tmp_path: Path) -> None:
    commands({"pip": (1, "ERROR: network is down")})
    with pytest.raises(PeerError, match=r"^spline-1\.0 cannot be installed: ERROR: network is down$"):
        prepare(PLAIN, "2.13.0", [].append, tmp_path)
    ran = commands()
    prepare(PLAIN, "2.13.0", [].append, tmp_path)
    assert len(ran.ran) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "ERROR: Could not find a version\nERROR: No matching distribution found for spline==1.0\n",
            "spline==1.0 is not on the package index",
        ),
        ("error: subprocess-exited-with-error\nhint: see above", "spline-1.0 cannot be installed: error: subprocess-"),
        ("killed", "spline-1.0 cannot be installed: killed"),
        ("", "spline-1.0 cannot be installed: no message"),
    ],
)
def test_failed_installation_is_a_sentence(text: str, reason: str, commands, tmp_path: Path) -> None:
    commands({"pip": (1, text)})
    with pytest.raises(PeerError) as failed:
        prepare(PLAIN, "2.13.0", [].append, tmp_path)
    assert str(failed.value).startswith(reason)


def test_missing_interpreter_is_a_sentence(monkeypatch, tmp_path: Path) -> None:
    def missing(command: list[str], **options: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", command[0])

    monkeypatch.setattr(peers.subprocess, "run", missing)
    with pytest.raises(PeerError, match=r"^spline-1\.0 cannot be installed: .*No such file or directory"):
        prepare(PLAIN, "2.13.0", [].append, tmp_path)


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
