"""What kernels ask of the devices that Triton compiles for, on machines that have none."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from engines import without_numba

import qkan.kernels
from qkan import QKANLSTM, GroupRational, QKANLayer
from qkan.kernels import registry
from qkan.kernels.circuits.ansatz import ANSATZE
from qkan.kernels.circuits.bloch import triton_gpu as bloch_triton
from qkan.kernels.common import triton_device
from qkan.kernels.layer import CircuitLayer
from qkan.kernels.rational import api as rational
from qkan.kernels.rational import triton_gpu as rational_triton
from qkan.kernels.rational.types import Spec as RationalSpec
from qkan.kernels.recurrence import triton_gpu as recurrence_triton
from qkan.kernels.recurrence.types import Spec
from qkan.kernels.spectral.basis import Basis

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

from qkan.kernels.circuits.bloch import triton_kernels as bloch_triton_kernels
from qkan.kernels.rational import triton_kernels as rational_triton_kernels
from qkan.kernels.recurrence import triton_kernels as recurrence_triton_kernels

KERNELS = sorted(Path(qkan.kernels.__path__[0]).rglob("triton_*.py"))


def test_registers_are_bound_on_nvidia_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """AMD's compiler raises KeyError for the option, also where warps have 32 lanes (RDNA)."""
    assert triton_device.register_bound(168, 32) == {"maxnreg": 168}
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert triton_device.register_bound(168, 32) == {}
    assert triton_device.register_bound(168, 64) == {}


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_unrolled_loops_have_bounds_that_every_triton_takes(path: Path) -> None:
    """``max(M, N)`` of constants is a tensor before Triton 3.6, which is no bound of ``tl.static_range``."""
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("static_range"):
            inner = [node for bound in call.args for node in ast.walk(bound) if isinstance(node, ast.Call)]
            assert not inner, f"{path}:{call.lineno} {ast.unparse(call)}"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_device, "_failed", {})
    monkeypatch.setattr(triton_device, "_warned", set())
    triton_device.card_problem.cache_clear()


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[int, int]]:
    """CUDA devices by their capability, as PyTorch would tell of them; kernels are built for all."""
    found = {0: (9, 0), 1: (7, 5)}
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: found[device.index])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(triton_device, "on_device", lambda device: nullcontext())
    monkeypatch.setattr(triton_device, "build_probe", lambda: None)
    return found


def reasons(device: torch.device) -> list[str | None]:
    """What every Triton backend says of a device."""
    spec, basis = RationalSpec(1, (1, 1), "abs_sum"), Basis("fourier", 1)
    return [
        bloch_triton.unsupported_reason(
            ansatz=ANSATZE["pz"], reps=1, device=device, dtype=torch.float32, per_sample=False
        ),
        rational_triton.unsupported_reason(spec, (OnDevice(device),)),
        recurrence_triton.unsupported_reason(
            Spec("lstm", basis), (OnDevice(device), torch.zeros(2, 3, 12), torch.zeros(12), None, None, None)
        ),
    ]


class OnDevice:
    """As much of a tensor as backends ask about."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.dtype = device, torch.float32


@pytest.mark.usefixtures("cards")
def test_cards_without_what_the_kernels_need_are_refused() -> None:
    assert reasons(torch.device("cuda")) == reasons(torch.device("cuda:0")) == [None] * 3
    assert (
        reasons(torch.device("cuda:1")) == ["Tesla T4 has compute capability 7.5, and the Triton kernels need 8.0"] * 3
    )


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Failed to find C compiler. Please specify via CC environment variable."),
        subprocess.CalledProcessError(1, ["gcc", "cuda_utils.c"]),
    ],
)
def test_without_a_c_compiler_every_backend_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(triton_device, "build_probe", fail)
    for reason in reasons(torch.device("cuda:0")):
        assert str(reason).startswith("Triton cannot build or start its probe on cuda:0: ")
        assert str(reason).endswith("; install a C compiler and Python's headers (apt install gcc python3-dev)")


def broken(*given: Any, **options: Any) -> Any:
    raise RuntimeError("PassManager::run failed\nand much more")


class BrokenKernel:
    def __getitem__(self, grid: Any) -> Any:
        return broken


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """``auto`` chooses as on a GPU: kernels of CPUs take nothing, interpreted ones anything."""
    without_numba(monkeypatch)
    monkeypatch.setattr(registry, "_on_cpu", lambda tensors: False)
    engines = tuple(engine for engine in rational.BACKENDS.engines if engine.name != "numba")
    monkeypatch.setattr(rational, "BACKENDS", registry.Registry("this activation", engines))
    monkeypatch.setattr(CircuitLayer, "choose", lambda layer, x: ("bloch" if triton_device._failed else "triton", None))


MODULES: dict[str, tuple[Callable[[str], torch.nn.Module], Any]] = {
    "circuits": (lambda backend: QKANLayer(3, 2, 1, backend=backend), bloch_triton_kernels),
    "rational": (lambda backend: GroupRational(3, 1, backend=backend), rational_triton_kernels),
    "recurrence": (lambda backend: QKANLSTM(3, 2, reps=1, backend=backend), recurrence_triton_kernels),
}


def values(module: torch.nn.Module) -> list[torch.Tensor]:
    x = torch.linspace(-1, 1, 12).view(2, 2, 3).requires_grad_()
    y = module(x)
    y = y[0] if isinstance(y, tuple) else y
    return [y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])]


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("kernel", ["forward_kernel", "backward_kernel"])
@pytest.mark.parametrize("kind", MODULES)
def test_auto_computes_in_pytorch_what_cannot_be_built_and_says_so_once(
    kind: str, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, kernels = MODULES[kind]
    torch.manual_seed(0)
    module, reference = make("auto"), make("reference")
    reference.load_state_dict(module.state_dict())
    monkeypatch.setattr(kernels, kernel, BrokenKernel())
    with pytest.warns(UserWarning, match=r"backend 'auto' computes in PyTorch: Triton cannot build") as said:
        found, _ = values(module), values(module)
    assert len([w for w in said if "'auto'" in str(w.message)]) == 1
    assert "RuntimeError: PassManager::run failed" in str(said[0].message)
    monkeypatch.undo()
    for value, truth in zip(found, values(reference), strict=True):
        torch.testing.assert_close(value, truth, rtol=0, atol=3e-6)


@pytest.mark.parametrize("kernel", ["forward_kernel", "backward_kernel"])
@pytest.mark.parametrize("kind", MODULES)
def test_a_backend_by_name_raises_where_it_cannot_be_built(
    kind: str, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, kernels = MODULES[kind]
    monkeypatch.setattr(kernels, kernel, BrokenKernel())
    with pytest.raises(ValueError, match=r"Triton cannot build .* PassManager::run failed; use backend 'auto'"):
        values(make("triton"))
