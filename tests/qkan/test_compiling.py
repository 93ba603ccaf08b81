"""Frozen layers and models equal their circuits, stand alone once exported, and refuse what they cannot hold."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import qkan
from qkan import DARUAN, HQKANLSTM, QKAN, QKANLSTM, QKANLayer, QKANLSTMCell
from qkan.layers.frozen import BlochCircuits, Features, FrozenActivation, FrozenLayer

#: Of layers with a handful of inputs and weights of about 1.
TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-13}


def trained(module: nn.Module, spread: float = 1.0) -> nn.Module:
    """``module`` with normally distributed parameters, as no initial values are."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return module


def inputs(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(4), dtype=dtype) - 1


def reference(layer: nn.Module, x: Tensor) -> Tensor:
    exact = copy.deepcopy(layer).double()
    for module in exact.modules():
        if isinstance(module, QKANLayer | DARUAN):
            module.backend = "reference"
    with torch.no_grad():
        return exact(x.double())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("group", [None, 2, "input"])
@pytest.mark.parametrize("preact", [False, True])
@pytest.mark.parametrize("readout", ["z", "amplitude"])
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "real", "mix"])
def test_layer_equals_its_circuits(ansatz, readout, preact, group, dtype) -> None:
    layer = QKANLayer(
        5,
        3,
        ansatz=ansatz,
        readout=readout,
        preact_trainable=preact,
        postact_weight_trainable=True,
        postact_bias_trainable=True,
        group=group,
        dtype=dtype,
    )
    trained(layer, 0.25 if ansatz == "px" else 1.0)  # px encodes acos(w x + b), which must be real
    x = inputs(7, 5, dtype=dtype) * (0.4 if ansatz == "px" else 1.0)
    frozen = layer.compile_spectral(domain=1.0 if preact else None)
    y = frozen(x)
    assert y.dtype == dtype
    assert list(frozen.parameters()) == []
    # The square roots of the amplitude turn an error of 6e-8 in Z into one of up to 2e-4 near the poles; its formula is
    # held by the other dtype.
    tolerance = 1e-3 if readout == "amplitude" and dtype == torch.float32 else TOLERANCE[dtype]
    torch.testing.assert_close(y.double(), reference(layer, x), rtol=0, atol=tolerance)


def double_slope(x: Tensor) -> Tensor:
    return torch.sin(2 * x)


@pytest.mark.parametrize("base", ["silu", "gelu", "relu", "tanh", "identity", double_slope, nn.PReLU(), None])
@pytest.mark.parametrize("options", [{}, {"readout": "amplitude"}, {"group": "input"}], ids=str)
def test_base_branch(base, options) -> None:
    layer = trained(QKANLayer(4, 3, 2, base_activation=base, postact_weight_trainable=True, **options).double(), 0.5)
    x = inputs(6, 4, dtype=torch.float64)
    torch.testing.assert_close(layer.compile_spectral()(x), reference(layer, x), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "options", [{}, {"ansatz": "px"}, {"group": "input", "postact_weight_trainable": True}], ids=str
)
@pytest.mark.parametrize("shape", [(5,), (1, 5), (0, 5), (2, 0, 5), (3, 1, 2, 5)])
def test_any_leading_dimensions(shape, options) -> None:
    layer = QKANLayer(5, 3, preact_trainable="ansatz" not in options, **options)
    x = inputs(*shape)
    y = layer.compile_spectral(domain=1.0)(x)
    assert y.shape == (*shape[:-1], 3)
    torch.testing.assert_close(y.double(), reference(layer, x), rtol=0, atol=3e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"preact_trainable": True}, {"readout": "amplitude"}], ids=str)
def test_narrow_dtypes(options, dtype) -> None:
    layer = QKANLayer(4, 3, dtype=dtype, **options)
    x = inputs(6, 4, dtype=dtype)
    y = layer.compile_spectral(domain=1.0)(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), reference(layer, x), rtol=0, atol=8 * torch.finfo(dtype).eps)


def test_fourier_features_hold_for_inputs_of_any_size() -> None:
    layer = trained(QKANLayer(3, 2, 5, base_activation=None, dtype=torch.float64))
    x = 1e4 * inputs(50, 3, dtype=torch.float64)
    torch.testing.assert_close(layer.compile_spectral()(x), reference(layer, x), rtol=0, atol=1e-10)


def test_inputs_outside_the_domain_give_nan_and_the_others_their_value() -> None:
    layer = trained(QKANLayer(2, 3, preact_trainable=True))
    frozen = layer.compile_spectral(domain=2.0)
    x = torch.tensor([[2.0, -2.0], [2.07, 0.0], [0.0, -3.0], [0.5, 1.9], [math.inf, 0.0]])  # a margin of 1/32
    y = frozen(x)
    assert y.isnan().all(-1).tolist() == [False, True, True, False, True]
    inside = [0, 3]
    torch.testing.assert_close(y[inside].double(), reference(layer, x[inside]), rtol=0, atol=3e-6)


@pytest.mark.parametrize("domain", [math.inf, 1e5])
def test_a_domain_without_polynomials_keeps_the_circuit(domain) -> None:
    layer = trained(QKANLayer(3, 2, preact_trainable=True, dtype=torch.float64))
    frozen = layer.compile_spectral(domain=domain)
    assert isinstance(frozen.phi, BlochCircuits)
    x = 50 * inputs(9, 3, dtype=torch.float64)
    torch.testing.assert_close(frozen(x), reference(layer, x), rtol=0, atol=1e-12)


def test_the_domain_is_a_32nd_wider_rounded_up_to_eight_bits() -> None:
    frozen = QKANLayer(2, 2, preact_trainable=True).compile_spectral(domain=3.301)
    assert isinstance(frozen.phi, Features)
    assert frozen.phi.domain == 3.416015625  # 3.301 * 33 / 32 = 3.40416


@pytest.mark.parametrize("features", [1, 4])
@pytest.mark.parametrize(
    "options", [{}, {"preact_trainable": True}, {"ansatz": "px"}, {"readout": "amplitude"}], ids=str
)
def test_activation_equals_its_circuit(features, options) -> None:
    activation = trained(DARUAN(features, dtype=torch.float64, **options))
    x = inputs(3, 2, 4, dtype=torch.float64)
    frozen = activation.compile_spectral(domain=1.0)
    torch.testing.assert_close(frozen(x), reference(activation, x), rtol=0, atol=1e-13)
    assert frozen(x[:0]).shape == (0, 2, 4)


class Mixture(nn.Module):
    """Every form in one model, a shared layer and a circuit inside a base activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = QKANLayer(3, 4, preact_trainable=True, base_activation=DARUAN(preact_trainable=True))
        self.shared = QKANLayer(4, 4, group="input", postact_weight_trainable=True)
        self.again = self.shared
        self.act = nn.Sequential(nn.Tanh(), DARUAN(4, ansatz="px"), nn.Dropout(0.5))
        self.head = nn.ModuleDict({"out": QKANLayer(4, 2, readout="amplitude", ansatz="rpz")})

    def forward(self, x: Tensor) -> Tensor:
        return self.head["out"](self.act(self.again(self.shared(self.first(x)))))


def test_a_compiled_model_equals_the_model_and_leaves_it_as_it_is() -> None:
    model = Mixture().double()
    model.act.eval()
    before = copy.deepcopy(model.state_dict())
    x = inputs(8, 3, dtype=torch.float64)
    compiled = qkan.compile(model, x)
    torch.testing.assert_close(compiled(x), reference(model, x), rtol=0, atol=1e-13)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [type(model.first), type(model.act[1])] == [QKANLayer, DARUAN]
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(isinstance(module, QKANLayer | DARUAN) for module in compiled.modules())
    assert isinstance(compiled.first, FrozenLayer)
    assert isinstance(compiled.first.base_activation, FrozenActivation)
    assert compiled.shared is compiled.again
    assert (compiled.first.training, compiled.act.training, compiled.act[1].training) == (True, False, False)
    assert not any(parameter.requires_grad for parameter in compiled.parameters())


def test_compiling_needs_no_examples_at_fixed_preactivations() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), QKAN([3, 4, 2], preact_trainable=False))
    x = inputs(5, 3)
    model(x)
    compiled = qkan.compile(model)
    model.eval()
    torch.testing.assert_close(compiled.eval()(x), model(x), rtol=0, atol=2e-6)


def test_examples_set_the_domain_of_every_layer_with_the_margin() -> None:
    model = QKAN([2, 3, 1], preact_trainable=True, base_activation=None, postact_weight_trainable=True)
    x = torch.tensor([[0.25, -2.0], [1.0, 0.5]])
    compiled = qkan.compile(model, x, margin=2)
    assert compiled.layers[0].phi.domain == 4.125  # 4 * 33 / 32
    hidden = 2 * model.layers[0](x).abs().max().item()
    assert hidden * 33 / 32 <= compiled.layers[1].phi.domain.item() <= hidden * 33 / 32 * 129 / 128
    assert qkan.compile(model, domain=4.0).layers[1].phi.domain == 4.125


def test_calibration_leaves_statistics_and_randomness_alone() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), QKANLayer(3, 2, preact_trainable=True))
    state = torch.get_rng_state()
    qkan.compile(model, 5 + inputs(5, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert model[0].running_mean.tolist() == [0.0, 0.0, 0.0]


RECURRENT: dict[str, Callable[..., nn.Module]] = {
    "QKANLSTM": lambda **options: QKANLSTM(3, 4, 2, bidirectional=True, bias=False, **options),
    "QKANLSTM-projected": lambda **options: QKANLSTM(3, 4, proj_size=2, batch_first=True, **options),
    "HQKANLSTM": lambda **options: HQKANLSTM(3, 4, 2, **options),
}


@pytest.mark.parametrize("preact", [False, True])
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_models_keep_their_contract(name, preact) -> None:
    model = trained(RECURRENT[name](preact_trainable=preact, dtype=torch.float64), 0.5)
    x = inputs(5, 2, 3, dtype=torch.float64)
    compiled = qkan.compile(model, x)
    packed = pack_padded_sequence(x, [5, 3], enforce_sorted=True) if not model.batch_first else x[:1]
    count, width = len(model.directions), model.output_size
    x_wide = x.transpose(0, 1) if model.batch_first else x
    h, c = inputs(count, 2, width, dtype=torch.float64), inputs(count, 2, 4, dtype=torch.float64)
    for arguments in ((x,), (x[:, 0],), (x_wide, (h, c)), (packed,)):
        difference = qkan.largest_difference(model, compiled, arguments)
        assert difference.output < 1e-12
    assert all(value < 1e-12 for value in difference.layers.values())
    assert any(name.endswith(("hidden", "layers.0")) for name in difference.layers)


def test_cell_and_states_beyond_its_domain() -> None:
    cell = QKANLSTMCell(3, 4, preact_trainable=True, dtype=torch.float64)
    x, h = inputs(2, 3, dtype=torch.float64), inputs(2, 4, dtype=torch.float64)
    compiled = qkan.compile(cell, x, margin=1)
    assert qkan.largest_difference(cell, compiled, (x, (h, h))).output < 1e-13
    assert compiled(x, (3 + h, h))[0].isnan().all()
    wider = qkan.compile(cell, (x, (3 + h, h)))
    assert qkan.largest_difference(cell, wider, (x, (3 + h, h))).output < 1e-13


def test_difference_is_that_of_the_worst_layer_and_of_the_output() -> None:
    model = nn.Sequential(QKANLayer(3, 4, base_activation=None), QKANLayer(4, 2, base_activation=None))
    compiled = qkan.compile(model)
    x = inputs(6, 3)
    close = qkan.largest_difference(model, compiled, x)
    assert list(close.layers) == ["0", "1"]
    assert max(close.output, *close.layers.values()) < 2e-6
    compiled[1].bias[1] += 0.25
    apart = qkan.largest_difference(model, compiled, x)
    assert apart.layers["0"] == close.layers["0"]
    assert apart.layers["1"] == pytest.approx(0.25, abs=2e-6)
    assert apart.output == pytest.approx(0.25, abs=2e-6)


def test_difference_outside_the_domain_is_nan() -> None:
    model = QKANLayer(3, 4, preact_trainable=True)
    difference = qkan.largest_difference(model, qkan.compile(model, domain=1.0), torch.tensor([[0.0, 0.5, 1.5]]))
    assert math.isnan(difference.output)
    assert math.isnan(difference.layers[""])


def test_state_dict_carries_the_domain() -> None:
    layer = trained(QKANLayer(3, 2, preact_trainable=True), 0.5)
    frozen, other = layer.compile_spectral(domain=2.0), layer.compile_spectral(domain=2.015625)
    x = inputs(5, 3)
    assert not torch.equal(other(x), frozen(x))
    other.load_state_dict(frozen.state_dict())
    assert torch.equal(other(x), frozen(x))


def test_other_dtypes_after_freezing() -> None:
    layer = QKANLayer(4, 3, preact_trainable=True)
    frozen = layer.compile_spectral(domain=1.3)
    x = inputs(6, 4, dtype=torch.float64)
    y = frozen.double()(x)
    assert y.dtype == torch.float64
    torch.testing.assert_close(y, reference(layer, x), rtol=0, atol=3e-6)


class Doubled(QKANLayer):
    def forward(self, x: Tensor, theta: Tensor | None = None) -> Tensor:
        return 2 * super().forward(x, theta)


def replaced() -> nn.Module:
    layer = QKANLayer(3, 2)
    layer.forward = lambda x: 0 * x  # type: ignore[method-assign]
    return nn.Sequential(layer)


def hooked() -> nn.Module:
    layer = QKANLayer(3, 2)
    layer.register_forward_pre_hook(lambda module, arguments: arguments)
    return nn.Sequential(layer)


def preact() -> QKANLayer:
    return QKANLayer(3, 2, preact_trainable=True)


@pytest.mark.parametrize(
    ("attempt", "error", "sentence"),
    [
        (
            lambda: preact().compile_spectral(),
            ValueError,
            "trained pre-activations can be frozen only for a known range of inputs: give domain, a bound on |x| "
            "(math.inf keeps the circuit itself), or give qkan.compile example_inputs to find one",
        ),
        (
            lambda: preact().compile_spectral(domain=-1),
            ValueError,
            "domain -1 must be a bound on |x| greater than 0, or math.inf",
        ),
        (lambda: preact().compile_spectral(domain="1"), TypeError, "domain must be a number, got str"),
        (
            lambda: qkan.compile(nn.Sequential(nn.Tanh(), preact())),
            ValueError,
            "layer '1': trained pre-activations can be frozen only for a known range of inputs: give domain, a bound "
            "on |x| (math.inf keeps the circuit itself), or give qkan.compile example_inputs to find one",
        ),
        (
            lambda: qkan.compile(preact(), inputs(2, 3), domain=2.0),
            ValueError,
            "give example_inputs or domain=2.0, not both: they say the same thing",
        ),
        (
            lambda: qkan.compile(preact(), inputs(2, 3), margin=0.5),
            ValueError,
            "margin 0.5 must be a number of at least 1, for example 1.5",
        ),
        (
            lambda: qkan.compile(preact(), inputs(2, 3) / 0),
            ValueError,
            "example_inputs reach layer '' with infinite or NaN values; give finite ones",
        ),
        (lambda: qkan.compile(None), TypeError, "compile needs an nn.Module, got NoneType; pass the module itself"),
        (
            lambda: qkan.compile(nn.Sequential(Doubled(3, 2))),
            TypeError,
            "layer '0' cannot be frozen: Doubled overrides forward of QKANLayer, and what it does there would be lost; "
            "use QKANLayer itself inside a module of your own",
        ),
        (
            lambda: qkan.compile(hooked()),
            ValueError,
            "layer '0' has forward hooks, which freezing would lose; remove them first",
        ),
        (
            lambda: qkan.compile(replaced()),
            ValueError,
            "layer '0' has a forward of its own, which freezing would lose; remove it first",
        ),
        (
            lambda: QKANLayer(3, 2).compile_spectral()(inputs(2, 4)),
            ValueError,
            "FrozenLayer needs an input of shape (..., 3), got (2, 4)",
        ),
        (
            lambda: qkan.largest_difference(QKANLayer(3, 2), QKANLayer(3, 2), inputs(2, 3)),
            TypeError,
            "module '' is not frozen: the second model must come from compile",
        ),
    ],
)
def test_refusals(attempt: Callable[[], object], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as refusal:
        attempt()
    assert str(refusal.value) == sentence


def test_a_layer_that_examples_do_not_reach_is_refused() -> None:
    lstm = QKANLSTM(3, 2)
    lstm.aside = preact()
    with pytest.raises(
        ValueError, match=r"^example_inputs never reach layer 'aside'; give inputs that do, or give domain$"
    ):
        qkan.compile(lstm, inputs(4, 2, 3))


@pytest.mark.parametrize("group", [None, "input"])
def test_pre_activations_per_input_need_no_domain(group: str | None) -> None:
    layer = QKANLayer(4, 3, 2, preact_trainable="input", group=group, postact_weight_trainable=True)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += torch.randn(parameter.shape)
    frozen = qkan.compile(layer)
    x = 5 * torch.randn(30, 4)
    torch.testing.assert_close(frozen(x), layer(x), rtol=1e-5, atol=1e-4)
    exported = torch.export.export(frozen, (x,)).module()
    torch.testing.assert_close(exported(x), frozen(x), rtol=0, atol=1e-6)
