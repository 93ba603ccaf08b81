"""Coefficients and features of the Triton kernels against PyTorch's in double precision: values and every gradient.

Without a GPU the kernels are interpreted (tests/conftest.py), with one the same tests run on it.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from qkan import KANLayer, QKANLayer
from qkan.kernels.circuits.ansatz import ANSATZE, Ansatz
from qkan.kernels.circuits.bloch import numba_cpu
from qkan.kernels.common import triton_device
from qkan.kernels.common.constant_cache import constants
from qkan.kernels.common.tensors import PIECE_ELEMENTS
from qkan.kernels.spectral import coefficients, small_layer, triton_gpu
from qkan.kernels.spectral.basis import Basis, chebyshev_nodes, chebyshev_rule, fourier_rule
from qkan.kernels.spectral.matmul import Sum, plain_gradients, weighted_sum

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

from qkan.kernels.spectral import triton_kernels

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
#: A turn of two trained angles and one of two encodings, Pauli gates; circuits whose last angles nobody sees.
CUSTOM = Ansatz("custom", ("rx", "y", "rx", "rz"), "ry", ("rz", "x", "ry", "ry"), initial=(0.0, 0.6, 0.8))
MERGED = Ansatz("merged", ("ry",), "ry", initial=(0.6, 0.0, 0.8))
CIRCUITS = {a.name: a for a in (*ANSATZE.values(), CUSTOM, MERGED) if a.encoding_map == "identity"}


@pytest.fixture(autouse=True)
def _kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels take tensors of a CPU, tiles are small, and what nobody writes is NaN."""
    monkeypatch.setattr(triton_gpu, "INTERPRETED", True)
    monkeypatch.setattr(numba_cpu, "_DTYPES", ())
    monkeypatch.setattr(triton_device, "_failed", {})
    monkeypatch.setattr(small_layer, "SMALL", 0)
    for name, size in (("SMALL_ROWS", 16), ("BLOCK_O", 4), ("BLOCK_P", 4), ("BLOCK_R", 4), ("BLOCK_I", 8)):
        monkeypatch.setattr(triton_gpu, name, size)
    real = Tensor.new_empty
    monkeypatch.setattr(Tensor, "new_empty", lambda *a, **k: _filled(real(*a, **k)))


def _filled(tensor: Tensor) -> Tensor:
    return tensor.fill_(math.nan) if tensor.is_floating_point() else tensor


def uniform(*shape: int, bound: float = 1.0) -> Tensor:
    return (bound * (2 * torch.rand(*shape, dtype=torch.float64) - 1)).float().to(DEVICE)


def rule(kind: str, ansatz: Ansatz, reps: int, like: Tensor) -> coefficients._Rule:
    if kind == "fourier":
        return coefficients._Rule(*constants(fourier_rule, reps, like), ansatz, reps)
    nodes, analysis = constants(chebyshev_nodes, 5, like)[0], constants(chebyshev_rule, 5, like)[0]
    return coefficients._Rule(nodes, analysis, ansatz, reps, "chebyshev", 2.5)


def agree(found: Tensor, expected: Tensor, tolerance: float = 2e-6) -> None:
    found, expected = found.detach(), expected.detach()
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("pz", "fourier"), ("rpz", "chebyshev"), ("real", "fourier"), ("mix", "chebyshev"), ("custom", "fourier"),
     ("custom", "chebyshev"), ("merged", "chebyshev")],
)  # fmt: skip
def test_coefficients_and_their_gradients(name: str, kind: str) -> None:
    torch.manual_seed(0)
    ansatz, reps, outputs, inputs = CIRCUITS[name], 2, 5, 2
    theta = uniform(outputs, inputs, ansatz.rows(reps), ansatz.angles, bound=3.0)
    weight = None if kind == "fourier" else uniform(1, inputs, reps, bound=2.0).expand(outputs, -1, -1)
    bias = None if name == "pz" else uniform(inputs, outputs, reps, bound=3.0).transpose(0, 1)
    edge_weight = uniform(inputs, outputs).t()
    given = [theta, weight, bias, edge_weight]
    plain = [None if t is None else t.double().requires_grad_() for t in given]
    expected = coefficients._coefficients(rule(kind, ansatz, reps, plain[0]), *plain)
    wanted = [None if t is None else t.clone(memory_format=torch.preserve_format).requires_grad_() for t in given]
    found = coefficients._TritonCoefficients.apply(*wanted, rule(kind, ansatz, reps, theta))
    upstream = [uniform(outputs, inputs, len(expected[0])).permute(2, 1, 0), uniform(1, outputs).expand(inputs, -1)]
    for value, truth in zip(found, expected, strict=True):
        agree(value, truth)
    of_found = torch.autograd.grad(found, [t for t in wanted if t is not None], upstream)
    of_truth = torch.autograd.grad(expected, [t for t in plain if t is not None], [u.double() for u in upstream])
    for value, truth in zip(of_found, of_truth, strict=True):
        agree(value, truth)


def test_coefficients_of_large_angles_keep_their_digits() -> None:
    torch.manual_seed(1)
    ansatz = ANSATZE["pz"]
    theta, weight = uniform(3, 2, 3, 2, bound=300.0), uniform(3, 2, 2, bound=30.0)
    found = triton_gpu.coefficients(triton_gpu.Circuits("chebyshev", 5, 2.5, ansatz, 2), (theta, weight, None, None))
    made = rule("chebyshev", ansatz, 2, theta.double())
    expected = coefficients._coefficients(made, theta.double(), weight.double(), None, None)
    for value, truth in zip(found, expected, strict=True):
        agree(value, truth, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "size", "base"),
    [("fourier", 1, None), ("fourier", 5, "gelu"), ("fourier", 0, "silu"), ("chebyshev", 2, "tanh"),
     ("chebyshev", 9, "relu"), ("chebyshev", 32, "identity"), ("chebyshev", 12, "silu")],
)  # fmt: skip
def test_features_and_the_gradient_of_inputs(kind: str, size: int, base: str | None, dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    basis = Basis(kind, size, 2.5, base)
    x = uniform(11, 9, bound=2.5)[:9].t()  # (9, 9) with the strides of a transposed matrix
    wide = x.double()
    values = basis.functions(wide)
    out = torch.empty(9, basis.terms, 9, dtype=dtype, device=DEVICE)
    triton_gpu.features(basis, x, out)
    tolerance = 4e-6 if dtype == torch.float32 else 1e-2  # the interpreter cuts off what devices round
    for term, value in enumerate(values):
        agree(out[:, term], value, tolerance)
    upstream = uniform(9, basis.terms, 9).to(dtype)
    slopes = torch.autograd.grad(
        torch.stack(basis.functions(wide.requires_grad_()), 1), wide, upstream.double()
    )[0]  # fmt: skip
    kept, grad_x = upstream.clone(), torch.empty(9, 9, device=DEVICE)
    triton_gpu.input_gradient(basis, x, kept, grad_x, writes=True)
    agree(grad_x, slopes, 4e-6)
    assert torch.equal(kept, out)
    again = torch.empty_like(grad_x)
    triton_gpu.input_gradient(basis, x, upstream, again, writes=False)
    assert torch.equal(again, grad_x)


@pytest.mark.parametrize(
    ("kind", "size", "order", "base"),
    [("bspline", 2, 1, None), ("bspline", 3, 2, "silu"), ("bspline", 5, 3, "gelu"), ("bspline", 2, 4, None),
     ("bspline", 2, 5, "tanh"), ("rbf", 6, 3, "silu"), ("relu", 4, 2, None)],
)  # fmt: skip
def test_families_of_functions_and_the_gradient_of_inputs(kind: str, size: int, order: int, base: str | None) -> None:
    torch.manual_seed(8)
    basis = Basis(kind, size, 2.5, base, order)
    x = uniform(11, 9, bound=3.5)[:9].t()
    out = torch.empty(9, basis.terms, 9, device=DEVICE)
    triton_gpu.features(basis, x, out)
    agree(out, torch.stack(basis.functions(x.double()), 1), 4e-6)
    upstream = uniform(9, basis.terms, 9)
    slopes = torch.stack(basis.slope_functions(x.double(), basis.functions(x.double())), 1)
    kept, grad_x = upstream.clone(), torch.empty(9, 9, device=DEVICE)
    triton_gpu.input_gradient(basis, x, kept, grad_x, writes=True)
    agree(grad_x, (slopes * upstream.double()).sum(1), 4e-6)
    assert torch.equal(kept, out)
    x = x.clone()
    x[1, 2] = math.nan
    triton_gpu.features(basis, x, out)
    assert bool(out[1, :, 2].isnan().all())
    assert int(out.isnan().sum()) == basis.terms


def test_a_layer_of_splines_and_its_second_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(9)
    started = []
    real = triton_gpu.features
    monkeypatch.setattr(triton_gpu, "features", lambda *given: (started.append(given[0].kind), real(*given)))
    layer = KANLayer(3, 5, terms=6, base_activation="silu").to(DEVICE)
    truth, x = copy.deepcopy(layer).double(), uniform(20, 3)
    monkeypatch.setattr(numba_cpu, "_DTYPES", ())
    for found, expected in zip(values(layer, x), values(truth, x.double()), strict=True):
        agree(found, expected, 2e-5)
    assert started == ["bspline"]


@pytest.mark.parametrize("elements", [2**20, 1])
def test_products_in_one_piece_and_in_several(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    monkeypatch.setitem(PIECE_ELEMENTS, DEVICE, elements)
    basis = Basis("chebyshev", 6, 1.5, "silu")
    x, matrix, constant = uniform(130, 3).requires_grad_(), uniform(6, 3, 4).requires_grad_(), uniform(4)
    y = weighted_sum(x, matrix, constant, basis)
    grad = uniform(130, 4)
    found = torch.autograd.grad(y, [x, matrix], grad)
    wide = (x.detach().double(), matrix.detach().double())
    truth = plain_gradients(Sum(basis), *wide, grad.double())
    agree(y, torch.einsum("sti,tio->so", torch.stack(basis.functions(wide[0]), 1), wide[1]) + constant)
    for value, expected in zip(found, truth, strict=True):
        agree(value, expected, 4e-6)
    repeated = torch.autograd.grad(weighted_sum(x, matrix, constant, basis), [x, matrix], grad)
    assert all(torch.equal(a, b) for a, b in zip(found, repeated, strict=True))


@pytest.mark.parametrize(
    ("basis", "base"),
    [(Basis("fourier", 3), "silu"), (Basis("chebyshev", 6, 1.5), None), (Basis("chebyshev", 7, 1.5), "tanh")],
    ids=str,
)
def test_small_layers_in_one_kernel(basis: Basis, base: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_layer, "SMALL", 2**14)
    torch.manual_seed(6)
    x, matrix, constant = uniform(3, 37).t(), uniform(basis.terms, 3, 5), uniform(3, 5)
    weight = None if base is None else uniform(3, 5).t()
    given = [x, matrix, constant, weight, None if base is None else uniform(5)]
    grad = uniform(5, 37).t()
    results = []
    for dtype in (torch.float32, torch.float64):
        tensors = [None if t is None else t.detach().to(dtype).requires_grad_() for t in given]
        if dtype == torch.float32:
            first, *others, name = *tensors[:3], None if base is None else (base, tensors[3])
            y = small_layer.small_layer(basis, first, *others, name, tensors[4])
        else:
            y = small_layer._plain_small_layer(basis, base, *tensors)
        results.append([y, *torch.autograd.grad(y, [t for t in tensors if t is not None], grad.to(dtype))])
    for found, expected in zip(*results, strict=True):
        agree(found, expected, 4e-6)


def values(layer: Any, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x)
    slope = torch.autograd.grad(y.square().sum(), x, create_graph=True)[0]
    return [y, slope, *torch.autograd.grad(slope.square().sum(), layer.parameters())]


@pytest.mark.parametrize("options", [{}, {"preact_trainable": True, "postact_weight_trainable": True}], ids=str)
def test_a_layer_and_its_second_derivatives(options: dict[str, Any]) -> None:
    torch.manual_seed(4)
    layer = QKANLayer(3, 5, 2, backend="spectral", **options).to(DEVICE)
    truth = copy.deepcopy(layer).double()
    truth.backend = "reference"
    x = uniform(20, 3)
    for found, expected in zip(values(layer, x), values(truth, x.double()), strict=True):
        agree(found, expected, 2e-5)


TRANSFORMS: dict[str, Any] = {
    "vmap": lambda layer, x: torch.vmap(layer)(torch.stack((x, -x))),
    "jacrev": lambda layer, x: torch.func.jacrev(layer)(x),
    "jvp": lambda layer, x: torch.func.jvp(layer, (x,), (torch.ones_like(x),))[1],
    "is_grads_batched": lambda layer, x: torch.autograd.grad(
        layer(x), x, torch.eye(10, dtype=x.dtype, device=x.device).view(10, 2, 5), is_grads_batched=True
    )[0],
}


@pytest.mark.parametrize("taken", TRANSFORMS)
def test_transforms_find_another_way(taken: str) -> None:
    layer, x = QKANLayer(3, 5, 2, backend="spectral").to(DEVICE), uniform(2, 3).requires_grad_()
    truth = copy.deepcopy(layer).double()
    truth.backend = "reference"
    agree(TRANSFORMS[taken](layer, x), TRANSFORMS[taken](truth, x.detach().double().requires_grad_()), 2e-5)


def test_large_inputs_and_what_is_not_finite_stay_where_they_are() -> None:
    basis = Basis("fourier", 3, base="silu")
    x = uniform(6, 3, bound=1e5)
    out = torch.empty(6, basis.terms, 3, device=DEVICE)
    triton_gpu.features(basis, x, out)
    for term, value in enumerate(basis.functions(x.double())[:-1]):
        agree(out[:, term], value, 1e-6)
    x[1, 2] = math.nan
    triton_gpu.features(basis, x, out)
    assert out.isnan().sum() == basis.terms
    assert bool(out[1, :, 2].isnan().all())


def test_pieces_rounded_to_bfloat16_are_added_up_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    monkeypatch.setitem(PIECE_ELEMENTS, DEVICE, 1)
    basis, matrix = Basis("fourier", 1), uniform(2, 1, 1)
    x, grad = uniform(64, 1), uniform(64, 1)
    one, nine = (
        triton_gpu.product_gradients(
            basis, x.repeat(n, 1), matrix, grad.repeat(n, 1), torch.bfloat16, (False, True)
        )[1]
        for n in (1, 9)
    )  # fmt: skip
    assert one is not None
    assert nine is not None
    torch.testing.assert_close(nine, 9 * one, rtol=1e-6, atol=0)


@pytest.mark.skipif(DEVICE == "cuda", reason="needs 9 GB of a GPU; without one they are a sparse file")
def test_offsets_into_views_of_large_tensors_have_64_bits(tmp_path: Path) -> None:
    stride = 2**30 + 1
    large = torch.from_file(str(tmp_path / "sparse"), shared=True, size=2 * stride + 3, dtype=torch.float32)
    views = large.as_strided((3, 2), (stride, 1)), large.as_strided((2, 3), (1, stride))
    basis, offset = Basis("fourier", 1), uniform(4)
    for view in views:
        view.copy_(uniform(*view.shape))
        samples, inputs = view.shape
        given = view, view.clone()
        outs = [torch.empty(samples, 2, inputs) for _ in given]
        slopes = [torch.empty(samples, inputs) for _ in given]
        matrix, constant = uniform(2, inputs, 4), uniform(inputs, 4)
        small = [triton_gpu.small_layer(basis, x, matrix, constant, None, offset) for x in given]
        of_small = [triton_gpu.small_layer_gradients(basis, x, matrix, None, small[0])[0] for x in given]
        for x, out, slope in zip(given, outs, slopes, strict=True):
            triton_gpu.features(basis, x, out)
            triton_gpu.input_gradient(basis, x, out.clone(), slope, writes=False)
        for far, near in (outs, slopes, small, of_small):
            assert torch.equal(far, near)


def test_tensors_without_numbers_at_their_address_find_another_way() -> None:
    layer, x = QKANLayer(3, 5, 2, backend="spectral").to(DEVICE), uniform(20, 3)
    negated = torch.complex(x, -x).conj().imag
    assert negated.is_neg()
    assert torch.equal(negated, x)
    assert not triton_gpu.usable(negated)
    agree(layer(negated), layer(x), 2e-6)
    with FakeTensorMode():
        assert not triton_gpu.usable(torch.empty(20, 3, device=DEVICE))
    assert not triton_device._failed


def test_empty_batches_and_layers_start_nothing() -> None:
    layer = QKANLayer(3, 5, 2, backend="spectral").to(DEVICE)
    x = torch.zeros(0, 3, device=DEVICE, requires_grad=True)
    y = layer(x)
    assert y.shape == (0, 5)
    assert all(float(g.abs().sum()) == 0 for g in torch.autograd.grad(y.sum(), [x, *layer.parameters()]))


@pytest.mark.parametrize(
    "kernel",
    ["coefficients", "coefficients_gradient", "features", "input_gradient", "small_forward", "small_backward"],
)
def test_a_kernel_that_cannot_be_built_is_computed_by_pytorch_with_one_warning(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __getitem__(self, grid: Any) -> Any:
            raise RuntimeError("PassManager::run failed")

    torch.manual_seed(5)
    monkeypatch.setattr(small_layer, "SMALL", 2**14 if kernel.startswith("small") else 0)
    layer, x = QKANLayer(3, 5, 2, backend="spectral").to(DEVICE), uniform(40, 3)
    grad = uniform(40, 5)

    def step() -> list[Tensor]:
        given = x.clone().requires_grad_()
        y = layer(given)
        return [y, *torch.autograd.grad(y, [given, *layer.parameters()], grad)]

    monkeypatch.setattr(triton_device, "_warned", set())
    monkeypatch.setattr(triton_kernels, f"{kernel}_kernel", Broken())
    with pytest.warns(UserWarning, match="PassManager::run failed") as said:
        found, _ = step(), step()
    assert len([w for w in said if "PassManager" in str(w.message)]) == 1
    monkeypatch.setattr(triton_gpu, "INTERPRETED", False)
    for value, truth in zip(found, step(), strict=True):
        agree(value.detach(), truth.detach(), 1e-5)
