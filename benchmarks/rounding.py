"""What single precision costs: largest errors of activations and of Chebyshev polynomials on [-1, 1].

python -m benchmarks.rounding                   # half a minute of one core
"""

import click
import torch
from torch import Tensor

from qkan import QKANLayer
from qkan.kernels.circuits.ansatz import ANSATZE
from qkan.kernels.spectral.basis import _chebyshev_functions

REPS, EDGES, SAMPLES = 8, 4096, 256
BACKENDS = ("bloch", "spectral")


def activation_error(ansatz: str, backend: str, trained: bool) -> float | None:
    """Largest error of the outputs of circuits against the state vector in double precision; None if refused."""
    generator = torch.Generator().manual_seed(0)
    options = {"reps": REPS, "ansatz": ansatz, "preact_trainable": trained, "base_activation": None}
    layer = QKANLayer(1, EDGES, generator=generator, init="wide", backend="reference", **options).double()
    x = 2 * torch.rand(SAMPLES, 1, generator=generator, dtype=torch.float64) - 1
    with torch.no_grad():
        exact = layer.float().double()(x.float().double())  # the same numbers in both precisions
        try:
            layer.float().backend = backend
            return float((layer(x.float()).double() - exact).abs().max())
        except ValueError:
            return None


def chebyshev_errors(degree: int) -> list[float]:
    """Largest errors of T_0 to T_degree by differences, by the recurrence and by cos(k acos x), in single precision."""
    x = torch.linspace(-1, 1, 20_001)
    exact = torch.cos(torch.arange(1, degree + 1)[:, None] * x.double().acos())

    def recurrence() -> list[Tensor]:
        found = [torch.ones_like(x), x]
        while len(found) <= degree:
            found.append(2 * x * found[-1] - found[-2])
        return found[1:]

    ways = (
        torch.stack(_chebyshev_functions(x, 1.0, degree + 1, [None] * (degree + 1))),
        torch.stack(recurrence()),
        torch.cos(torch.arange(1, degree + 1)[:, None] * x.acos()),
    )
    return [float((way.double() - exact).abs().max()) for way in ways]


@click.command()
def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    print(f"largest error of one activation, {EDGES} circuits, R = {REPS}, {SAMPLES} samples of [-1, 1], float32")
    print(f"{'ansatz':8}{'w':9}" + "".join(f"{name:>10}" for name in BACKENDS))
    for ansatz in ANSATZE:
        for trained in (False, True):
            found = [activation_error(ansatz, backend, trained) for backend in BACKENDS]
            cells = "".join(f"{'refused' if error is None else f'{error:.1e}':>10}" for error in found)
            print(f"{ansatz:8}{'trained' if trained else 'fixed':9}{cells}")
    print(f"\nlargest error of T_1 to T_K on [-1, 1], float32\n{'K':>4}  differences  2 x T_k - T_(k-1)  cos(k acos x)")
    for degree in (32, 128):
        differences, recurrence, cosine = chebyshev_errors(degree)
        print(f"{degree:>4}  {differences:11.1e}  {recurrence:17.1e}  {cosine:13.1e}")


if __name__ == "__main__":
    main()
