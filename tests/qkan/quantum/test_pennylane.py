"""What PennyLane() takes and refuses, and what happens where PennyLane is not installed."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch

from qkan import Noise, PennyLane, QKANLayer
from qkan._util import optional as require
from qkan.kernels import backends
from qkan.quantum import runtime_estimate as workload


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        (
            {"device": "ibm"},
            ValueError,
            "unknown device 'ibm'; use one of default.qubit, lightning.qubit, default.mixed",
        ),
        (
            {"device": "lightning.qubit", "diff_method": "backprop"},
            ValueError,
            "device 'lightning.qubit' cannot do diff_method 'backprop'; use adjoint or parameter-shift",
        ),
        (
            {"device": "default.mixed", "diff_method": "adjoint"},
            ValueError,
            "device 'default.mixed' cannot do diff_method 'adjoint'; use backprop or parameter-shift",
        ),
        ({"diff_method": "magic"}, ValueError, "unknown diff_method 'magic'; use one of backprop, adjoint, parameter-"),
        (
            {"shots": 100, "diff_method": "backprop"},
            ValueError,
            "diff_method 'backprop' needs exact states, but shots=100 gives samples; use diff_method='parameter-shift'",
        ),
        ({"shots": 100, "diff_method": "adjoint"}, ValueError, "'adjoint' needs exact states, but shots=100"),
        ({"shots": 0}, ValueError, r"shots 0 is outside \[1, 10000000\]"),
        ({"shots": 1.5}, TypeError, "shots must be an int or None, got float"),
        ({"shots": True}, TypeError, "shots must be an int or None, got bool"),
        ({"seed": -1}, ValueError, r"seed -1 is outside \[0, 4294967295\]"),
        (
            {"noise": "depolarizing=0.1", "device": "default.qubit"},
            ValueError,
            "device 'default.qubit' simulates pure states, which have no noise; use 'default.mixed'",
        ),
        ({"noise": "depolarizing=1.1"}, ValueError, "depolarizing 1.1 is not a probability; give a number in"),
        ({"noise": "readout=-0.1"}, ValueError, "readout -0.1 is not a probability"),
        ({"noise": "readout=nan"}, ValueError, "readout nan is not a probability"),
        ({"noise": "readout=much"}, ValueError, "readout 'much' is not a number"),
        (
            {"noise": "dephasing=0.1"},
            ValueError,
            "noise 'dephasing=0.1' must be one of depolarizing=P, amplitude_damping=P, readout=P",
        ),
        ({"noise": "readout"}, ValueError, "noise 'readout' must be one of"),
        ({"noise": "readout=0.1,readout=0.2"}, ValueError, "noise names readout twice"),
        ({"noise": 0.1}, TypeError, "noise must be a Noise, a text or None, got float"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, object], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        PennyLane(**options)  # type: ignore[arg-type]


def test_noise_checks_its_numbers() -> None:
    with pytest.raises(TypeError, match=r"noise: readout must be a number in \[0, 1\], got str"):
        Noise(readout="0.1")  # type: ignore[arg-type]
    assert Noise.parse(" depolarizing = 0.01, readout=1 ") == Noise(depolarizing=0.01, readout=1.0)
    assert str(Noise.parse("amplitude_damping=0.25,readout=0")) == "amplitude_damping=0.25"
    assert str(Noise()) == "none"
    assert Noise(0.4, 0.2, 0.1).scaled(0.5) == Noise(0.2, 0.1, 0.05)


@pytest.mark.parametrize(
    ("options", "device", "diff_method"),
    [
        ({}, "default.qubit", "backprop"),
        ({"shots": 10}, "default.qubit", "parameter-shift"),
        ({"device": "lightning.qubit"}, "lightning.qubit", "adjoint"),
        ({"noise": "readout=0.1"}, "default.mixed", "backprop"),
        ({"noise": "readout=0.1", "shots": 10}, "default.mixed", "parameter-shift"),
    ],
)
def test_what_is_left_open_is_chosen(options: dict[str, object], device: str, diff_method: str) -> None:
    settings = PennyLane(**options)  # type: ignore[arg-type]
    assert (settings.device, settings.diff_method) == (device, diff_method)


def test_settings_are_values() -> None:
    settings = PennyLane(shots=10, noise="readout=0.1", seed=1)
    settings.open_device()
    for twin in (copy.deepcopy(settings), pickle.loads(pickle.dumps(settings))):
        assert twin == settings
        assert twin._devices == {}
    assert str(settings) == "pennylane (default.mixed, parameter-shift, 10 shots, noise readout=0.1)"


@pytest.mark.parametrize("backend", ["pennylane", PennyLane()], ids=str)
def test_a_readout_that_no_circuit_measures_is_refused(backend: str | PennyLane) -> None:
    with pytest.raises(ValueError, match=r"no circuit measures readout 'amplitude': .*; use readout='z'"):
        QKANLayer(2, 2, 1, readout="amplitude", backend=backend)
    layer = QKANLayer(2, 2, 1, readout="amplitude")
    layer.backend = backend
    with pytest.raises(ValueError, match="no circuit measures"):
        layer(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="no circuit measures"):
        layer.circuit(0, 0)


def test_something_else_is_no_backend() -> None:
    with pytest.raises(TypeError, match=r"backend must be a name or a simulator such as PennyLane\(\), got int"):
        QKANLayer(2, 2, 1, backend=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown backend 'penny'; use one of auto, .*reference, pennylane"):
        QKANLayer(2, 2, 1, backend="penny")


def test_without_pennylane_the_install_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(require, "find_spec", lambda name: None)
    line = r"PennyLane is not installed, and this needs it: pip install 'qkan-seq\[pennylane\]'"
    with pytest.raises(ModuleNotFoundError, match=line):
        QKANLayer(2, 2, 1, backend="pennylane")
    with pytest.raises(ModuleNotFoundError, match=line):
        QKANLayer(2, 2, 1).circuit(0, 0)
    assert QKANLayer(2, 2, 1).spectrum(0, 0).distinct() > 0  # needs no circuit simulator


def test_building_and_training_layers_imports_no_pennylane() -> None:
    code = """
import sys, torch, qkan
qkan.QKANLayer(2, 2, 1)(torch.zeros(1, 2)).sum().backward()
qkan.PennyLane(shots=10)
print("pennylane" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_what_would_take_too_long_is_refused_unless_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = QKANLayer(64, 64, 3, backend=PennyLane(device="lightning.qubit"))
    sentence = (
        r"this call would run 262,144 circuits, about 87 s in PennyLane, above the limit of 60 s; use fewer samples, "
        r"a smaller layer or another device, or PennyLane\(force=True\)"
    )
    with pytest.raises(ValueError, match=sentence):
        layer(torch.zeros(64, 64))
    small = QKANLayer(2, 2, 1, backend=PennyLane(device="lightning.qubit"))
    forced = QKANLayer(2, 2, 1, backend=PennyLane(device="lightning.qubit", force=True))
    monkeypatch.setattr(workload, "LIMIT", 1e-9)
    with pytest.raises(ValueError, match="4 circuits, about 0 s"):
        small(torch.zeros(1, 2))
    assert forced(torch.zeros(1, 2)).shape == (1, 2)


def test_shifted_circuits_are_counted() -> None:
    plain = workload.estimate(10, 7, "default.qubit", "parameter-shift", None, backward=False)
    shifted = workload.estimate(10, 7, "default.qubit", "parameter-shift", None, backward=True)
    assert (plain.circuits, shifted.circuits) == (10, 150)
    assert shifted.seconds == pytest.approx(15 * plain.seconds)
    measured = workload.estimate(10, 7, "default.qubit", "parameter-shift", 10**6, backward=False)
    assert measured.seconds > plain.seconds + 0.1


def test_a_simulator_of_ones_own_is_a_backend() -> None:
    class Half:
        def check(self, ansatz: object, readout: str) -> None: ...

        def phi(self, x: torch.Tensor, theta: torch.Tensor, *preacts: object, **circuit: object) -> torch.Tensor:
            return torch.full(torch.broadcast_shapes(x.shape, theta.shape[:-2]), 0.5)

    assert isinstance(Half(), backends.Simulator)
    layer = QKANLayer(3, 2, 1, base_activation=None, backend=Half())
    assert torch.equal(layer(torch.zeros(4, 3)), torch.full((4, 2), 1.5))
