"""Writes what the tests of qkan.interop compare with: networks of the ORIGINAL authors' package and their outputs.

That package is called qkan as well, so it needs an environment of its own, in which this file is run:

    python3 -m venv build/original
    build/original/bin/pip install qkan==0.2.3
    build/original/bin/python tests/interop/make_fixtures.py

It writes original.json, and original.ckpt with the original's own save_ckpt, beside itself. Parameters are drawn here,
on a grid of 1/1000, so that JSON holds them exactly; a run again gives the same but for the last digits of outputs.
"""

import json
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from qkan import QKAN, QKANLayer

HERE = Path(__file__).parent
ALL = {
    "preact_trainable": True, "postact_weight_trainable": True, "postact_bias_trainable": True, "ba_trainable": True,
}  # fmt: skip
#: The rounding that the outputs are computed with: parameters, states. The original computes the states of the ansatz
#: real in bfloat16 whatever it is told; "native" is that, the others are what its own code gives in full precision.
PRECISIONS = {"float32": (torch.float32, torch.complex64), "float64": (torch.float64, torch.complex128)}
READOUTS = {"amplitude": True, "z": False}
GENERATOR = torch.Generator().manual_seed(20260)


def draw(shape: torch.Size, low: float, high: float) -> torch.Tensor:
    return (torch.rand(shape, generator=GENERATOR, dtype=torch.float64) * (high - low) + low).round(decimals=3)


def fill(model: torch.nn.Module, options: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A state of random values where they are trained; px takes acos, so its inputs must stay inside [-1, 1]."""
    px = str(options["ansatz"]).startswith("px")
    drawn = options.get("preact_trainable") or options.get("preact_init")
    ranges = {
        "theta": (True, -3.1, 3.1),
        "preacts_weight": (drawn, *((-0.6, 0.6) if px else (0.3, 1.7))),
        "preacts_bias": (drawn or options["ansatz"] == "rpz", *((-0.3, 0.3) if px else (-2.0, 2.0))),
        "postact_weights": (options.get("postact_weight_trainable"), *((-0.2, 0.2) if px else (-1.5, 1.5))),
        "postact_bias": (options.get("postact_bias_trainable"), *((-0.2, 0.2) if px else (-0.5, 0.5))),
        "base_weight": (options.get("ba_trainable"), *((-0.2, 0.2) if px else (-1.0, 1.0))),
    }  # fmt: skip
    state = {}
    for name, tensor in model.state_dict().items():
        trained, low, high = ranges.get(name.rpartition(".")[2], (False, 0, 0))
        state[name] = draw(tensor.shape, low, high) if trained else tensor.double()
    return state


def build(shape: list[int], options: dict[str, Any], precision: str, readout: str) -> torch.nn.Module:
    parameters, states = PRECISIONS[precision]
    given = options | {"p_dtype": parameters, "c_dtype": states, "fast_measure": READOUTS[readout], "reps": 2}
    if options.get("single"):
        del given["single"]
        model = QKANLayer(*shape, **given)
    else:
        model = QKAN(shape, **given)
    return model.to(parameters)


def full_precision(model: torch.nn.Module, precision: str) -> None:
    for layer in model.modules():
        if isinstance(layer, QKANLayer) and layer.ansatz == "real":
            layer.c_dtype = PRECISIONS[precision][0]
            layer._needs_dtype_cast = False


@torch.no_grad()
def outputs(model: torch.nn.Module, x: torch.Tensor) -> list[Any]:
    """Outputs in training mode, which evaluation must repeat."""
    y = model.train()(x)
    assert torch.isfinite(y).all()
    torch.testing.assert_close(model.eval()(x), y, rtol=0, atol=1e-5)
    return y.double().round(decimals=8 if y.dtype == torch.float32 else 13).tolist()


def case(shape: list[int], pruned: bool = False, **options: Any) -> dict[str, Any]:
    """One network: its options, its state, what it gives for both readouts and precisions."""
    state = fill(build(shape, options, "float64", "z"), options)
    x = draw(torch.Size((5, shape[0])), -0.95, 0.95)
    found: dict[str, Any] = {}
    for precision, (dtype, _) in PRECISIONS.items():
        for readout in READOUTS:
            model = build(shape, options, precision, readout)
            model.load_state_dict(state)
            if pruned:
                prune(model, x.to(dtype))
                state |= {name: mask for name, mask in model.state_dict().items() if name.endswith("mask")}
                pruned = False  # what this prune chose is in the state of the others
            if options["ansatz"] == "real" and precision == "float32":
                found[f"{readout}, native"] = outputs(model, x.to(dtype))
            full_precision(model, precision)
            found[f"{readout}, {precision}"] = outputs(model, x.to(dtype))
    return {"shape": shape, "options": options, "x": x.tolist(), "outputs": found, "state": rounded(state)}


def prune(model: QKAN, x: torch.Tensor) -> None:
    """The original's own pruning of edges, a third of each layer's."""
    model.save_act = True
    model(x)
    model.attribute(plot=False)
    model.edge_scores = [score / score.flatten().kthvalue(score.numel() // 3).values for score in model.edge_scores]
    model.prune_edge(1.0)
    model.save_act = False
    for layer in model.layers:
        assert 0 < layer.mask.sum() < layer.mask.numel()


def smaller() -> dict[str, Any]:
    """Nodes pruned by the original: it builds smaller layers, which forget fast_measure=False."""
    options = {"ansatz": "pz", **ALL}
    model = build([3, 6, 2], options, "float32", "z")
    model.load_state_dict(fill(model, options))
    x = draw(torch.Size((5, 3)), -0.95, 0.95)
    model.save_act = True
    model(x.float())
    model.attribute(plot=False)
    scores = torch.minimum(model.acts_scale[0].amax(1), model.acts_scale[1].amax(0))
    model = model.prune_node(float(scores.median()))
    model.save_act = False
    model.eval()
    assert 0 < model.layers[0].out_dim < 6
    y = outputs(model, x.float())
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    return {
        "shape": [3, model.layers[0].out_dim, 2], "options": options, "x": x.tolist(),
        "outputs": {"amplitude, float32": y}, "state": rounded(state),
    }  # fmt: skip


def rounded(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    exact = {name: tensor.round(decimals=3) for name, tensor in state.items()}
    for name, tensor in state.items():
        assert (tensor - exact[name]).abs().max() < 1e-6, name
    return {name: tensor.tolist() for name, tensor in exact.items()}


def cases() -> dict[str, dict[str, Any]]:
    found = {}
    for ansatz in ("pz", "rpz", "real", "px", "mix"):
        pre = {"preact_trainable": True} if ansatz == "px" else {}  # the original's px fails without
        found[f"{ansatz}, theta only"] = case([3, 4] if ansatz == "px" else [3, 4, 2], ansatz=ansatz, **pre)
        found[f"{ansatz}, all trained"] = case([3, 4, 2], ansatz=ansatz, **ALL)
        found[f"{ansatz}, post and base"] = case([3, 4, 2], ansatz=ansatz, **ALL | {"preact_trainable": bool(pre)})
        found[f"{ansatz}, pruned"] = case([3, 4, 2], pruned=True, ansatz=ansatz, **ALL)
        found[f"{ansatz}, group"] = case([3, 4, 2], group=2, ansatz=ansatz, **ALL)
        found[f"{ansatz}, flat"] = case([3, 4, 2], p_dim=2, ansatz=ansatz, **ALL)
    trained = {"ansatz": "pz", **ALL}
    found["group, theta only"] = case([3, 4, 2], group=2, ansatz="pz")
    found["group, more than inputs"] = case([3, 4, 2], group=5, **trained)
    found["group, as many as inputs"] = case([3, 3, 3], group=3, **trained)
    found["group, pair"] = case([3, 4], group=(1, 2), single=True, **trained)
    found["group, flat"] = case([3, 4, 2], p_dim=2, group=8, **trained)
    found["group, pruned"] = case([3, 4, 2], pruned=True, group=2, **trained)
    found["one layer"] = case([4, 3], single=True, **trained)
    found["one layer, flat"] = case([4, 3], single=True, p_dim=2, **trained)
    found["one input, one output"] = case([1, 1], **trained)
    found["preactivations drawn, pz"] = case([3, 2], ansatz="pz", preact_init=True)
    found["preactivations drawn, rpz"] = case([3, 2], ansatz="rpz", preact_init=True)
    found["long names"] = case([3, 2], **trained | {"ansatz": "rpz_encoding"})
    for base in ("gelu", "relu", "tanh", "sigmoid"):
        found[f"base {base}"] = case([3, 2], base_activation=base, **trained)
    found["nodes pruned"] = smaller()
    return found


def main() -> None:
    made = {"original": version("qkan"), "torch": version("torch"), "cases": cases()}
    text = json.dumps(made).replace('"state"', '\n    "state"').replace('}, "', '},\n  "')
    (HERE / "original.json").write_text(text + "\n")
    model = build([2, 3, 1], {"ansatz": "pz", **ALL}, "float32", "amplitude")
    model.load_state_dict(fill(model, {"ansatz": "pz", **ALL}))
    with tempfile.TemporaryDirectory() as folder:
        model.save_ckpt("original", folder)
        (HERE / "original.ckpt").write_bytes((Path(folder) / "original").read_bytes())


if __name__ == "__main__":
    main()
