"""What is said before, or instead of, a work on Ray; tests/ecosystem/test_ray.py works on one."""

import os
import pickle
import socket
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from tiny_runs import tiny_comparison

from qkan._version import __version__
from qkan.cli.main import cli
from qkan.forecasting import RunError
from qkan.forecasting.executors import check_executor, ray_cluster, ray_driver


def test_ray_that_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch, tmp_path):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("qkan._util.optional.version", missing)
    command = ["compare", "lstm", "--data", "damped-shm", "--executor", "ray", "--out", str(tmp_path / "c")]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 2
    assert done.stderr == "Error: ray is not installed, and this needs it: pip install 'qkan-seq[ray]'\n"
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_the_client_needs_what_the_client_needs(monkeypatch):
    def without_grpc(name):
        if name == "grpcio":
            raise metadata.PackageNotFoundError(name)
        return "2.60.0"

    monkeypatch.setattr("qkan._util.optional.version", without_grpc)
    with pytest.raises(
        ModuleNotFoundError, match=r"^grpcio is not installed, and this needs it: pip install 'qkan-seq"
    ):
        check_executor("ray://head:10001")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with pytest.raises(ModuleNotFoundError, match=r"^grpcio is not installed"):
        check_executor("ray")


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr("qkan._util.optional.version", lambda name: "2.60.0")


@pytest.mark.usefixtures("installed")
def test_an_address_where_nothing_listens_is_refused_at_once(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    said = r"^no Ray cluster is at {} \(Connection refused\); check the address, or start one there with ray start"
    for address in (f"127.0.0.1:{port}", f"ray://localhost:{port}"):
        with pytest.raises(RunError, match=said.format(address)):
            check_executor(address)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(RunError, match=said.format(f"127.0.0.1:{port}")):
        check_executor("ray")
    for address in ("head:abc", "ray://head:70000"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(RunError, match=rf"^RAY_ADDRESS is '{address}', whose port is no number up to 65535"):
            check_executor("ray")
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert ray_cluster.address_of("ray") == "local"


@pytest.mark.parametrize("value", ["raycluster", "ray://", "ray://head", "head:0", "head:65536", "http://head:80", 7])
def test_what_is_no_executor_is_refused(value):
    with pytest.raises(ValueError, match=r"^executor must be processes, ray, or the address of a Ray cluster such"):
        tiny_comparison(out="o", executor=value)


@pytest.mark.parametrize("value", ["processes", "ray", "10.0.0.1:6379", "ray://head.example:10001", "[::1]:6379"])
def test_executors(value):
    assert tiny_comparison(out="o", executor=value).executor == value


class _OnAnotherDisk:
    """Data that are a path wherever they are sent."""

    def __reduce__(self):
        return open, ("/nowhere/panel.arrow",)


@pytest.fixture
def node(monkeypatch):
    """A worker of Ray, without Ray."""
    util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.7")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(util=util, get=lambda content: content))
    monkeypatch.setattr(ray_driver, "_shared", {})


@pytest.mark.usefixtures("node")
def test_a_worker_takes_what_jobs_share_once():
    content = [pickle.dumps((divmod, 17))]
    assert ray_driver.run_job(__version__, "a", content, 5) == (3, 2)
    assert ray_driver.run_job(__version__, "a", [], 4) == (4, 1)


@pytest.mark.usefixtures("node")
def test_a_node_that_cannot_read_the_data_says_so():
    content = [pickle.dumps((max, _OnAnotherDisk()))]
    said = (
        "^the Ray node 10.0.0.7 cannot read /nowhere/panel.arrow: No such file or directory; put the data on a file "
        "system that all nodes share$"
    )
    with pytest.raises(RunError, match=said):
        ray_driver.run_job(__version__, "a", content, 1)


@pytest.mark.usefixtures("node")
def test_a_node_with_another_release_says_so():
    with pytest.raises(RunError, match=f"^the Ray node 10.0.0.7 has qkan-seq {__version__}, and 0.0.9 asks"):
        ray_driver.run_job("0.0.9", "a", [], 1)


def test_what_is_started_meanwhile_finds_the_settings_of_ray_on_this_machine(monkeypatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    tokens = set()
    for _ in range(2):
        with ray_driver.local_environment():
            assert os.environ["RAY_AUTH_MODE"] == "token"
            tokens.add(os.environ["RAY_AUTH_TOKEN"])
        assert os.environ["RAY_AUTH_MODE"] == "disabled"
        assert "RAY_AUTH_TOKEN" not in os.environ
    assert len(tokens) == 2
    assert {len(token) for token in tokens} == {64}
