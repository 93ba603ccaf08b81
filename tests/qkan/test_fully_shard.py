"""FSDP on a CPU: it takes the memory of parameters away between calls, which kernels must not prevent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn

from qkan import DARUAN, GRKAN, HQKANLSTM, QKAN, QKANFWP, QKANGRU, QKANLSTM, QLSTM, QKANLayer, QKANLSTMCell

fsdp = pytest.importorskip("torch.distributed.fsdp")
MAKERS: dict[str, Callable[[], nn.Module]] = {
    "layer": lambda: QKANLayer(3, 4),
    "trained": lambda: QKANLayer(3, 4, preact_trainable=True),
    "bloch": lambda: QKANLayer(3, 4, backend="bloch"),
    "px": lambda: QKANLayer(3, 4, ansatz="px", reps=2),
    "input": lambda: QKANLayer(3, 4, group="input", postact_weight_trainable=True),
    "daruan": lambda: DARUAN(3),
    "network": lambda: QKAN([3, 4, 1]),
    "gr-kan": lambda: GRKAN(3, num_groups=3),
    "lstm": lambda: QKANLSTM(3, 4),
    "checkpoints": lambda: QKANLSTM(3, 4, checkpoint_steps=3),
    "gru": lambda: QKANGRU(3, 4),
    "hqkan": lambda: HQKANLSTM(3, 4),
    "qlstm": lambda: QLSTM(3, 4, qubits=2),
    "fwp": lambda: QKANFWP(3, 4),
    "cell": lambda: QKANLSTMCell(3, 4),
}


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if not distributed.is_gloo_available() or not hasattr(fsdp, "fully_shard"):
        pytest.skip("this PyTorch has no gloo or no fully_shard")
    store = Path(tmp_path_factory.mktemp("group")) / "store"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MAKERS)
def test_sharded_modules_train_as_others_do(group: None, name: str) -> None:
    del group
    x, losses = torch.rand(8, 3, generator=torch.Generator().manual_seed(1)), []
    for shard in (False, True):
        torch.manual_seed(0)
        module = MAKERS[name]()
        if shard:
            fsdp.fully_shard(module, mesh=distributed.device_mesh.init_device_mesh("cpu", (1,)))
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        for _ in range(3):
            y = module(x)
            loss = (y if isinstance(y, Tensor) else y[0]).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.detach())
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=0)
