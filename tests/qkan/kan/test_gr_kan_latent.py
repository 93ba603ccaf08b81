"""GR-KAN as the latent of an LSTM's gates: the numbers step by step, every gradient, how it runs."""

import pytest
import torch
from torch import Tensor

from qkan import HQKANLSTM

F64 = torch.float64


def rational(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """P(x) / (1 + sum_j |b_j x^j|), a denominator for each group of neighbouring channels."""
    b = denominator.repeat_interleave(x.shape[-1] // len(denominator), 0)
    p = sum(a * x**k for k, a in enumerate(numerator[0]))
    return p / (1 + sum((b[:, j] * x ** (j + 1)).abs() for j in range(b.shape[1])))


def by_hand(module: HQKANLSTM, x: Tensor) -> tuple[Tensor, Tensor]:
    gates = module.directions[0].gates
    latent, hidden = gates.latent, module.hidden_size
    h = c = x.new_zeros(x.shape[1], hidden)
    outputs = []
    for step in x:
        z = gates.input_encoder(step) + h @ gates.hidden_encoder.weight.t()
        z = latent.fc1(rational(z, latent.act1.numerator, latent.act1.denominator))
        z = latent.fc2(rational(z, latent.act2.numerator, latent.act2.denominator))
        i, f, g, o = gates.decoder(z).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack(outputs), c


@pytest.mark.parametrize(("width", "groups"), [(1, 1), (2, 2), (9, 3), (16, 8)])
def test_outputs_states_and_every_gradient(width: int, groups: int) -> None:
    torch.manual_seed(0)
    module = HQKANLSTM(3, 5, latent="gr-kan", latent_features=width, dtype=F64)
    assert module.directions[0].gates.latent.act1.num_groups == groups
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    x, upstream = torch.randn(7, 2, 3, dtype=F64, requires_grad=True), torch.randn(7, 2, 5, dtype=F64)
    found = []
    ours, (_, cells) = module(x)
    for output, c in (by_hand(module, x), (ours, cells[0])):
        loss = (output * upstream).sum() + c.sin().sum()
        found.append([output, c, *torch.autograd.grad(loss, (x, *module.parameters()))])
    for want, got in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-11)


def test_it_runs_step_by_step_and_says_why() -> None:
    module = HQKANLSTM(1, 2, latent="gr-kan")
    assert "step by step: its latent, GRKAN, is a module that kernels do not know" in module.explain_backend(
        torch.rand(3, 2, 1)
    )


def test_gates_are_drawn_from_the_generator() -> None:
    def make(seed: int) -> HQKANLSTM:
        return HQKANLSTM(1, 3, latent="gr-kan", generator=torch.Generator().manual_seed(seed))

    first, again, other = make(4), make(4), make(5)
    for module in (first, again):
        module.reset_parameters(torch.Generator().manual_seed(9))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    again, latents = make(4), []
    for module in (again, make(4), other):
        latents.append(module.directions[0].gates.latent.fc1.weight)
    assert torch.equal(latents[0], latents[1])
    assert not torch.equal(latents[0], latents[2])
