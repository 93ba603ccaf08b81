"""QKANFWP: its equations, the contract of nn.GRU, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from qkan import QKANFWP, QKANLayer
from qkan.kernels.fast_weights import numba_cpu

OPTIONS: dict[str, dict[str, Any]] = {
    "published": {},
    "layers": {"num_layers": 2, "latent_features": 3, "gate": "output"},
    "hqkan": {"slow": "hqkan", "reps": 2, "preact_init": "ternary"},
    "linear": {"fast": "linear", "latent_features": 1},
    "no base": {"ansatz": "mix", "base_activation": None, "bias": False},
}


def made(name: str = "published", **options: Any) -> QKANFWP:
    generator = torch.Generator().manual_seed(0)
    return QKANFWP(3, 4, generator=generator, dtype=torch.float64, **{**OPTIONS[name], **options})


def sequences(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_layer_is_its_equations() -> None:
    """Of the layer of a QKAN: its circuits with other angles at every step."""
    fwp, x = made(reps=2), sequences(6, 2, 3)
    (layer,) = fwp.directions
    fast = QKANLayer(2, 4, reps=2, dtype=torch.float64)
    with torch.no_grad():
        fast.base_weight.copy_(layer.base_weight.T)
    theta, expected = torch.zeros(2, 3, 2, 2, 4, dtype=torch.float64), []
    for t in range(6):
        a, b, gate = layer.slow(x[t]).split((12, 4, 1), -1)
        gate = torch.sigmoid(gate).view(2, 1, 1, 1, 1)
        theta = gate * theta + (1 - gate) * torch.einsum("bro,bia->braio", a.view(2, 3, 4), b.view(2, 2, 2))
        expected.append(fast(layer.encoder(x[t]), theta=theta.permute(0, 4, 3, 1, 2)))
    output, state = fwp(x)
    torch.testing.assert_close(output, torch.stack(expected), rtol=0, atol=1e-12)
    torch.testing.assert_close(state[0], theta.flatten(1), rtol=0, atol=1e-12)


def test_a_linear_layer_is_the_classical_programmer() -> None:
    fwp, x = made("linear"), sequences(5, 1, 3)
    (layer,) = fwp.directions
    weight, bias = torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for t in range(5):
        a, b, gate = layer.slow(x[t, 0]).split((4, 2, 1))
        gate = torch.sigmoid(gate)
        weight = gate * weight + (1 - gate) * a.unsqueeze(1) * b[:1]
        bias = gate * bias + (1 - gate) * a * b[1]
        expected = weight @ layer.encoder(x[t, 0]) + bias
        torch.testing.assert_close(fwp(x[: t + 1])[0][-1, 0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
def test_a_stream_goes_on_from_the_state(name: str, backend: str) -> None:
    fwp, x = made(name, backend=backend, batch_first=True), sequences(2, 40, 3)
    whole, end = fwp(x)
    assert (whole.shape, end.shape) == ((2, 40, 4), (fwp.num_layers, 2, fwp.spec.size))
    state, parts = None, []
    for piece in (*x[:, :3].split(1, 1), x[:, 3:36], x[:, 36:]):
        output, state = fwp(piece, state)
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(state, end, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OPTIONS)
def test_backends_agree_in_outputs_and_gradients_of_parameters(name: str) -> None:
    def gradients(backend: str) -> list[Tensor]:
        fwp = made(name, backend=backend)
        output, state = fwp(sequences(35, 2, 3))
        loss = output.square().sum() + state.square().sum()
        return [output, state, *torch.autograd.grad(loss, list(fwp.parameters()))]

    expected = gradients("reference")
    for backend in ("numba", "torch"):
        for found, wanted in zip(gradients(backend), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


def test_unbatched_and_packed_sequences() -> None:
    fwp, x = made("layers"), sequences(7, 3, 3)
    whole, _ = fwp(x)
    alone, state = fwp(x[:, 1])
    torch.testing.assert_close(alone, whole[:, 1])
    assert state.shape == (2, fwp.spec.size)
    lengths = torch.tensor([4, 7, 2])
    output, end = fwp(pack_padded_sequence(x, lengths, enforce_sorted=False))
    padded, _ = pad_packed_sequence(output)
    for b, length in enumerate(lengths):
        torch.testing.assert_close(padded[:length, b], whole[:length, b])
        torch.testing.assert_close(end[:, b], fwp(x[:length, b])[1])


def test_gates_start_as_published_or_spread() -> None:
    (scalar,), (spread,) = made().directions, made(gate="output").directions
    assert scalar.slow.bias[-1] == 2.0
    torch.testing.assert_close(spread.slow.bias[-4:], torch.linspace(0, 4, 4, dtype=torch.float64))
    (hybrid,) = made("hqkan").directions
    assert hybrid.slow.decoder.bias[-1] == 2.0


def test_one_call_of_the_kernel_forward_and_one_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    run = numba_cpu._call
    monkeypatch.setattr(numba_cpu, "_call", lambda kernel, *given: (calls.append(kernel), run(kernel, *given)))
    fwp = QKANFWP(2, 3)
    fwp(torch.randn(100, 4, 2))[0].sum().backward()
    assert calls == ["FORWARD", "BACKWARD"]
    assert fwp.explain_backend(torch.randn(5, 1, 2)) == "layer 0: numba: the first backend that can run"


def test_autocast_keeps_the_fast_weights_whole() -> None:
    fwp, x = QKANFWP(3, 4, generator=torch.Generator().manual_seed(0)), sequences(6, 2, 3).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, state = fwp(x)
    assert state.dtype == torch.float32
    torch.testing.assert_close(output.float(), fwp(x)[0], rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fast": "vqc"}, "unknown fast 'vqc'; use one of circuit, linear"),
        ({"gate": 2}, "unknown gate 2; use one of scalar, output"),
        ({"slow": "lstm"}, "unknown slow 'lstm'; use one of linear, hqkan"),
        ({"latent_features": 0}, r"latent_features 0 is outside \[1, "),
        ({"ansatz": "px"}, "ansatz 'px' encodes acos x, which fast circuits cannot; use pz, rpz, real, mix"),
        ({"preact_init": "auto"}, "preact_init 'auto' needs data, .* use ones, binary or ternary"),
        ({"base_activation": "step"}, "unknown base_activation 'step'"),
        ({"backend": "triton"}, "unknown backend 'triton'; use one of auto, numba, torch, reference"),
    ],
)
def test_bad_options_are_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        QKANFWP(3, 4, **options)


def test_bad_inputs_and_states_are_one_sentence() -> None:
    fwp = QKANFWP(3, 4)
    with pytest.raises(RuntimeError, match=r"input.size\(-1\) must be equal to input_size. Expected 3, got 2"):
        fwp(torch.randn(5, 1, 2))
    with pytest.raises(RuntimeError, match=r"Expected hidden size \(1, 1, 32\), got \[1, 1, 4\]"):
        fwp(torch.randn(5, 1, 3), torch.zeros(1, 1, 4))
    with pytest.raises(TypeError, match="QKANFWP needs one tensor h_0 as initial states, got tuple for one"):
        fwp(torch.randn(5, 1, 3), (torch.zeros(1, 1, 32), torch.zeros(1, 1, 32)))
    with pytest.raises(TypeError, match="backend must be one of auto, numba, torch, reference, got int"):
        QKANFWP(3, 4, backend=3)
