"""Modules of other packages, measured in a process of their own environment, which does not have this package.

:mod:`benchmarks.harness.peer_process` starts it as a script. It reads one request a line from standard input and
answers each with one line on standard output, both JSON: ``{"seconds": [...], "inference": [...], "extra_bytes": n,
"parameters": n, "torch": "2.6.0"}``, or ``{"reason": "why it cannot run"}``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

Request = Mapping[str, Any]
GRID, ORDER = 3, 3  # of the splines: as many trained numbers an edge as a circuit with three repetitions, less one


def original(request: Request) -> nn.Module:
    """The original authors' layer, with the defaults of its authors apart from solver, ansatz and dtype."""
    return _original_layer(request, request["in_features"], request["out_features"])


def _original_layer(request: Request, inputs: int, outputs: int) -> nn.Module:
    dtype = getattr(torch, request["dtype"])
    complex_dtypes = {torch.float32: torch.complex64, torch.float64: torch.complex128}
    return import_module("qkan").QKANLayer(  # theirs: this package has the same name, and is not there
        inputs,
        outputs,
        reps=request["reps"],
        solver=request["solver"],
        ansatz=request["ansatz"],
        preact_trainable=request["preact"] == "trained",
        device=request["device"],
        p_dtype=dtype,
        c_dtype=complex_dtypes.get(dtype, dtype),
    )


class LSTMOfLayer(nn.Module):
    """An LSTM whose four gates are one layer over [x_t, h_(t-1)], step by step (arXiv 2512.05049).

    Args:
        layer: from (batch, inputs + hidden) to (batch, 4 hidden), the gates i, f, g, o side by side.
        hidden: size of the state.
    """

    def __init__(self, layer: nn.Module, hidden: int) -> None:
        super().__init__()
        self.layer, self.hidden = layer, hidden

    def forward(self, x: Tensor) -> Tensor:
        """From (T, batch, inputs) to h behind every step, (T, batch, hidden)."""
        h = c = x.new_zeros(x.shape[1], self.hidden)
        outputs = []
        for x_t in x:
            i, f, g, o = self.layer(torch.cat((x_t, h), -1)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)


def original_lstm(request: Request) -> nn.Module:
    """An LSTM around the original authors' layer."""
    inputs, hidden = request["in_features"], request["out_features"]
    return LSTMOfLayer(_original_layer(request, inputs + hidden, 4 * hidden), hidden)


class _First(nn.Module):
    """The first of the outputs of a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, inputs) to (batch, outputs)."""
        return self.module(x)[0]


def _in_a_row(request: Request, make: Callable[[int, int], nn.Module]) -> nn.Module:
    """A layer, or layers in a row between the widths of a network."""
    widths = request.get("widths") or [request["in_features"], request["out_features"]]
    layers = [make(before, behind) for before, behind in pairwise(widths)]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def pykan(request: Request) -> nn.Module:
    """pykan's KANLayer by itself: without the symbolic branch and the bookkeeping of its MultKAN."""
    from kan.KANLayer import KANLayer

    options = {"num": request.get("grid", GRID), "k": ORDER, "device": request["device"]}
    return _in_a_row(request, lambda inputs, outputs: _First(KANLayer(inputs, outputs, **options)))


def inkan(request: Request) -> nn.Module:
    """inkan's KANLayer, whose functions torch.compile makes, as is its default."""
    from inkan import KANLayer

    return _in_a_row(request, lambda inputs, outputs: KANLayer(inputs, outputs, grid_size=request.get("grid", GRID)))


def _kan_linear(layer: Callable[..., nn.Module], request: Request) -> nn.Module:
    options = {"grid_size": request.get("grid", GRID), "spline_order": ORDER}
    return _in_a_row(request, lambda inputs, outputs: layer(inputs, outputs, **options))


def efficient_kan(request: Request) -> nn.Module:
    """efficient-kan's KANLinear."""
    from efficient_kan import KANLinear

    return _kan_linear(KANLinear, request)


def kan_linear_of_original(request: Request) -> nn.Module:
    """efficient-kan's KANLinear as the original package carries it."""
    return _kan_linear(import_module("qkan.kan").KANLinear, request)


BUILDERS: dict[str, Callable[[Request], nn.Module]] = {
    "original": original,
    "original-lstm": original_lstm,
    "pykan": pykan,
    "inkan": inkan,
    "efficient-kan": efficient_kan,
    "kan-linear-of-original": kan_linear_of_original,
}


def load_measure() -> Any:
    """The module ``measure``, which lies beside this file."""
    if "measure" not in sys.modules:
        spec = importlib.util.spec_from_file_location("measure", Path(__file__).with_name("measure.py"))
        if spec is None or spec.loader is None:
            raise ImportError(f"measure.py is missing beside {__file__}; install the package again")
        module = importlib.util.module_from_spec(spec)
        sys.modules["measure"] = module  # its dataclasses look themselves up there
        spec.loader.exec_module(module)
    return sys.modules["measure"]


def answer(request: Request) -> dict[str, Any]:
    """Measure what a request names; whatever stops it is the answer."""
    measure = load_measure()
    device, dtype = torch.device(request["device"]), getattr(torch, request["dtype"])
    torch.set_num_threads(request["threads"])
    torch.manual_seed(request["seed"])
    try:
        module = BUILDERS[request["builder"]](request).to(device)
        module._apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)
        x, upstream = (numbers.to(device, dtype) for numbers in _numbers(request))
        dim = request["batch_dim"]

        def step_of(rows: int) -> Any:
            return measure.Step(module, x.narrow(dim, 0, rows).detach().requires_grad_(), upstream.narrow(dim, 0, rows))

        limits = measure.Limits(request["rounds"], request["limit"], measure.free_bytes(device))
        cost = measure.cost_within(step_of, x.shape[dim], device, limits)
        step, forward = step_of(x.shape[dim]), []
        seconds = measure.time_in_turns({"peer": step}, device, limits)["peer"]
        if request["infer"]:
            forward = measure.time_in_turns({"peer": measure.inference(step)}, device, limits)["peer"]
    except Exception as error:  # noqa: BLE001  (whatever stops a peer is its result)
        return {"reason": measure.reason_of(error)}
    return {
        "seconds": seconds,
        "inference": forward,
        "extra_bytes": cost.extra_bytes,
        "parameters": sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad),
        "torch": torch.__version__,
    }


def _numbers(request: Request) -> tuple[Tensor, Tensor]:
    """Inputs, and an upstream gradient."""
    draw, seed = load_measure().draw, request["seed"]
    x = draw(request["x_shape"], request["inputs"], request["bound"], seed)
    return x, draw(request["y_shape"], "normal", 1.0, seed + 1)


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer every line until there are no more."""
    for line in requests:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    # What a peer prints must not come between the answers: standard output becomes standard error.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, channel)
