"""Closed forms of edges and networks are the network."""

import math
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from plain import PLAIN
from torch import Tensor, nn

from qkan import QKAN, Ansatz, QKANLayer

BENT = Ansatz("bent", ("rx", "z", "ry"), "ry", ("x", "rz", "rx"), initial=(0.48, -0.6, 0.64))
BENT_ACOS = Ansatz("bent-acos", ("rx", "ry"), "rz", ("rz", "rx"), encoding_map="acos", trains_preact_bias=True)
ANSATZE = ("pz", "rpz", "real", "mix", "px", BENT, BENT_ACOS)
SHARING = [(False, None), (True, None), ("input", None), (True, 2), (False, "input")]
F64 = torch.float64


def random_network(width: list[int], scale: float = 2.0, seed: int = 0, **options: Any) -> QKAN:
    """A network whose parameters are all uniform in [-scale, scale]."""
    network = QKAN(width, dtype=F64, **(PLAIN | options))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(scale * (2 * torch.rand(parameter.shape, generator=generator, dtype=F64) - 1))
    return network


def samples(inputs: int, count: int = 13) -> Tensor:
    return 1.9 * torch.rand(count, inputs, generator=torch.Generator().manual_seed(5), dtype=F64) - 0.95


def evaluated(expressions: list[sympy.Expr], x: Tensor) -> Tensor:
    """Expressions in x1, x2, ... at x (N, inputs): (N, expressions)."""
    symbols = sympy.symbols(f"x1:{x.shape[1] + 1}")
    values = sympy.lambdify(symbols, expressions, cse=True)(*x.T.numpy())
    return torch.tensor(np.stack([np.broadcast_to(v, len(x)) for v in values], -1))


@pytest.mark.parametrize("readout", ["z", "amplitude"])
@pytest.mark.parametrize(("preact", "group"), SHARING)
@pytest.mark.parametrize("ansatz", ANSATZE, ids=lambda a: a if isinstance(a, str) else a.name)
def test_the_closed_form_is_the_layer(ansatz: str | Ansatz, preact: Any, group: Any, readout: str) -> None:
    inside = ansatz in ("px", BENT_ACOS)  # acos(w x + b) needs |w x + b| <= 1
    network = random_network(
        [3, 2],
        0.45 if inside else 2.0,
        ansatz=ansatz,
        reps=2,
        preact_trainable=preact,
        group=group,
        readout=readout,
        postact_weight_trainable=True,
        postact_bias_trainable=True,
    )
    x = samples(3) * (0.5 if inside else 2)
    y = network(x).detach()
    assert y.isfinite().all()
    assert torch.allclose(evaluated(network.to_sympy(), x), y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("base", ["silu", "gelu", "relu", "tanh", "identity", None])
def test_layers_are_composed_with_every_base_branch(base: str | None) -> None:
    network = random_network([2, 3, 2], 1.3, reps=2, base_activation=base)
    x = 3 * samples(2)
    assert torch.allclose(evaluated(network.to_sympy(), x), network(x).detach(), rtol=0, atol=1e-12)


def test_definitions_layer_by_layer_make_the_same_network() -> None:
    network = random_network([2, 3, 2], 1.1, reps=2)
    hidden, outputs = network.to_sympy(nested=False)
    assert [str(symbol) for symbol, _ in hidden] == ["h1_1", "h1_2", "h1_3"]
    assert [str(symbol) for symbol, _ in outputs] == ["y1", "y2"]
    assert outputs[1][1].free_symbols == {symbol for symbol, _ in hidden}
    x = samples(2)
    put_in = [expression.subs(hidden, simultaneous=True) for _, expression in outputs]
    assert torch.allclose(evaluated(put_in, x), network(x).detach(), rtol=0, atol=1e-12)


def test_one_repetition_by_hand() -> None:
    # From (1, 0, 0), RZ(p) and RY(t) lead to (cos t cos p, sin p, -sin t cos p). The encoding and RZ(q) are RZ(x + q):
    # X = cos(x + q) cos t cos p - sin(x + q) sin p. RY(s) gives cos s Z - sin s X.
    layer = random_network([1, 1], base_activation=None, reps=1).layers[0]
    (p, t), (q, s) = layer.theta.detach()[0, 0].tolist()
    x = sympy.Symbol("x")
    by_hand = (
        -math.cos(s) * math.sin(t) * math.cos(p)
        - math.sin(s) * math.cos(t) * math.cos(p) * sympy.cos(x + q)
        + math.sin(s) * math.sin(p) * sympy.sin(x + q)
    )
    difference = sympy.lambdify(x, layer.to_sympy(0, 0) - by_hand)(np.linspace(-4, 4, 23))
    assert np.abs(difference).max() < 1e-14


def test_near_linear_start_reads_as_a_sine() -> None:
    layer = QKANLayer(1, 1, 1, base_activation=None, dtype=F64)
    with torch.no_grad():
        layer.theta.copy_(torch.tensor([[0.0, 0.0], [math.pi / 2, 0.7]]))
    z = sympy.Symbol("z")
    assert str(layer.to_sympy(0, 0, z, tolerance=1e-7, digits=4)) == "0.6442*sin(z)"


def test_px_is_a_polynomial_and_a_root_times_a_polynomial() -> None:
    # theta = 0 but for the first RZ by p: |+> turns to (cos p, sin p, 0) and RX(t) gives Z = sin t sin p.
    layer = QKANLayer(1, 1, 2, ansatz="px", base_activation=None, dtype=F64)
    with torch.no_grad():
        layer.theta.zero_()
        layer.theta[0, 0, 0, 0] = 0.5
    x = sympy.Symbol("x")
    # Two turns by acos x: sin(2 acos x) = 2 x sqrt(1 - x^2).
    expected = 2 * math.sin(0.5) * x * sympy.sqrt(1 - x**2)
    assert sympy.simplify(layer.to_sympy(0, 0) - expected).subs(x, 0.3) == pytest.approx(0, abs=1e-15)
    assert sympy.degree(layer.to_sympy(0, 0) ** 2, x) == 4


@pytest.mark.parametrize("ansatz", ["px", Ansatz("pz-acos", ("rz", "ry"), final=("rz", "ry"), encoding_map="acos")])
def test_many_repetitions_of_acos_keep_their_digits(ansatz: str | Ansatz) -> None:
    network = random_network([1, 1], ansatz=ansatz, reps=12)
    x = samples(1, 41)
    assert torch.allclose(evaluated(network.to_sympy(), x), network(x).detach(), rtol=0, atol=1e-12)


def test_frequencies_that_cancel_become_a_constant() -> None:
    # 0.3 - 0.2 - 0.1 is -2.8e-17 in floating point.
    network = random_network([1, 1], reps=3, preact_trainable=True)
    with torch.no_grad():
        network.layers[0].preact_weight.copy_(torch.tensor([0.3, 0.2, 0.1], dtype=F64))
    x = samples(1)
    assert torch.allclose(evaluated(network.to_sympy(), x), network(x).detach(), rtol=0, atol=1e-12)


def test_tolerance_drops_terms_and_digits_round() -> None:
    network = random_network([1, 1], reps=4, preact_trainable=True, base_activation=None)
    full = network.to_sympy()[0]
    short = network.to_sympy(tolerance=0.1, digits=3)[0]
    large = [term for term in full.args if abs(term.as_coeff_Mul()[0]) > 0.1]
    assert len(full.args) == 81  # a constant, and 40 frequencies with a cosine and a sine each
    assert 0 < len(short.args) == len(large) < 81
    largest = max(abs(term.as_coeff_Mul()[0]) for term in full.args)
    assert str(max(abs(term.as_coeff_Mul()[0]) for term in short.args)) == f"{largest:.3f}"


def test_variables_may_be_names_symbols_or_expressions() -> None:
    network = random_network([2, 1], base_activation="identity", reps=1)
    t = sympy.Symbol("t")
    assert network.to_sympy(["t", 2 * t])[0] == network.to_sympy()[0].subs({"x1": t, "x2": 2 * t})


def test_a_pruned_edge_is_zero() -> None:
    network = random_network([2, 2], postact_bias_trainable=True)
    layer = network.layers[0]
    whole = network.to_sympy()
    layer.edge_mask = torch.tensor([[True, False], [True, True]])
    assert layer.to_sympy(0, 1) == 0
    first, second = network.to_sympy()
    assert first == layer.to_sympy(0, 0, "x1")
    assert second == whole[1]


def test_a_callable_base_activation_has_no_closed_form() -> None:
    network = QKAN([1, 1], base_activation=nn.Mish())
    with pytest.raises(
        ValueError, match="base_activation Mish is a callable, which has no SymPy form; use one of silu"
    ):
        network.to_sympy()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tolerance": -1e-3}, ValueError, "tolerance -0.001 must be a finite number of 0 or more"),
        ({"tolerance": math.nan}, ValueError, "tolerance nan must be a finite number"),
        ({"digits": 0}, ValueError, r"digits 0 is outside \[1, 15\]"),
        ({"digits": 2.0}, TypeError, "digits must be an int, got float"),
        ({"tolerance": "0.1"}, TypeError, "tolerance must be a number, got str; 0 drops nothing"),
        ({"variables": ["a"]}, ValueError, "got 1 variables, but the network has 2 inputs"),
        ({"variables": "ab"}, TypeError, "variables must be a sequence of 2 symbols or names, got the text 'ab'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        QKAN([2, 1], reps=1).to_sympy(**options)


@pytest.mark.parametrize(
    ("edge", "error", "message"),
    [
        ((1, 0), ValueError, r"output 1 is outside \[0, 0\]: the layer has no such edge"),
        ((0, -1), ValueError, r"input -1 is outside \[0, 1\]"),
        ((0, 1.0), TypeError, "input must be an int, got float"),
    ],
)
def test_edges_that_do_not_exist_are_refused(edge: tuple[Any, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        QKANLayer(2, 1).to_sympy(*edge)


def test_what_nobody_could_read_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"the closed form of the network has [\d,]+ terms, more than 20,000; raise tol"
    ):
        QKAN([3, 4, 4, 4, 1], **PLAIN).to_sympy()
    with pytest.raises(ValueError, match="the network has 5,041 edges, more than 5,000"):
        QKAN([71, 71], **PLAIN).to_sympy()
    edge = QKANLayer(1, 1, 10, ansatz="px", preact_trainable=True)
    with pytest.raises(ValueError, match="10 repetitions of ansatz 'px' with trained pre-activations are 59,049 terms"):
        edge.to_sympy(0, 0)
