"""One contract, three implementations: what holds for torch.nn.LSTM holds for QKANLSTM, HQKANLSTM and QLSTM."""

import inspect
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

from qkan import HQKANLSTM, QKANLSTM, QLSTM

MAKERS = {
    "lstm": nn.LSTM,
    "qkan": QKANLSTM,
    "hqkan": HQKANLSTM,
    "lowrank": partial(HQKANLSTM, latent="linear"),
    "gr-kan": partial(HQKANLSTM, latent="gr-kan", latent_features=3),
    "qkan-grouped": partial(QKANLSTM, group="input", postact_weight_trainable=True, reps=2, preact_trainable=True),
    "qlstm": partial(QLSTM, qubits=3),
    "qlstm-state": partial(QLSTM, qubits=2, circuit_layers=2, backend="state"),
}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"num_layers": 2},
    {"bidirectional": True},
    {"proj_size": 2},
    {"num_layers": 3, "bidirectional": True, "proj_size": 3, "dropout": 0.3, "bias": False},
]

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Any:
    def build(*args: Any, **kwargs: Any) -> nn.Module:
        torch.manual_seed(0)
        return MAKERS[request.param](*args, **kwargs)

    return build


def sizes(variant: dict[str, Any]) -> tuple[int, int, int]:
    """States per sequence, size of h, size of the output, for hidden size 4."""
    directions = 2 if variant.get("bidirectional") else 1
    h = variant.get("proj_size") or 4
    return variant.get("num_layers", 1) * directions, h, directions * h


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("batch_first", [False, True])
def test_shapes_of_batches(make: Any, variant: dict[str, Any], batch_first: bool) -> None:
    states, h, out = sizes(variant)
    module = make(3, 4, batch_first=batch_first, **variant)
    x = torch.randn(2, 7, 3) if batch_first else torch.randn(7, 2, 3)
    for hx in (None, (torch.randn(states, 2, h), torch.randn(states, 2, 4))):
        output, (h_n, c_n) = module(x, hx)
        assert output.shape == (*x.shape[:2], out)
        assert h_n.shape == (states, 2, h)
        assert c_n.shape == (states, 2, 4)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_unbatched_input_is_a_batch_of_one(make: Any, variant: dict[str, Any]) -> None:
    states, h, _ = sizes(variant)
    module = make(3, 4, **variant).eval()
    x, hx = torch.randn(7, 3), (torch.randn(states, h), torch.randn(states, 4))
    output, (h_n, c_n) = module(x, hx)
    batch_output, (batch_h, batch_c) = module(x.unsqueeze(1), (hx[0].unsqueeze(1), hx[1].unsqueeze(1)))
    for got, expected in ((output, batch_output), (h_n, batch_h), (c_n, batch_c)):
        torch.testing.assert_close(got, expected.squeeze(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_final_states_are_where_the_output_ends(make: Any, variant: dict[str, Any]) -> None:
    states, h, _ = sizes(variant)
    output, (h_n, _) = make(3, 4, **variant).eval()(torch.randn(7, 2, 3))
    torch.testing.assert_close(output[-1, :, :h], h_n[-2 if variant.get("bidirectional") else -1], rtol=0, atol=1e-6)
    if variant.get("bidirectional"):
        torch.testing.assert_close(output[0, :, h:], h_n[-1], rtol=0, atol=1e-6)
    assert h_n.shape[0] == states


@pytest.mark.parametrize("split", [1, 4, 6])
def test_a_sequence_can_be_walked_in_two_pieces(make: Any, split: int) -> None:
    module = make(3, 4, num_layers=2, proj_size=2)
    x = torch.randn(7, 2, 3)
    whole, (h_n, c_n) = module(x)
    first, state = module(x[:split])
    second, (h_2, c_2) = module(x[split:], state)
    torch.testing.assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(h_2, h_n, rtol=0, atol=1e-6)
    torch.testing.assert_close(c_2, c_n, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("given_states", [False, True])
def test_packed_sequences_are_sequences_alone(make: Any, variant: dict[str, Any], given_states: bool) -> None:
    states, h, _ = sizes(variant)
    module = make(3, 4, **variant).eval()
    lengths = [3, 6, 1, 6, 2]
    sequences = [torch.randn(n, 3) for n in lengths]
    hx = (torch.randn(states, 5, h), torch.randn(states, 5, 4)) if given_states else None
    packed, (h_n, c_n) = module(pack_sequence(sequences, enforce_sorted=False), hx)
    assert isinstance(packed, PackedSequence)
    padded, got_lengths = pad_packed_sequence(packed)
    assert got_lengths.tolist() == lengths
    for k, sequence in enumerate(sequences):
        alone, (h_k, c_k) = module(sequence, None if hx is None else (hx[0][:, k], hx[1][:, k]))
        torch.testing.assert_close(padded[: lengths[k], k], alone, rtol=0, atol=1e-6)
        torch.testing.assert_close(h_n[:, k], h_k, rtol=0, atol=1e-6)
        torch.testing.assert_close(c_n[:, k], c_k, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_first", [False, True])
def test_sorted_packed_input_keeps_its_layout(make: Any, batch_first: bool) -> None:
    x = torch.randn(2, 5, 3) if batch_first else torch.randn(5, 2, 3)
    packed = pack_padded_sequence(x, torch.tensor([5, 3]), batch_first=batch_first)
    out, _ = make(3, 4, batch_first=batch_first)(packed)
    assert torch.equal(out.batch_sizes, packed.batch_sizes)
    assert out.sorted_indices is None
    assert out.data.shape == (8, 4)


def test_gradients_reach_everything(make: Any) -> None:
    module = make(3, 4, num_layers=2, bidirectional=True, proj_size=2)
    x = torch.randn(5, 2, 3, requires_grad=True)
    hx = (torch.randn(4, 2, 2, requires_grad=True), torch.randn(4, 2, 4, requires_grad=True))
    output, (h_n, c_n) = module(x, hx)
    (output.sum() + h_n.sum() + c_n.sum()).backward()
    for tensor in (x, *hx, *module.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


def test_dropout_acts_between_layers_in_training_only(make: Any) -> None:
    module = make(3, 4, num_layers=2, dropout=0.5)
    x = torch.randn(6, 3, 3)
    assert not torch.equal(module(x)[0], module(x)[0])
    module.eval()
    assert torch.equal(module(x)[0], module(x)[0])
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last recurrent layer"):
        make(3, 4, dropout=0.5)


def test_a_window_of_none_and_a_batch_of_none(make: Any) -> None:
    module = make(3, 4)
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0 in RNN"):
        module(torch.randn(0, 2, 3))
    output, (h_n, _) = module(torch.randn(5, 0, 3))
    assert output.shape == (5, 0, 4)
    assert h_n.shape == (1, 0, 4)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"hidden_size": 0}, ValueError),
        ({"hidden_size": -1}, ValueError),
        ({"hidden_size": 2.5}, TypeError),
        ({"num_layers": 0}, ValueError),
        ({"dropout": 1.5, "num_layers": 2}, ValueError),
        ({"dropout": -0.1}, ValueError),
        ({"dropout": True}, ValueError),
        ({"dropout": "much"}, ValueError),
        ({"proj_size": -1}, ValueError),
        ({"proj_size": 4}, ValueError),
        ({"hidden": 4}, TypeError),
    ],
    ids=str,
)
def test_wrong_constructor_arguments(make: Any, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        make(**{"input_size": 3, "hidden_size": 4, **arguments})


CALLS: list[tuple[str, Any, Any, type[Exception]]] = [
    ("one dimension", (3,), None, ValueError),
    ("four dimensions", (2, 2, 2, 3), None, ValueError),
    ("another feature size", (5, 2, 4), None, RuntimeError),
    ("states of another batch", (5, 2, 3), ((1, 3, 4), (1, 3, 4)), RuntimeError),
    ("states of another size", (5, 2, 3), ((1, 2, 5), (1, 2, 4)), RuntimeError),
    ("states of more layers", (5, 2, 3), ((2, 2, 4), (2, 2, 4)), RuntimeError),
    ("cell state of another size", (5, 2, 3), ((1, 2, 4), (1, 2, 5)), RuntimeError),
    ("unbatched states for a batch", (5, 2, 3), ((1, 4), (1, 4)), RuntimeError),
    ("batched states for no batch", (5, 3), ((1, 1, 4), (1, 1, 4)), RuntimeError),
]


@pytest.mark.parametrize(("x", "hx", "error"), [call[1:] for call in CALLS], ids=[call[0] for call in CALLS])
def test_wrong_calls(make: Any, x: Any, hx: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make(3, 4)(torch.randn(*x), None if hx is None else (torch.randn(*hx[0]), torch.randn(*hx[1])))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
def test_inputs_of_another_dtype(make: Any, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"RNN input dtype \({dtype}\) does not match weight dtype \(torch.float32\)"):
        make(3, 4)(torch.ones(5, 2, 3, dtype=dtype))
    with pytest.raises((ValueError, RuntimeError)):
        make(3, 4)(pack_sequence([torch.ones(2, 3, dtype=dtype)]))


@pytest.mark.parametrize("position", [0, 1])
def test_states_of_another_dtype(make: Any, position: int) -> None:
    hx = [torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)]
    hx[position] = hx[position].double()
    with pytest.raises(RuntimeError):
        make(3, 4)(torch.randn(5, 2, 3), tuple(hx))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_takes_states_of_either_dtype(make: Any, dtype: torch.dtype) -> None:
    module, x = make(3, 4), torch.randn(5, 2, 3)
    hx = (torch.randn(1, 2, 4).to(dtype), torch.randn(1, 2, 4).to(dtype))
    expected, _ = module(x, (hx[0].float(), hx[1].float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _ = module(x, hx)
    torch.testing.assert_close(output.float(), expected, rtol=0, atol=3e-2)


def test_frozen_in_parts(make: Any) -> None:
    module, x = make(3, 4), torch.randn(5, 2, 3, requires_grad=True)
    names = [name for name, _ in module.named_parameters()]
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name == names[0])
    module(x)[0].sum().backward()
    for name, parameter in module.named_parameters():
        assert (parameter.grad is not None) == (name == names[0])
    assert x.grad is not None


def test_inference_mode_leaves_nothing_behind(make: Any) -> None:
    module, x = make(3, 4), torch.randn(5, 2, 3)
    with torch.inference_mode():
        expected = module(x)[0].clone()
    output = module(x)[0]
    output.sum().backward()
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)


def test_expanded_and_strided_states(make: Any) -> None:
    module, x = make(3, 4, num_layers=2).eval(), torch.randn(5, 2, 3)
    h, c = torch.randn(2, 1, 4).expand(2, 2, 4), torch.randn(4, 2, 2).permute(1, 2, 0)
    for got, expected in zip(module(x, (h, c))[1], module(x, (h.contiguous(), c.contiguous()))[1], strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ours", [QKANLSTM, HQKANLSTM, QLSTM])
def test_signature_starts_like_nn_lstm(ours: type[nn.Module]) -> None:
    expected = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    names = list(inspect.signature(ours.__init__).parameters)[1:]
    assert names[:8] == [*expected, "proj_size"]
    positional = ours(3, 4, 2, False, True, 0.0, True, 2)
    reference = nn.LSTM(3, 4, 2, False, True, 0.0, True, 2)
    for name in (*expected, "proj_size"):
        assert getattr(positional, name) == getattr(reference, name)


@pytest.mark.parametrize("error", [None, RuntimeError, ValueError])
def test_cell_contract(error: type[Exception] | None) -> None:
    from qkan import QKANLSTMCell

    for cell in (nn.LSTMCell(3, 4), QKANLSTMCell(3, 4)):
        if error is None:
            for lead in ((5,), ()):
                h, c = cell(torch.randn(*lead, 3))
                assert h.shape == c.shape == (*lead, 4)
                again = cell(torch.randn(*lead, 3), (h, c))
                assert again[0].shape == (*lead, 4)
            continue
        bad: list[tuple[Tensor, Any]] = (
            [
                (torch.randn(5, 4), None),
                (torch.randn(5, 3), (torch.randn(4, 4), torch.randn(4, 4))),
                (torch.randn(5, 3).double(), None),
                (torch.randn(5, 3), (torch.randn(5, 4).double(), torch.randn(5, 4).double())),
            ]
            if error is RuntimeError
            else [(torch.randn(2, 5, 3), None), (torch.randn(5, 3), (torch.randn(1, 5, 4), torch.randn(1, 5, 4)))]
        )
        for x, hx in bad:
            with pytest.raises(error):
                cell(x, hx)
