"""Models of pykan and of efficient-kan against naive formulas of their published forwards, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from qkan import KAN, KANLayer, SplineLayer
from qkan.interop import load_efficient_kan, load_pykan

F64 = torch.float64
State = dict[str, Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(inputs: int, intervals: int, order: int, low: float = -1.0, high: float = 1.0) -> Tensor:
    step = (high - low) / intervals
    return (torch.arange(-order, intervals + order + 1, dtype=F64) * step + low).expand(inputs, -1).clone()


def adapted(inputs: int, intervals: int, order: int, seed: int = 0) -> Tensor:
    """Grids that follow data, other ones for every input, extended by equal steps as pykan does."""
    inner = torch.randn(inputs, intervals + 1, generator=seeded(seed), dtype=F64).sort(1)[0]
    step = (inner[:, -1:] - inner[:, :1]) / intervals
    beyond = torch.arange(1, order + 1, dtype=F64) * step
    return torch.cat((inner[:, :1] - beyond.flip(1), inner, inner[:, -1:] + beyond), 1)


def naive_splines(x: Tensor, grid: Tensor, order: int) -> Tensor:
    """(samples, in, terms) by the published recursion, one function and one input after the other."""
    out = torch.zeros(len(x), len(grid), grid.shape[1] - order - 1, dtype=x.dtype)

    def value(at: Tensor, t: Tensor, k: int, degree: int) -> Tensor:
        if degree == 0:
            return ((t[k] <= at) & (at < t[k + 1])).to(at.dtype)
        left = (at - t[k]) / (t[k + degree] - t[k]) * value(at, t, k, degree - 1)
        right = (t[k + degree + 1] - at) / (t[k + degree + 1] - t[k + 1]) * value(at, t, k + 1, degree - 1)
        return left + right

    for i in range(len(grid)):
        for k in range(out.shape[2]):
            out[:, i, k] = value(x[:, i], grid[i], k, order)
    return out


def naive_efficient(state: State, x: Tensor, layers: int, order: int) -> Tensor:
    for index in range(layers):
        own = {name.removeprefix(f"layers.{index}."): t for name, t in state.items() if f"layers.{index}." in name}
        weight = own["spline_weight"]
        if "spline_scaler" in own:
            weight = weight * own["spline_scaler"].unsqueeze(-1)
        splines = naive_splines(x, own["grid"], order)
        x = F.silu(x) @ own["base_weight"].mT + torch.einsum("sik,oik->so", splines, weight)
    return x


def naive_pykan(state: State, x: Tensor, layers: int, order: int) -> Tensor:
    for index in range(layers):
        grid, coef, mask, base, sp = (
            state[f"act_fun.{index}.{name}"] for name in ("grid", "coef", "mask", "scale_base", "scale_sp")
        )
        curves = torch.einsum("sik,iok->sio", naive_splines(x, grid, order), coef)
        x = (mask * (base * F.silu(x).unsqueeze(2) + sp * curves)).sum(1)
        x = state[f"subnode_scale_{index}"] * x + state[f"subnode_bias_{index}"]
        x = state[f"node_scale_{index}"] * x + state[f"node_bias_{index}"]
    return x


def efficient(*grids: Tensor, order: int, outputs: tuple[int, ...] = (4, 2), scaler: bool = True) -> State:
    source, state = seeded(5), {}
    for index, (grid, out) in enumerate(zip(grids, outputs, strict=False)):
        inputs, terms = len(grid), grid.shape[1] - order - 1
        state[f"layers.{index}.base_weight"] = torch.randn(out, inputs, generator=source, dtype=F64)
        state[f"layers.{index}.spline_weight"] = torch.randn(out, inputs, terms, generator=source, dtype=F64)
        if scaler:
            state[f"layers.{index}.spline_scaler"] = torch.randn(out, inputs, generator=source, dtype=F64)
        state[f"layers.{index}.grid"] = grid
    return state


def pykan(*grids: Tensor, order: int, outputs: tuple[int, ...] = (4, 2)) -> State:
    source, state = seeded(6), {}
    for index, (grid, out) in enumerate(zip(grids, outputs, strict=False)):
        inputs, terms = len(grid), grid.shape[1] - order - 1
        own = {"grid": grid, "coef": torch.randn(inputs, out, terms, generator=source, dtype=F64)}
        own |= {name: torch.randn(inputs, out, generator=source, dtype=F64) for name in ("scale_base", "scale_sp")}
        own["mask"] = torch.ones(inputs, out, dtype=F64)
        own["mask"][0, 1] = own["mask"][-1, 0] = 0
        state |= {f"act_fun.{index}.{name}": tensor for name, tensor in own.items()}
        state[f"symbolic_fun.{index}.mask"] = torch.zeros(out, inputs, dtype=F64)
        state[f"symbolic_fun.{index}.affine"] = torch.zeros(out, inputs, 4, dtype=F64)
        for name in ("node_scale", "node_bias", "subnode_scale", "subnode_bias"):
            state[f"{name}_{index}"] = torch.randn(out, generator=source, dtype=F64)
    return state


GRIDS = {
    "as built": ((uniform(3, 5, 3), uniform(4, 5, 3)), 3, (KANLayer, KANLayer)),
    "wider, order 2": ((uniform(3, 6, 2, -2.5, 2.5), uniform(4, 6, 2, -2.5, 2.5)), 2, (KANLayer, KANLayer)),
    "from 0 to 1": ((uniform(3, 5, 3, 0.0, 1.0), uniform(4, 5, 3, 0.0, 1.0)), 3, (SplineLayer, SplineLayer)),
    "adapted": ((adapted(3, 5, 3), adapted(4, 5, 3, 1)), 3, (SplineLayer, SplineLayer)),
    "adapted in one, order 1": ((uniform(3, 4, 1), adapted(4, 4, 1)), 1, (KANLayer, SplineLayer)),
    "one interval, order 5": ((adapted(3, 1, 5), adapted(4, 1, 5, 1)), 5, (SplineLayer, SplineLayer)),
}


def inputs_beyond_the_grid() -> Tensor:
    return 2.5 * torch.randn(60, 3, generator=seeded(9), dtype=F64)


@pytest.mark.parametrize("scaler", [True, False])
@pytest.mark.parametrize("name", GRIDS)
def test_efficient_kan_outputs_and_gradients(name: str, scaler: bool) -> None:
    grids, order, kinds = GRIDS[name]
    state = efficient(*grids, order=order, scaler=scaler)
    model, x = load_efficient_kan(state), inputs_beyond_the_grid().requires_grad_()
    assert tuple(type(layer) for layer in model.layers) == kinds
    y, naive = model(x), naive_efficient(state, x, 2, order)
    torch.testing.assert_close(y, naive, rtol=1e-11, atol=1e-11)
    found, truth = (torch.autograd.grad(out.square().sum(), x)[0] for out in (y, naive))
    torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", GRIDS)
def test_pykan_outputs_masks_and_gradients(name: str, tmp_path: Path) -> None:
    grids, order, kinds = GRIDS[name]
    state = pykan(*grids, order=order)
    model, x = load_pykan(state), inputs_beyond_the_grid().requires_grad_()
    assert tuple(type(layer) for layer in model.layers) == kinds
    assert [(~layer.edge_mask).nonzero().tolist() for layer in model.layers] == [[[0, 2], [1, 0]], [[0, 3], [1, 0]]]
    y, naive = model(x), naive_pykan(state, x, 2, order)
    torch.testing.assert_close(y, naive, rtol=1e-11, atol=1e-11)
    found, truth = (torch.autograd.grad(out.square().sum(), x)[0] for out in (y, naive))
    torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-9)
    model.save(tmp_path / "model.safetensors")
    assert torch.equal(KAN.load(tmp_path / "model.safetensors")(x), y)
    model.restore()
    whole = {name: torch.ones_like(t) if name.endswith("mask") and "act" in name else t for name, t in state.items()}
    torch.testing.assert_close(model(x), naive_pykan(whole, x, 2, order), rtol=1e-11, atol=1e-11)


def test_masks_between_0_and_1_are_factors() -> None:
    state, x = pykan(*GRIDS["as built"][0], order=3), inputs_beyond_the_grid()
    state["act_fun.0.mask"] = torch.rand(3, 4, generator=seeded(), dtype=F64)
    torch.testing.assert_close(load_pykan(state)(x), naive_pykan(state, x, 2, 3), rtol=1e-11, atol=1e-11)


def test_single_precision_files_and_single_layers(tmp_path: Path) -> None:
    """A grid that was rounded to single precision is still uniform, and stays in single precision."""
    state = {name: tensor.float() for name, tensor in efficient(*GRIDS["as built"][0], order=3).items()}
    x = inputs_beyond_the_grid().float()
    torch.save({"model": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "model.pt")
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    truth = naive_efficient({name: tensor.double() for name, tensor in state.items()}, x.double(), 2, 3)
    for source in (state, tmp_path / "model.pt", tmp_path / "model.safetensors"):
        model = load_efficient_kan(source)
        assert [layer.radius for layer in model.layers] == [1.0, 1.0]
        assert model(x).dtype == torch.float32
        torch.testing.assert_close(model(x).double(), truth, rtol=1e-4, atol=1e-4)
    own = {name.removeprefix("layers.0."): tensor for name, tensor in state.items() if name.startswith("layers.0.")}
    layer = load_efficient_kan(own)
    assert isinstance(layer, KANLayer)
    torch.testing.assert_close(layer(x), model.layers[0](x))


def test_the_toolbox_works_on_what_is_loaded() -> None:
    model, x = load_pykan(pykan(*GRIDS["adapted"][0], order=3)), inputs_beyond_the_grid()
    before = model(x).detach()
    terms = 2 * (8 + 3) - 3
    torch.testing.assert_close(model.refine(terms)(x).detach(), before, rtol=1e-10, atol=1e-10)
    y = model(x).detach() + 0.1
    assert model.fit(x, y, steps=3, entropy=0.0).best_loss < 0.01


def without(state: State, *names: str) -> State:
    return {name: tensor for name, tensor in state.items() if name not in names}


PYKAN = pykan(*GRIDS["as built"][0], order=3)
EFFICIENT = efficient(*GRIDS["as built"][0], order=3)


@pytest.mark.parametrize(
    ("load", "state", "message"),
    [
        (load_pykan, without(PYKAN, "act_fun.1.coef"), "act_fun.1.coef is missing; pass what its state_dict() returns"),
        (load_pykan, PYKAN | {"head.weight": torch.ones(2)}, "head.weight is unknown"),
        (load_pykan, EFFICIENT, "are not those of a KAN of pykan: act_fun.0.grid is missing"),
        (load_efficient_kan, PYKAN, "are not those of a KAN or KANLinear of efficient-kan: layers.0.base_weight is"),
        (
            load_pykan,
            PYKAN | {"symbolic_fun.1.mask": torch.eye(2, 4, dtype=F64)},
            "edges (1, 0, 0), (1, 1, 1) (layer, input, output) of the model are symbolic functions, whose names a "
            "state dict does not hold; call its unfix_symbolic_all()",
        ),
        (
            load_pykan,
            PYKAN | {"node_scale_0": torch.ones(3, dtype=F64)},
            "node_scale_0 is (3,) instead of (4,): the model has multiplication nodes, which no KANLayer has",
        ),
        (load_pykan, {"act_fun.0.coef": torch.ones(6, 8)}, "are those of pykan before version 0.2"),
        (
            load_pykan,
            PYKAN | {"act_fun.0.grid": torch.zeros(3, 12, dtype=F64)},
            "act_fun.0.grid: the knots of input 0 must be finite and grow from one to the next, got [0, 0, 0,",
        ),
        (
            load_efficient_kan,
            EFFICIENT | {"layers.1.grid": uniform(4, 5, 3)[:, :9]},
            "layers.1.grid has 9 knots an input for 8 splines: order 0; orders are 1 to 9",
        ),
        (
            load_efficient_kan,
            EFFICIENT | {"layers.1.grid": uniform(2, 5, 3)},
            "layers.1.grid is (2, 12) instead of (4, intervals + 2 order + 1); take all tensors from one model",
        ),
        (
            load_efficient_kan,
            efficient(uniform(3, 5, 3), uniform(5, 5, 3), order=3),
            "layers.1. has 5 inputs, but the layer before it 4 outputs; take all tensors from one model",
        ),
        (
            load_efficient_kan,
            EFFICIENT | {"layers.0.base_weight": torch.full((4, 3), torch.nan)},
            "layers.0.base_weight holds NaN or infinite values; save the model again where it was trained",
        ),
        (load_efficient_kan, {}, "layers.0.base_weight is missing"),
    ],
)
def test_what_is_refused(load: Any, state: State, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        load(state)


def test_other_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown base_activation 'sine'"):
        load_pykan(PYKAN, base_activation="sine")
    with pytest.raises(TypeError, match="state_dict is a module, Linear; pass its state_dict"):
        load_pykan(torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="is no file"):
        load_pykan(tmp_path / "none_state")
    zero = load_pykan(PYKAN, base_activation=None)
    assert zero.layers[0].base_weight is None
