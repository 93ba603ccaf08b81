"""CircuitLoRA and NonlinearLoRA as layers: the formula, its gradients, what is kept, dtypes, bad arguments."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import CircuitLoRA, NonlinearLoRA
from qkan.adapters.weight_change import Form, adapted_linear, weight_change

OPTIONS = [{}, {"reps": 0}, {"reps": 3, "circuit_trainable": True}, {"ansatz": "mix", "circuit_trainable": True}]


class Conv1D(nn.Module):
    """As Hugging Face's: the weight is (inputs, outputs)."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.nx = nf, nx
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.randn(nf))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.shape[:-1], self.nf)


def layer(inputs: int = 6, outputs: int = 5, **options: object) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, **options)


def trained(adapter: CircuitLoRA) -> CircuitLoRA:
    """With a change that is far from zero."""
    nn.init.normal_(adapter.lora_b, generator=torch.Generator().manual_seed(1))
    return adapter


def test_one_repetition_is_the_published_sine_lora() -> None:
    adapter = trained(CircuitLoRA(layer(dtype=torch.float64), 2, frequency=200.0, scale=200 / math.sqrt(6)))
    wanted = torch.sin(200 * adapter.lora_b @ adapter.lora_a) / math.sqrt(6)
    torch.testing.assert_close(adapter.weight_change(), wanted, rtol=0, atol=1e-12)


def test_change_is_the_circuit_less_its_value_at_zero() -> None:
    adapter = trained(CircuitLoRA(layer(dtype=torch.float64), 2, reps=3, circuit_trainable=True, frequency=4, scale=2))
    assert adapter.phi is not None
    nn.init.normal_(adapter.phi.theta)
    product = 4 * adapter.lora_b @ adapter.lora_a
    wanted = 2 / 4 * (adapter.phi(product) - adapter.phi(torch.zeros(1, dtype=torch.float64)))
    torch.testing.assert_close(adapter.weight_change(), wanted, rtol=0, atol=1e-12)


def test_without_a_circuit_it_is_lora() -> None:
    adapter = trained(CircuitLoRA(layer(), 2, reps=0, scale=1.5))
    assert torch.equal(adapter.weight_change(), 1.5 * (adapter.lora_b @ adapter.lora_a))
    assert list(adapter.new_parameters()) == ["lora_a", "lora_b"]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_starts_with_a_change_of_exactly_zero_and_a_slope(options: dict[str, object]) -> None:
    linear, x = layer(), torch.randn(3, 4, 6)
    adapter = CircuitLoRA(linear, 2, **options)  # type: ignore[arg-type]
    assert torch.equal(adapter.weight_change(), torch.zeros(5, 6))
    assert torch.equal(adapter(x), linear(x))
    adapter(x).square().sum().backward()
    assert adapter.lora_b.grad is not None
    lora = CircuitLoRA(linear, 2, reps=0)
    with torch.no_grad():
        lora.lora_a.copy_(adapter.lora_a)
    lora(x).square().sum().backward()
    ratio = adapter.lora_b.grad / lora.lora_b.grad  # phi starts with a slope of about one
    assert ratio.min() > 0.9
    assert ratio.max() < 1.1


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_are_those_of_the_formula(options: dict[str, object], transposed: bool) -> None:
    base = Conv1D(5, 6) if transposed else layer()
    adapter = trained(CircuitLoRA(base.double(), 2, **options))  # type: ignore[arg-type]
    x = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 2, 5, dtype=torch.float64)
    inputs = (x, *(p for p in adapter.parameters() if p.requires_grad))
    found = torch.autograd.grad((adapter(x) * weights).sum(), inputs)
    weight = base.weight.mT if transposed else base.weight
    naive = F.linear(x, weight + adapter.weight_change(), base.bias)
    torch.testing.assert_close(adapter(x), naive, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(found, torch.autograd.grad((naive * weights).sum(), inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_first_and_second_derivatives_by_differences() -> None:
    def tensor(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=numbers).requires_grad_()

    numbers = torch.Generator().manual_seed(0)
    tensors = tensor(2, 4), tensor(3, 4), tensor(3), tensor(2, 4), tensor(3, 2), tensor(4)
    form = Form(1.3, 0.7)
    assert torch.autograd.gradcheck(lambda *t: adapted_linear(form, *t), tensors)
    assert torch.autograd.gradgradcheck(lambda *t: adapted_linear(form, *t), tensors)


def test_transforms_go_through_the_formula() -> None:
    adapter, x = trained(CircuitLoRA(layer(), 2)), torch.randn(4, 6)
    values = dict(adapter.named_parameters())

    def loss(values: dict[str, Tensor], row: Tensor) -> Tensor:
        return torch.func.functional_call(adapter, values, (row,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(values, x)
    adapter(x).square().sum().backward()
    torch.testing.assert_close(each["lora_b"].sum(0), adapter.lora_b.grad)


def test_nothing_as_large_as_the_weight_is_kept_for_the_backward_pass() -> None:
    adapter, kept = trained(CircuitLoRA(layer(40, 30), 2, reps=3)), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        adapter(torch.randn(2, 40))
    large = [tensor for tensor in kept if tensor.numel() >= 30 * 40]
    assert {tensor.data_ptr() for tensor in large} == {adapter.base.weight.data_ptr()}


def test_half_precision_weights_get_adapters_in_single_precision() -> None:
    linear, x = layer(dtype=torch.bfloat16), torch.randn(3, 6, dtype=torch.bfloat16)
    adapter = CircuitLoRA(linear, 2)
    assert torch.equal(adapter(x), linear(x))
    trained(adapter)(x).sum().backward()
    assert adapter.lora_b.dtype == torch.float32
    torch.testing.assert_close(adapter(x), F.linear(x, adapter.weight, linear.bias), rtol=0, atol=0)


def test_autocast_narrows_the_product_and_not_the_change() -> None:
    adapter, x = trained(CircuitLoRA(layer(), 2)), torch.randn(3, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y = adapter(x)
        wanted = F.linear(x, adapter.weight, adapter.bias)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, wanted, rtol=0, atol=0)
    y.sum().backward()
    assert adapter.lora_a.grad is not None
    assert adapter.lora_a.grad.dtype == torch.float32


def test_dropout_reaches_the_change_alone_and_training_alone() -> None:
    adapter, x = trained(CircuitLoRA(layer(), 2, dropout=0.5)), torch.ones(1, 6)
    torch.manual_seed(3)
    y = adapter(x)
    torch.manual_seed(3)
    wanted = adapter.base(x) + F.linear(F.dropout(x, 0.5), adapter.weight_change())
    torch.testing.assert_close(y, wanted)
    assert torch.equal(adapter.eval()(x), F.linear(x, adapter.weight, adapter.bias))


def test_default_frequency_follows_the_weight_and_not_its_scale() -> None:
    linear = layer()
    change = CircuitLoRA(linear, 2).frequency
    with torch.no_grad():
        linear.weight.mul_(0.01)
    assert CircuitLoRA(linear, 2).frequency == pytest.approx(100 * change)
    with torch.no_grad():
        linear.weight.zero_()
    assert CircuitLoRA(linear, 2).frequency == 1.0


def test_copies_and_states_are_the_same_adapter() -> None:
    adapter, x = trained(CircuitLoRA(layer(), 2, reps=2, circuit_trainable=True)), torch.randn(3, 6)
    again = copy.deepcopy(adapter)
    assert torch.equal(again(x), adapter(x))
    fresh = CircuitLoRA(layer(), 2, reps=2, circuit_trainable=True)
    fresh.load_state_dict(adapter.state_dict())
    assert torch.equal(fresh(x), adapter(x))


@pytest.mark.parametrize("latent", ["qkan", "spline", "mlp", "linear"])
def test_nonlinear_adapters_start_at_zero_are_trained_and_do_not_merge(latent: str) -> None:
    linear, x = layer(), torch.randn(7, 6)
    adapter = NonlinearLoRA(linear, 3, latent=latent, generator=torch.Generator().manual_seed(0))
    assert torch.equal(adapter(x), linear(x))
    nn.init.ones_(adapter.lora_b)
    wanted = linear(x) + F.linear(adapter.network(F.linear(x, adapter.lora_a)), adapter.lora_b)
    torch.testing.assert_close(adapter(x), wanted)
    adapter(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in adapter.new_parameters().values())
    with pytest.raises(ValueError, match=r"nonlinear function of the inputs.* cannot be merged; keep it"):
        adapter.weight_change()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, r"rank 0 is outside \[1, 5\]"),
        ({"rank": 6}, r"rank 6 is outside \[1, 5\]"),
        ({"rank": 2.0}, "rank must be an int, got float"),
        ({"reps": -1}, r"reps -1 is outside \[0, 32\]; 0 is plain LoRA"),
        ({"reps": 0, "circuit_trainable": True}, "reps=0 has no circuit to train; leave circuit_trainable out"),
        ({"frequency": 0.0}, "frequency 0.0 must be a finite number above 0"),
        ({"scale": math.nan}, "scale nan must be a finite number above 0"),
        ({"dropout": 1.0}, r"dropout 1.0 must be a probability in \[0, 1\)"),
        ({"ansatz": "rpz"}, "ansatz 'rpz' has no near-linear start by name; use 'pz' or 'mix'"),
    ],
)
def test_arguments_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        CircuitLoRA(layer(), **({"rank": 2} | options))  # type: ignore[arg-type]


def test_modules_that_are_no_linear_layers() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    for module in (nn.Conv1d(3, 3, 1), Doubled(3, 3), CircuitLoRA(layer(), 2), 3):
        with pytest.raises(TypeError, match=r"an adapter needs an nn\.Linear or a Conv1D with their own forward"):
            CircuitLoRA(module, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown latent 'cubic'; use one of qkan"):
        NonlinearLoRA(layer(), 2, latent="cubic")
    with pytest.raises(ValueError, match="latent 'mlp' has no circuit, so reps=2 has no effect; leave it out"):
        NonlinearLoRA(layer(), 2, latent="mlp", reps=2)
    with pytest.raises(ValueError, match="the weight of this Linear is quantised"):
        CircuitLoRA(layer().to(torch.float8_e4m3fn), 2)


def test_rank_of_a_change_is_beyond_that_of_its_factors() -> None:
    numbers = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 20, generator=numbers), torch.randn(20, 2, generator=numbers)
    sine = torch.tensor([0.0, 1.0])
    assert torch.linalg.matrix_rank(weight_change(Form(1.0, 1.0), a, b, None)) == 2
    assert torch.linalg.matrix_rank(weight_change(Form(3.0, 1.0), a, b, sine)) == 20
