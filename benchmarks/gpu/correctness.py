"""Every module and backend on the device against itself in double precision on the CPU: outputs and all gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu import derivatives, graphs
from benchmarks.gpu.compare import EXACT, ROUNDED, agreement, judged, relative_error, values
from benchmarks.gpu.record import Cases
from qkan import GRKAN, HQKAN, HQKANLSTM, QKAN, QKANGRU, QKANLSTM, GroupRational, QKANLayer

Make = Callable[[], nn.Module]

#: Kinds of layers by the options that make them.
LAYERS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "trained": {"preact_trainable": True},
    "per input": {"group": "input", "postact_weight_trainable": True},
    "sums": {"preact_trainable": "input"},
    "px": {"ansatz": "px", "preact_trainable": True},
    "amplitude": {"readout": "amplitude"},
}
BACKENDS = ("auto", "spectral", "bloch", "triton")
HIDDEN = (1, 16, 17, 64, 146, 200)


def layer_cases(device: torch.device, small: bool) -> Cases:
    """QKANLayer through every backend; what takes seconds to compile comes last."""
    torch.manual_seed(1)
    x, wide = 2 * torch.rand(70, 9) - 1, 2 * torch.rand(256, 64) - 1
    for backend in BACKENDS:
        for kind, options in LAYERS.items():
            free = kind in ("px", "amplitude")
            if (free and backend == "spectral") or (small and kind not in ("fixed", "per input")):
                continue
            for reps in (1, 3):
                make = partial(QKANLayer, 9, 33, reps, backend=backend, **options)
                points = 0.3 * x / reps if kind == "px" else x
                case = partial(agreement, make, points, device, 1e-3 if free else EXACT)
                yield f"layer {kind}, {backend}, R {reps}", case
        for dtype in (torch.bfloat16, torch.float16):
            make = partial(QKANLayer, 64, 64, 3, backend=backend)
            yield f"layer {backend}, autocast {dtype}", partial(agreement, make, wide, device, ROUNDED, dtype)


def module_cases(device: torch.device, small: bool) -> Cases:
    """Networks, recurrences and rational activations."""
    torch.manual_seed(2)
    yield "QKAN", partial(agreement, partial(QKAN, [5, 8, 3]), torch.rand(40, 5), device)
    yield "HQKAN", partial(agreement, partial(HQKAN, 12, 5), torch.rand(40, 12), device)
    yield "GRKAN", partial(agreement, partial(GRKAN, 24, 48), torch.randn(40, 24), device)
    for form in ("abs_terms", "abs_sum"):
        make = partial(GroupRational, 24, 8, denominator=form)
        yield f"rational {form}", partial(agreement, make, torch.randn(7, 130, 24), device)
        yield f"rational {form}, large x", partial(agreement, make, 1e5 * torch.randn(7, 130, 24), device, 1e-3)
    sequences = torch.randn(7, 37, 3)
    for hidden in HIDDEN[:2] if small else HIDDEN:
        yield f"QKANLSTM {hidden}", partial(agreement, partial(QKANLSTM, 3, hidden, reps=1), sequences, device)
    for make, name in ((HQKANLSTM, "HQKANLSTM"), (QKANGRU, "QKANGRU")):
        for hidden in (5, 40):
            yield f"{name} {hidden}", partial(agreement, partial(make, 3, hidden), sequences, device)
    trained = partial(QKANLSTM, 3, 20, reps=1, preact_trainable=True)
    yield "QKANLSTM trained", partial(agreement, trained, sequences, device)
    yield "QKANLSTM packed", partial(packed, device)


def packed(device: torch.device) -> dict[str, Any]:
    """Sequences of different lengths give what each gives alone."""
    torch.manual_seed(3)
    module = QKANLSTM(3, 20, reps=1).to(device)
    sequences = [torch.randn(length, 3, device=device) for length in (9, 4, 4, 1)]
    together = module(nn.utils.rnn.pack_sequence(sequences))[0]
    alone = [module(sequence.unsqueeze(1))[0].squeeze(1) for sequence in sequences]
    filled, lengths = nn.utils.rnn.pad_packed_sequence(together)
    parts = [filled[:length, place] for place, length in enumerate(lengths)]
    return judged(max(relative_error(a, b.cpu()) for a, b in zip(parts, alone, strict=True)), EXACT)


def repeated(make: Make, x: Tensor, device: torch.device) -> dict[str, Any]:
    """Twenty runs give the same bits."""
    torch.manual_seed(4)
    module, x = make().to(device), x.to(device)
    first = values(module, x, None)
    for _ in range(19):
        for value, other in zip(values(module, x, None), first, strict=True):
            if not torch.equal(value, other):
                return {"outcome": "failed", "error": f"runs differ by {float((value - other).abs().max()):.3g}"}
    return {}


def beyond_32_bits(device: torch.device) -> dict[str, Any]:
    """More than 2^31 elements: the last ones are those of a small tensor."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    if free < 2**34:
        return {"outcome": "skipped", "reason": f"16 GiB are not free, but {free / 2**30:.1f}"}
    module = GroupRational(8, 8).to(device)
    x = torch.zeros(2**28 + 1000, 8, dtype=torch.bfloat16, device=device)
    x[-1000:] = torch.randn(1000, 8, device=device)
    with torch.no_grad():
        return judged(relative_error(module(x)[-1000:], module(x[-1000:].clone()).cpu()), 0.0)


def cases(options: Any) -> Cases:
    """Modules, graphs and streams, then layers by every backend, derivatives and transforms."""
    device, small = torch.device(options.device), options.small
    yield from module_cases(device, small)
    for name, make, x in (
        ("layer", partial(QKANLayer, 64, 64, 3), torch.rand(256, 64)),
        ("layer trained", partial(QKANLayer, 64, 64, 3, preact_trainable=True), torch.rand(256, 64)),
        ("QKANLSTM", partial(QKANLSTM, 3, 20, reps=1), torch.randn(7, 37, 3)),
        ("rational", partial(GroupRational, 24, 8), torch.randn(40, 24)),
    ):
        yield f"twenty runs of {name}", partial(repeated, make, x, device)
        if device.type == "cuda":
            yield f"graph of {name}", partial(graphs.replayed, make, x, device)
            yield f"qkan.graphed of {name}", partial(graphs.graphed, make, x, device)
            yield f"side stream of {name}", partial(graphs.on_a_side_stream, make, x, device)
    if device.type == "cuda":
        yield "graph after 70 other layouts", partial(graphs.after_other_layouts, device)
        yield "reduce-overhead of QKANLayer", partial(graphs.compiled, partial(QKANLayer, 8, 20, 2), (64, 8), device)
        yield "reduce-overhead of QKANLSTM", partial(graphs.compiled, partial(QKANLSTM, 3, 20), (7, 37, 3), device)
        yield "more than 2^31 elements", partial(beyond_32_bits, device)
    yield from layer_cases(device, small)
    yield from derivatives.cases(device, small)
