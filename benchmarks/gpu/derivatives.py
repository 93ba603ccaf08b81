"""Second derivatives and transforms of two layers through every backend, and products in TF32."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.compare import agreement, judged, relative_error, values
from benchmarks.gpu.record import Cases
from qkan import QKANLayer

BACKENDS = ("auto", "spectral", "triton", "bloch")


def _curvature(net: Any, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
    parameters = list(net.parameters())
    found = torch.autograd.grad(curvature.square().sum(), parameters, allow_unused=True, materialize_grads=True)
    return [curvature.detach(), *found]


TAKEN: dict[str, Callable[[Any, Tensor], list[Tensor]]] = {
    "u_xx": _curvature,
    "vmap": lambda net, x: [torch.vmap(net)(torch.stack((x, -x)))],
    "jacrev": lambda net, x: [torch.func.jacrev(net)(x)],
    "hessian": lambda net, x: [torch.func.hessian(lambda x: net(x).sum())(x)],
    "jvp": lambda net, x: list(torch.func.jvp(net, (x,), (torch.ones_like(x),))),
}


def _against_the_reference(taken: str, backend: str, device: torch.device, tolerance: float) -> dict[str, Any]:
    torch.manual_seed(3)
    truth = nn.Sequential(*(QKANLayer(*size, 2, backend="reference") for size in ((1, 4), (4, 1)))).double()
    net = copy.deepcopy(truth).float().to(device)
    for layer in net:
        layer.backend = backend  # type: ignore[assignment]
    x = torch.tensor([[0.3], [-0.4], [0.15]], dtype=torch.float64)
    pairs = zip(TAKEN[taken](net, x.float().to(device)), TAKEN[taken](truth, x), strict=True)
    return judged(max(relative_error(found, expected) for found, expected in pairs), tolerance)


def _compiled(device: torch.device) -> dict[str, Any]:
    torch.manual_seed(5)
    layer = QKANLayer(8, 20, 2).to(device)
    x = torch.rand(64, 8, device=device)
    pairs = zip(values(torch.compile(layer), x, None), values(layer, x, None), strict=True)
    return judged(max(relative_error(found, expected.cpu()) for found, expected in pairs), 1e-4)


def _in_tf32(device: torch.device) -> dict[str, Any]:
    """Only the product of features may be rounded by the switch, not what coefficients are made of."""
    torch.set_float32_matmul_precision("high")
    try:
        return agreement(partial(QKANLayer, 64, 64, 3, backend="spectral"), torch.rand(256, 64), device, 5e-3)
    finally:
        torch.set_float32_matmul_precision("highest")


def cases(device: torch.device, small: bool) -> Cases:
    """Every derivative through every backend."""
    for taken in list(TAKEN)[:1] if small else TAKEN:
        for backend in BACKENDS:
            tolerance = 1e-3 if backend in ("spectral", "auto") else 1e-4
            yield f"{taken}, {backend}", partial(_against_the_reference, taken, backend, device, tolerance)
    yield "products in TF32", partial(_in_tf32, device)
    if not small:
        yield "torch.compile", partial(_compiled, device)
