"""QKANLayer: the formula, its options, its initial values and what it refuses."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from qkan import Ansatz, QKANLayer
from qkan.kernels.circuits import statevector as reference
from qkan.layers import init


def by_hand(layer: QKANLayer, x: torch.Tensor) -> torch.Tensor:
    """The layer's formula over the reference circuit, edge by edge."""
    theta, weight, bias = layer.theta, layer.preact_weight, layer.preact_bias
    total = torch.zeros(*x.shape[:-1], layer.out_features, dtype=x.dtype)
    for o in range(layer.out_features):
        for i in range(layer.in_features):
            edge = (o, i) if layer.group is None else (0, i % layer.group)
            phi = reference.phi(
                x[..., i],
                theta[edge],
                None if weight is None else weight[edge],
                None if bias is None else bias[edge],
                ansatz=layer.ansatz,
                reps=layer.reps,
                readout=layer.readout,
            )
            if layer.postact_bias is not None:
                phi = phi + layer.postact_bias[o, i]
            if layer.postact_weight is not None:
                phi = phi * layer.postact_weight[o, i]
            if layer.base_weight is not None:
                phi = phi + layer.base_weight[o, i] * F.silu(x[..., i])
            total[..., o] += phi
    return total


def scramble(layer: nn.Module, seed: int = 0) -> None:
    make = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=make, dtype=torch.float64))


OPTIONS = [
    {},
    {"base_activation": None},
    {"preact_trainable": True, "reps": 1},
    {"postact_weight_trainable": True, "postact_bias_trainable": True},
    {"postact_bias_trainable": True, "base_activation": None},
    {"group": 2},
    {"group": 1, "preact_trainable": True},
    {"group": "input", "postact_weight_trainable": True, "base_activation": None},
    {"group": 3, "postact_weight_trainable": True, "postact_bias_trainable": True, "preact_trainable": True},
    {"ansatz": "rpz"},
    {"ansatz": "real", "readout": "amplitude"},
    {"ansatz": "mix", "preact_trainable": True},
    {"ansatz": Ansatz("own", ("rx",), "rz", ("ry",)), "reps": 4},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("backend", ["bloch", "reference"])
def test_layer_is_its_formula(options: dict, backend: str) -> None:
    layer = QKANLayer(5, 3, **{"reps": 2, **options}, backend=backend, dtype=torch.float64)
    scramble(layer)
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    expected = by_hand(layer, x)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(layer.edge_outputs(x).sum(-1), expected, rtol=0, atol=1e-10)
    got = torch.autograd.grad(layer(x).sin().sum(), tuple(layer.parameters()))
    for gradient, truth in zip(got, torch.autograd.grad(expected.sin().sum(), tuple(layer.parameters())), strict=True):
        torch.testing.assert_close(gradient, truth, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({}, {"theta": (3, 5, 4, 2), "base_weight": (3, 5)}),
        (
            {"base_activation": None, "preact_trainable": True},
            {"theta": (3, 5, 4, 2), "preact_weight": (3, 5, 3), "preact_bias": (3, 5, 3)},
        ),
        ({"group": 2}, {"theta": (1, 2, 4, 2), "base_weight": (3, 5)}),
        ({"ansatz": "real", "base_activation": None}, {"theta": (3, 5, 3, 1)}),
        ({"ansatz": "rpz", "base_activation": None}, {"theta": (3, 5, 4, 1), "preact_bias": (3, 5, 3)}),
    ],
    ids=str,
)
def test_parameters_and_their_shapes(options: dict, shapes: dict) -> None:
    layer = QKANLayer(5, 3, **options)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == shapes


@pytest.mark.parametrize("lead", [(), (1,), (0,), (2, 3), (2, 0, 3), (1, 2, 1, 3)])
def test_any_leading_dimensions(lead: tuple[int, ...]) -> None:
    layer = QKANLayer(4, 6)
    x = torch.randn(*lead, 4, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert y.shape == (*lead, 6)
    assert x.grad.shape == x.shape


def test_theta_of_one_sample_each() -> None:
    layer = QKANLayer(4, 3, reps=2, base_activation=None, dtype=torch.float64)
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    theta = torch.randn(2, 5, 3, 4, 3, 2, dtype=torch.float64)
    got = layer(x, theta)
    for a in range(2):
        for b in range(5):
            alone = layer(x[a, b], theta[a, b])
            torch.testing.assert_close(got[a, b], alone, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"per-sample theta must be \(2, 5, 3, 4, 3, 2\)"):
        layer(x, theta[:, :4])


def test_one_circuit_for_all_outputs_only_in_a_group() -> None:
    x, theta = torch.randn(5, 4), torch.randn(5, 1, 4, 3, 2)
    shared = QKANLayer(4, 3, reps=2, group=2)
    torch.testing.assert_close(shared(x, theta), shared(x, theta.expand(-1, 3, -1, -1, -1)), rtol=0, atol=1e-6)
    torch.testing.assert_close(shared(x, theta[0]), shared(x, theta[:1].expand(5, -1, -1, -1, -1)), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"theta of shape \(5, 1, 4, 3, 2\) does not fit"):
        QKANLayer(4, 3, reps=2)(x, theta)


def test_trained_pre_activations_as_one_matrix_product_when_asked_for() -> None:
    fast, truth = (
        QKANLayer(4, 3, 2, preact_trainable=True, backend=backend, dtype=torch.float64)
        for backend in ("spectral", "reference")
    )
    scramble(fast)
    truth.load_state_dict(fast.state_dict())
    for x in (3 * torch.randn(2, 5, 4, dtype=torch.float64), torch.zeros(2, 4).double(), torch.empty(0, 4).double()):
        torch.testing.assert_close(fast(x), truth(x), rtol=0, atol=1e-11)
        torch.testing.assert_close(fast.edge_outputs(x), truth.edge_outputs(x), rtol=0, atol=1e-11)
    with pytest.raises(ValueError, match=r"so large \(or not finite\) that 512 terms are not enough; use 'bloch'"):
        fast(torch.full((1, 4), 1e6, dtype=torch.float64))


@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), inputs=st.integers(1, 6), reps=st.integers(1, 5))
def test_permuting_edges_commutes(seed: int, inputs: int, reps: int) -> None:
    make = torch.Generator().manual_seed(seed)
    layer = QKANLayer(inputs, 3, reps, preact_trainable=True, generator=make, dtype=torch.float64)
    permuted = QKANLayer(inputs, 3, reps, preact_trainable=True, dtype=torch.float64)
    order = torch.randperm(inputs, generator=make)
    permuted.load_state_dict({name: value[:, order] for name, value in layer.state_dict().items()})
    x = torch.randn(4, inputs, generator=make, dtype=torch.float64)
    torch.testing.assert_close(permuted(x[:, order]), layer(x), rtol=0, atol=1e-12)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), scale=st.floats(0, 100))
def test_edges_of_circuits_are_bounded(seed: int, scale: float) -> None:
    make = torch.Generator().manual_seed(seed)
    layer = QKANLayer(3, 4, base_activation=None, init="normal", generator=make, dtype=torch.float64)
    x = scale * torch.randn(6, 3, generator=make, dtype=torch.float64)
    assert layer.edge_outputs(x).abs().max() <= 1 + 1e-12


def test_near_linear_start() -> None:
    layer = QKANLayer(
        16, 32, reps=1, base_activation=None, init="near_linear", generator=torch.Generator().manual_seed(0)
    )
    slopes = layer.theta[..., -1, 1].detach()
    assert slopes.abs().max() <= 1 / math.sqrt(16)
    assert slopes.std().item() == pytest.approx(0.25 / math.sqrt(3), rel=0.1)
    x = torch.linspace(-1, 1, 21).unsqueeze(-1).expand(-1, 16)
    expected = slopes.sin() * torch.sin(x[:, None])
    assert (layer.edge_outputs(x) - expected).abs().max() < 0.35
    assert (layer.edge_outputs(x) - expected).abs().mean() < 0.06


@pytest.mark.parametrize("ansatz", ["pz", "mix"])
@pytest.mark.parametrize("preact_init", ["ones", "binary", "ternary"])
def test_the_near_linear_start_is_one_sine_for_any_number_of_repetitions(
    ansatz: str, preact_init: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "NEAR_LINEAR_STD", 0.0)
    x = torch.linspace(-3, 3, 21, dtype=torch.float64).unsqueeze(1)
    for reps in (1, 2, 3, 5):
        layer = QKANLayer(
            1, 4, reps, ansatz=ansatz, preact_init=preact_init, base_activation=None, init="near_linear",
            dtype=torch.float64,
        )  # fmt: skip
        slopes = layer.theta[:, 0, 1, layer.ansatz.slope].detach() - (
            math.pi / 2 if (ansatz, reps) == ("mix", 1) else 0
        )
        torch.testing.assert_close(layer(x), torch.sin(x) * slopes.sin(), rtol=0, atol=1e-14)


def test_circuits_below_trained_output_weights_start_at_one_slope() -> None:
    layer = QKANLayer(25, 8, 1, group="input", postact_weight_trainable=True, base_activation=None)
    assert torch.equal(layer.theta[..., -1, 1], torch.ones(1, 25))
    x = torch.linspace(-1, 1, 21).unsqueeze(-1).expand(-1, 25)
    expected = layer.postact_weight * math.sin(1) * torch.sin(x[:, None])
    assert (layer.edge_outputs(x) - expected).detach().abs().max() < 0.2 * 0.3
    assert layer.postact_weight.abs().max() <= 0.2


def test_trained_output_weights_start_like_a_linear_layer() -> None:
    layer = QKANLayer(25, 8, postact_weight_trainable=True, init="normal")
    assert layer.postact_weight.abs().max() <= 0.2
    assert layer.theta.std().item() == pytest.approx(0.3, rel=0.1)


def test_seeding_by_generator_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    first, second = (QKANLayer(3, 4, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(QKANLayer(3, 4).theta, QKANLayer(3, 4).theta)


def test_meta_device_then_materialised() -> None:
    layer = QKANLayer(3, 4, device="meta").to_empty(device="cpu")
    layer.reset_parameters(torch.Generator().manual_seed(7))
    direct = QKANLayer(3, 4, generator=torch.Generator().manual_seed(7))
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), direct.parameters(), strict=True))


def test_frozen_base_branch_is_kept_and_not_trained() -> None:
    layer = QKANLayer(3, 4, base_trainable=False)
    assert not layer.base_weight.requires_grad
    assert "base_weight" in layer.state_dict()
    assert layer.base_weight.abs().max() > 0


@pytest.mark.parametrize("activation", ["silu", "gelu", "relu", "tanh", "identity", nn.Softplus(), torch.sin])
def test_base_activations(activation: object) -> None:
    layer = QKANLayer(3, 2, base_activation=activation, dtype=torch.float64)  # type: ignore[arg-type]
    plain = QKANLayer(3, 2, base_activation=None, dtype=torch.float64)
    plain.load_state_dict({"theta": layer.theta})
    functions = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu, "tanh": torch.tanh, "identity": lambda x: x}
    function = functions[activation] if isinstance(activation, str) else activation
    x = torch.randn(5, 3, dtype=torch.float64)
    expected = plain(x) + function(x) @ layer.base_weight.t()  # type: ignore[operator]
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_a_base_activation_with_parameters_is_held_once() -> None:
    layer = QKANLayer(3, 2, base_activation=nn.PReLU())
    assert set(layer.state_dict()) == {"theta", "base_weight", "base_activation.weight"}
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.base_activation.weight.fill_(2.0)  # type: ignore[union-attr]
    x = -torch.rand(5, 3)
    assert not torch.allclose(layer(x), twin(x))


def test_px_outside_its_domain_is_nan_as_acos_is() -> None:
    layer = QKANLayer(1, 1, reps=1, ansatz="px", base_activation=None)
    y = layer(torch.tensor([[0.5], [1.5]]))
    assert torch.isfinite(y[0]).all()
    assert torch.isnan(y[1]).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"in_features": 0}, ValueError, r"in_features 0 is outside \[1, 1048576\]"),
        ({"out_features": 2**21}, ValueError, "out_features 2097152 is outside"),
        ({"in_features": 2.0}, TypeError, "in_features must be an int, got float"),
        ({"reps": 0}, ValueError, r"reps 0 is outside \[1, 1024\]"),
        ({"ansatz": "zz"}, ValueError, "unknown ansatz 'zz'"),
        ({"group": "output"}, ValueError, "group 'output' must be 'input'"),
        ({"group": 5}, ValueError, r"group 5 is outside \[1, 4\]"),
        ({"group": 2.5}, TypeError, "group must be an int"),
        ({"group": 1, "base_activation": None}, ValueError, "makes all 3 outputs equal; set postact_weight_trainable"),
        ({"readout": "y"}, ValueError, "unknown readout 'y'"),
        ({"init": "zeros"}, ValueError, "unknown init 'zeros'; use one of auto, near_linear, normal"),
        ({"init": "near_linear", "ansatz": "rpz"}, ValueError, "ansatz 'rpz' has no near-linear point"),
        ({"backend": "cuda"}, ValueError, "unknown backend 'cuda'"),
        ({"backend": "spectral", "ansatz": "px"}, ValueError, "'spectral' cannot run this layer: ansatz 'px' encodes"),
        ({"backend": "spectral", "readout": "amplitude"}, ValueError, "readout 'amplitude' is not band-limited"),
        ({"base_activation": "selu"}, ValueError, "unknown base_activation 'selu'"),
        ({"base_activation": 3}, TypeError, "base_activation must be a name, a callable or None, got int"),
        ({"dtype": torch.complex64}, TypeError, "dtype must be a real floating-point type such as torch.float32, got"),
        ({"preacts_trainable": True}, TypeError, "preacts_trainable"),
    ],
    ids=str,
)
def test_bad_options(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        QKANLayer(**{"in_features": 4, "out_features": 3, **options})


def test_bad_inputs() -> None:
    layer = QKANLayer(4, 3)
    with pytest.raises(ValueError, match=r"QKANLayer needs an input of shape \(..., 4\), got \(2, 5\)"):
        layer(torch.randn(2, 5))
    with pytest.raises(ValueError, match=r"got \(\)"):
        layer(torch.tensor(1.0))
    with pytest.raises(TypeError, match=r"floating-point input, got torch\.int64"):
        layer(torch.ones(2, 4, dtype=torch.int64))


def test_what_print_shows() -> None:
    assert repr(QKANLayer(4, 3, group=2, preact_trainable=True, base_activation=torch.sin)) == (
        "QKANLayer(in_features=4, out_features=3, reps=3, ansatz='pz', group=2, preact_trainable=True, "
        "base_activation='sin', readout='z', backend='auto')"
    )


def test_pre_activations_shared_by_all_outputs() -> None:
    layer = QKANLayer(5, 4, 2, preact_trainable="input")
    assert layer.preact_weight is not None
    assert layer.preact_weight.shape == (1, 5, 2)
    assert "preact_trainable='input'" in repr(layer)
    assert layer(torch.randn(3, 5)).shape == (3, 4)
    with pytest.raises(ValueError, match=r"preact_trainable 'edge' must be True, False or 'input'"):
        QKANLayer(5, 4, preact_trainable="edge")  # type: ignore[arg-type]


def test_sizes_beyond_memory_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"QKANLayer\(1048576, 1048576, reps=3\) needs 36,864.0 GiB .* but cpu has"):
        QKANLayer(2**20, 2**20)


def test_an_input_on_another_device_is_refused() -> None:
    with pytest.raises(ValueError, match=r"QKANLayer is on cpu, but its input is on meta; move one of them"):
        QKANLayer(3, 2)(torch.empty(4, 3, device="meta"))


@pytest.mark.parametrize("backend", ["spectral", "bloch"])
@pytest.mark.parametrize("trained", [False, True])
def test_an_angle_of_a_million_is_still_accurate(backend: str, trained: bool) -> None:
    make = torch.Generator().manual_seed(0)
    layer = QKANLayer(4, 3, preact_trainable=trained, base_activation=None, backend=backend, generator=make)
    with torch.no_grad():
        layer.theta += 1e6
        if layer.preact_weight is not None:
            layer.preact_weight += torch.randn(layer.preact_weight.shape, generator=make)
    truth = QKANLayer(4, 3, preact_trainable=trained, base_activation=None, backend="reference").double()
    truth.load_state_dict(layer.state_dict())
    x = torch.randn(20, 4, generator=make) * (1 if backend == "spectral" and trained else 1e6)
    torch.testing.assert_close(layer(x).double(), truth(x.double()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ["spectral", "bloch", "auto"])
@pytest.mark.parametrize("trained", [False, True])
def test_what_is_not_finite_stays_in_its_row(backend: str, trained: bool) -> None:
    layer = QKANLayer(4, 3, preact_trainable=trained, backend=backend)
    x = torch.randn(20, 4)
    x[3, 1], x[7, 0], x[8, 2] = float("nan"), float("inf"), float("-inf")
    finite = torch.isfinite(layer(x))
    assert not finite[[3, 7, 8]].any()
    assert finite[[i for i in range(20) if i not in (3, 7, 8)]].all()


@pytest.mark.parametrize("backend", ["spectral", "bloch"])
def test_second_derivatives_and_vmap_through_a_layer(backend: str) -> None:
    layer = QKANLayer(3, 1, 2, preact_trainable="input", backend=backend).double()
    exact = QKANLayer(3, 1, 2, preact_trainable="input", backend="reference").double()
    exact.load_state_dict(layer.state_dict())
    x = torch.randn(3, dtype=torch.float64)
    got, expected = (torch.func.jacrev(torch.func.jacrev(lambda t, m=m: m(t).squeeze()))(x) for m in (layer, exact))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
    rows = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(torch.vmap(layer)(rows), layer(rows), rtol=0, atol=1e-12)
