"""``qkan circuit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qkan.cli.options import RUN, out_option

if TYPE_CHECKING:
    from qkan.forecasting import Run
    from qkan.layers.qkan_layer import QKANLayer


class EdgeType(click.ParamType):
    """An output and an input, as two numbers."""

    name = "O,I"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Split the text."""
        parts = [part.strip() for part in value.split(",")]
        if len(parts) != 2 or not all(part.isdecimal() for part in parts):
            self.fail(f"{value!r} is not an output and an input, such as 0,1", param, ctx)
        return int(parts[0]), int(parts[1])


@click.command(
    short_help="Draw, export and count the circuits of a run.",
    epilog="""\b
Examples:
  qkan circuit runs/telecom-qkan-seed0
  qkan circuit runs/telecom-qkan-seed0 --edge 0,1 \\
      --layer cell.directions.0.gates.hidden --out circuit""",
)
@RUN
@click.option(
    "--edge", type=EdgeType(), metavar="O,I", default="0,0", show_default=True, help="Its output and input, from 0."
)
@click.option("--layer", metavar="NAME", help="Layer that the edge is in.  [default: the first of circuits]")
@click.option("--x", type=float, default=0.5, show_default=True, metavar="X", help="Input that the circuit reads.")
@click.option(
    "--precision", type=float, default=0.01, show_default=True, metavar="P",
    help="Largest standard error of every <Z>; the shots for it are counted.",
)  # fmt: skip
@out_option("Folder for circuit.png, spectrum.png and circuit.qasm.")
@click.option("--execute", is_flag=True, help="Run all circuits of one forecast edge by edge and compare.")
def circuit(
    run: Path, edge: tuple[int, int], layer: str | None, x: float, precision: float, out: Path | None, execute: bool
) -> None:
    """Show the circuit of one edge of the model in the folder RUN, and what a forecast needs on quantum hardware.

    It needs PennyLane: pip install 'qkan-seq[pennylane]'.
    """
    from qkan import forecasting
    from qkan.validation.runs import circuit_layers

    loaded = forecasting.load_run(run)
    layers = circuit_layers(loaded.model)
    name = next(iter(layers)) if layer is None else layer
    if name not in layers:
        raise click.UsageError(f"--layer: the run has no layer of circuits {name!r}; it has {', '.join(layers)}.")
    _print_edge(name, layers[name], edge, x, out)
    _print_demand(loaded, layers, precision)
    if execute:
        _execute(loaded)


def _print_edge(name: str, layer: QKANLayer, place: tuple[int, int], x: float, out: Path | None) -> None:
    from qkan.cli.tables import print_facts

    edge = layer.edge(*place)
    click.echo(f"{name}, from input {place[1]} to output {place[0]}, at x = {x:g}\n")
    click.echo(edge.text(x) + "\n")
    gates = ", ".join(f"{number} {gate}" for gate, number in edge.gate_counts().items())
    print_facts({"gates": gates, "trained numbers": str(edge.parameters)}, title="Circuit of the edge")
    if out is None:
        click.echo(edge.openqasm(x))
        return
    from qkan.forecasting.io.files import make_folder, write_text
    from qkan.forecasting.runs.plots import save_figure

    make_folder(out)
    write_text(out / "circuit.qasm", edge.openqasm(x))
    save_figure(edge.figure(x), out / "circuit.png")
    written = [out / "circuit.qasm", out / "circuit.png"]
    if layer.ansatz.encoding_map == "identity":
        layer.spectrum(*place).plot(out / "spectrum.png")
        written.append(out / "spectrum.png")
    click.echo(f"written: {', '.join(map(str, written))}\n")


def _print_demand(run: Run, layers: dict[str, QKANLayer], precision: float) -> None:
    from qkan.cli.tables import print_facts
    from qkan.validation import demand

    needed = demand(run.model, precision)
    shapes = {name: f"{layer.in_features} to {layer.out_features}" for name, layer in layers.items()}
    print_facts(shapes, title="Layers of circuits, inputs to outputs")
    facts = {
        "circuits": f"{needed.circuits:,}, one for every circuit and time step",
        "gates": f"{needed.gates:,}",
        "trained parameters": f"{needed.parameters:,}",
        "shots": f"{needed.shots:,}: {needed.shots_per_circuit:,} for a standard error of {precision:g} in every <Z>",
    }
    print_facts(facts, title="One forecast of one window on hardware")


def _execute(run: Run) -> None:
    import torch

    from qkan.validation.runs import execute_edges

    edges, layer = execute_edges(run)
    click.echo(
        f"edge by edge: {edges.flatten()[0]:.7f}, the model: {layer.flatten()[0]:.7f} (scaled), largest difference "
        f"{float((edges - layer).abs().max()):.1e}"
    )
    if not torch.allclose(edges, layer, rtol=0, atol=1e-5):
        raise click.ClickException("the circuits do not reproduce the forecast")
