"""GroupRational and GRKAN: fits, gains, shapes, loading, and what they refuse."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import nn

import qkan
from qkan import GRKAN, GroupRational
from qkan.kernels.rational.pytorch import value
from qkan.kernels.rational.types import Spec
from qkan.layers.rational_init import ALIASES, FUNCTIONS, Fit, get_fit, stored, variance_gain

FORMS = ("abs_terms", "abs_sum")
#: The largest error on [-3, 3] of order (5, 4).
LIMITS = {
    "identity": 1e-15,
    "relu": 2e-2,
    "leaky_relu": 2e-2,
    "elu": 1e-3,
    "gelu": 5e-3,
    "silu": 5e-3,
    "mish": 1e-3,
    "softplus": 1e-4,
    "tanh": 1e-4,
    "sigmoid": 1e-4,
}


def test_every_function_has_a_limit():
    assert set(LIMITS) == set(FUNCTIONS)
    assert ALIASES == {"swish": "silu"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations_start_as_the_function_they_are_named_after(name, form):
    x = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    module = GroupRational(3, 3, init=name, denominator=form, dtype=torch.float64)
    y = module(x.unsqueeze(-1).expand(-1, 3))
    error = float((y - FUNCTIONS[name](x).unsqueeze(-1)).detach().abs().max())
    assert error <= LIMITS[name]
    assert error <= get_fit(name, (5, 4), form).max_error * 1.001 + 1e-15


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_stored_fits_hold_and_have_no_poles(name, form):
    x = torch.linspace(-100, 100, 20001, dtype=torch.float64).view(-1, 1, 1)
    fits = stored(name, form)
    assert [fit.spec.order for fit in fits] == [(1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 6), (7, 6), (8, 8)]
    for fit in fits:  # each was checked against its error and gain when it was built
        a, b = fit.tensors()
        y = value(fit.spec, x, a, b)
        q = value(Spec(1, (0, fit.spec.order[1]), form), x, torch.ones_like(a[:, :1]), b)
        assert bool(torch.isfinite(y).all())
        assert float(q.min()) > 0
        assert float(q.max()) <= 1


@pytest.mark.parametrize(("name", "least"), [("gelu", 0.1), ("elu", 0.2), ("mish", 0.3)])
def test_coefficients_of_one_denominator_miss_under_the_other(name, least):
    """Why there are two tables: fitted for abs_sum, computed with abs_terms."""
    x = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    a, b = get_fit(name, (5, 4), "abs_sum").tensors()
    y = value(Spec(1, (5, 4), "abs_terms"), x.view(-1, 1, 1), a, b).flatten()
    assert float((y - FUNCTIONS[name](x)).abs().max()) > least


@pytest.mark.parametrize("order", [(1, 8), (3, 3), (5, 7), (8, 1), (8, 8)])
def test_any_order_takes_the_best_fit_that_it_can_hold(order):
    fit = get_fit("gelu", order, "abs_terms")
    assert (len(fit.numerator), len(fit.denominator)) == (order[0] + 1, order[1])
    held = [f for f in stored("gelu", "abs_terms") if f.spec.order[0] <= order[0] and f.spec.order[1] <= order[1]]
    assert fit.max_error == min(f.max_error for f in held)
    assert GroupRational(8, order=order)(torch.zeros(2, 8)).abs().max() < 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_error": 1e-4}, r"has error 0\.00129\d*, not 0\.0001 as stored"),
        ({"gain": 2.0}, r"has gain 2\.35\d*, not 2 as stored"),
        ({"numerator": (0.0, 1.0)}, "has 2 and 4 coefficients, but must have 6 and 4"),
        ({"denominator": (0.0, math.inf, 0.0, 0.0)}, r"denominator\[0, 1\] is inf, which puts a pole on the real line"),
        ({"denominator": (0.0, 1e308, 1e308, 0.0)}, "the sum of .denominator. overflows"),
    ],
)
def test_a_fit_checks_itself(changes, message):
    good = get_fit("gelu", (5, 4), "abs_terms")
    given = {
        name: getattr(good, name) for name in ("function", "spec", "numerator", "denominator", "max_error", "gain")
    }
    with pytest.raises(ValueError, match=message):
        Fit(**(given | changes))


def test_gains_are_those_of_the_functions():
    """E[x^2] / E[F(x)^2]: 1 and 2 by hand; a sample for gelu."""
    for form in FORMS:
        assert get_fit("identity", (5, 4), form).gain == pytest.approx(1, abs=1e-6)
        assert get_fit("relu", (8, 8), form).gain == pytest.approx(2, abs=2e-3)
    x = torch.randn(2_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    module = GroupRational(2, 2, dtype=torch.float64)
    sample = 1 / float(module(x.view(-1, 2)).detach().square().mean())
    assert module.gain() == pytest.approx(sample, rel=5e-3)
    assert variance_gain(Spec(1, (0, 1)), torch.zeros(1, 1), torch.ones(1, 1)) == math.inf


def test_a_block_keeps_the_variance_of_its_input():
    generator = torch.Generator().manual_seed(1)
    block = GRKAN(256, 1024, 256, generator=generator)
    x = torch.randn(512, 256, generator=generator)
    assert float(block.fc1(block.act1(x)).detach().var()) == pytest.approx(1, abs=0.1)
    assert float(block(x).detach().var()) == pytest.approx(1, abs=0.1)


def test_groups_have_their_own_activations():
    module = GroupRational(6, 3, (2, 1), share_numerator=False, dtype=torch.float64)
    with torch.no_grad():
        module.numerator.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]))
        module.denominator.copy_(torch.tensor([[0.0], [1.0], [-2.0]]))
    y = module(torch.tensor([3.0, -3, 3, -3, 3, -3], dtype=torch.float64))
    assert torch.allclose(y, torch.tensor([1.0, 1, 3 / 4, -3 / 4, 9 / 7, 9 / 7], dtype=torch.float64))


def test_images_in_any_memory_format():
    module = GroupRational(16, 4, dim=1)
    image = torch.randn(2, 16, 3, 5, generator=torch.Generator().manual_seed(0))
    right = GroupRational(16, 4)(image.movedim(1, -1)).movedim(-1, 1)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        y = module(image.contiguous(memory_format=memory_format))
        assert torch.allclose(y, right, rtol=1e-6)
        assert y.is_contiguous(memory_format=memory_format)


def test_the_block_takes_the_arguments_of_an_mlp():
    x = torch.randn(2, 5, 16)
    block = GRKAN(16, 32, 8, act_layer=nn.SiLU, norm_layer=nn.LayerNorm, bias=(True, False), drop=(0.1, 0.2))
    assert block(x).shape == (2, 5, 8)
    assert (block.act1.init, block.act2.init) == ("identity", "silu")
    assert (block.drop1.p, block.drop2.p) == (0.1, 0.2)
    assert block.fc2.bias is None
    assert GRKAN(16, act_layer=functools.partial(nn.GELU, approximate="tanh")).act2.init == "gelu"
    assert GRKAN(16, act_layer="tanh")(x).shape == x.shape
    images = GRKAN(16, 32, use_conv=True)
    assert images(torch.randn(2, 16, 4, 4)).shape == (2, 16, 4, 4)
    wide = GRKAN(16, 32, dtype=torch.float64)
    wide.fc1.weight.data, wide.fc2.weight.data = (
        images.fc1.weight.double()[..., 0, 0],
        images.fc2.weight.double()[..., 0, 0],
    )
    image = torch.randn(2, 16, 3, 3)
    assert torch.allclose(images(image).double(), wide(image.double().movedim(1, -1)).movedim(-1, 1), atol=1e-5)


def test_every_parameter_learns():
    block = GRKAN(16, 32, 8, init=("identity", "silu"))
    block(torch.randn(7, 16)).square().mean().backward()
    assert len(list(block.parameters())) == 8
    for name, parameter in block.named_parameters():
        assert bool((parameter.grad != 0).any()), name


def test_equal_seeds_give_equal_blocks():
    one, two = (GRKAN(8, 16, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_states_load_unless_they_are_no_numbers():
    module, other = GroupRational(8), GroupRational(8, init="silu")
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.numerator, module.numerator)
    state = module.state_dict()
    state["denominator"][3, 2] = math.nan
    with pytest.raises(ValueError, match=r"state of GroupRational: denominator\[3, 2\] is nan, which puts a pole"):
        other.load_state_dict(state)


def test_low_precision_modules_run():
    block = GRKAN(16, 32).bfloat16()
    x = torch.randn(3, 16, dtype=torch.bfloat16, requires_grad=True)
    y = block(x)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype, block.act2.numerator.grad.dtype) == (torch.bfloat16,) * 3
    with torch.autocast("cpu", torch.bfloat16):
        assert GRKAN(16, 32)(torch.randn(3, 16)).dtype == torch.bfloat16


def test_a_backend_is_checked_when_it_is_set_and_explained(capsys):
    block = GRKAN(8, backend="torch")
    assert (block.backend, block.act1.backend, block.act2.backend) == ("torch",) * 3
    for module in (block, block.act1):
        with pytest.raises(ValueError, match="unknown backend 'trton'; use one of auto, numba, triton, torch, ref"):
            module.backend = "trton"
    assert block.explain_backend(torch.zeros(2, 8)) == "torch: asked for by name"
    block.backend = "auto"
    assert block.act2.backend == "auto"
    assert block.explain_backend(torch.zeros(2, 8)) == "numba: the first backend that can run"
    assert block.act1.explain_backend(torch.zeros(2, 8, device="meta")).startswith(
        "torch: the first backend that can run"
    )
    assert "numba cannot run: its kernels run on CPUs, but x is on meta" in capsys.readouterr().out


def test_they_are_public():
    assert {"GRKAN", "GroupRational"} <= set(qkan.__all__)
    assert "order=(5, 4), init='gelu', denominator='abs_terms'" in repr(GroupRational(8))
    assert "share_numerator=False, dim=1" in repr(GroupRational(8, share_numerator=False, dim=1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GroupRational(10), r"num_groups 8 does not divide channels 10; use one of \[1, 2, 5, 10\]"),
        (lambda: GroupRational(8, 0), r"num_groups 0 is outside"),
        (lambda: GroupRational(8, order=(9, 2)), r"order \(9, 2\) is outside"),
        (lambda: GroupRational(8, order=(0, 2)), r"order \(0, 2\) has no fit of 'gelu'"),
        (lambda: GroupRational(8, init="sine"), "unknown init 'sine'; use one of identity, relu"),
        (lambda: GroupRational(8, denominator="plain"), "unknown denominator 'plain'"),
        (lambda: GroupRational(8, backend="cuda"), "unknown backend 'cuda'"),
        (lambda: GroupRational(8)(torch.zeros(2, 7)), r"needs 8 channels at dimension -1, got shape \(2, 7\)"),
        (lambda: GroupRational(8, dim=1)(torch.zeros(8)), r"needs 8 channels at dimension 1, got shape \(8,\)"),
        (lambda: GRKAN(8, act_layer=nn.Hardswish), r"there is no rational fit of act_layer .*Hardswish"),
        (lambda: GRKAN(8, 12), "num_groups 8 does not divide channels 12"),
    ],
)
def test_values_outside_their_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: GroupRational(8, dim="channels"),
        lambda: GroupRational(8, init=nn.GELU()),
        lambda: GroupRational(8, dtype=torch.int32),
        lambda: GroupRational(8)(torch.zeros(2, 8, dtype=torch.int64)),
        lambda: GRKAN(8.0),
    ],
)
def test_other_types_are_refused(make):
    with pytest.raises(TypeError):
        make()
