import logging
import math
import signal
import threading

import numpy as np
import pytest
import torch
from tiny_runs import tiny_config

from qkan.forecasting import RunError, build_forecaster
from qkan.forecasting.data.batches import WindowTensors, predict_windows
from qkan.forecasting.data.loaders import epoch_seed, resolve_batch_size
from qkan.forecasting.training.checkpoints import AtomicCheckpointIO
from qkan.forecasting.training.distributed import resolve_device
from qkan.forecasting.training.loop import FitResult, fit


def windows(count: int, offset: float = 0.0) -> WindowTensors:
    wave = torch.sin(0.4 * torch.arange(count + 5, dtype=torch.float32) + offset)
    return WindowTensors(wave[:, None], torch.zeros(count + 5, 0), None, torch.arange(count), window=4, horizon=1)


def pairs(data: WindowTensors) -> tuple[torch.Tensor, torch.Tensor]:
    batch = data.batch(torch.arange(len(data)))
    return batch.arguments[0], batch.targets


_NO_WINDOWS = windows(0)


def run(config=None, validation=None, model=None, **options) -> tuple[torch.nn.Module, FitResult]:
    config = config or tiny_config(epochs=4, batch_size=16, lr=0.03)
    model = model or build_forecaster(config, torch.Generator().manual_seed(config.seed))
    return model, fit(model, windows(60), windows(20, 0.3) if validation is None else validation, config, **options)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=0)


class Watcher:
    """Remembers reports; ``at_epoch`` is called at the end of the epoch of that number."""

    def __init__(self, at_epoch=None):
        self.at_epoch, self.reports, self.steps = at_epoch or {}, [], 0

    def start(self, epochs, steps, done=0):
        self.reports.append(("start", epochs, steps, done))

    def step(self, loss, count=1):
        assert math.isfinite(loss)
        self.steps += count

    def epoch(self, metrics):
        self.reports.append(("epoch", metrics["epoch"]))
        if metrics["epoch"] in self.at_epoch:
            self.at_epoch[metrics["epoch"]]()

    def finish(self):
        self.reports.append(("finish",))


def test_training_equals_a_plain_loop():
    config = tiny_config(epochs=2, batch_size=16, lr=0.03)
    trained, result = run(config, _NO_WINDOWS)
    plain = build_forecaster(config, torch.Generator().manual_seed(0))
    inputs, targets = pairs(windows(60))
    optimizer = torch.optim.Adam(plain.parameters(), lr=config.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=8)
    means = []
    for epoch in range(2):
        order, losses = torch.randperm(60, generator=torch.Generator().manual_seed(epoch_seed(0, epoch))), []
        for index in order.split(16):
            loss = torch.nn.functional.mse_loss(plain(inputs[index]), targets[index])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        means.append(np.mean(losses))
    torch.testing.assert_close(weights(trained), weights(plain), rtol=1e-5, atol=1e-7)
    assert [row["train_loss"] for row in result.history] == pytest.approx(means, rel=1e-5)


def test_best_validation_weights_are_kept():
    model, result = run(tiny_config(epochs=12, batch_size=8, lr=1.0, patience=100))
    losses = [row["val_loss"] for row in result.history]
    assert result.best_epoch == int(np.argmin(losses)) + 1
    assert result.best_epoch < len(losses)  # a learning rate of 1 does not end at its best
    data = windows(20, 0.3)
    loss = torch.nn.functional.mse_loss(predict_windows(model, data)[:, :, 0], pairs(data)[1]).item()
    assert loss == pytest.approx(result.best_loss, rel=1e-6)


def test_training_stops_when_validation_no_longer_improves_if_asked_to():
    _, result = run(tiny_config(epochs=60, batch_size=8, lr=1.0, patience=3))
    assert len(result.history) == result.best_epoch + 3 < 60
    _, whole = run(tiny_config(epochs=60, batch_size=8, lr=1.0))
    assert len(whole.history) == 60
    assert whole.history[: len(result.history)] == result.history


def test_without_validation_all_epochs_are_trained_and_the_last_weights_kept():
    _, result = run(tiny_config(epochs=5, batch_size=8, lr=1.0, patience=1), _NO_WINDOWS)
    assert (len(result.history), result.best_epoch) == (5, 5)
    assert set(result.history[0]) == {"epoch", "train_loss", "lr"}


@pytest.mark.parametrize("cell", ["qkan", "hqkan", "lowrank", "lstm", "gru", "gr-kan"])
def test_every_cell_learns(cell):
    _, result = run(tiny_config(cell=cell, epochs=8, batch_size=8, lr=0.1))
    assert result.best_loss < 0.5 * result.history[0]["val_loss"]


def test_same_seed_repeats_and_another_does_not():
    (one, _), (two, _) = run(), run()
    assert_same_weights(one, two)
    other, _ = run(tiny_config(epochs=4, batch_size=16, lr=0.03, seed=1))
    assert not torch.equal(one.head.weight, other.head.weight)


def test_global_random_state_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    run()
    assert torch.equal(torch.get_rng_state(), before)


def test_lightning_stays_quiet_and_its_logger_as_it_was(capfd):
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    run()
    assert capfd.readouterr() == ("", "")
    assert logger.level == level


def test_progress_is_reported_in_order():
    watcher = Watcher()
    run(progress=watcher)
    assert watcher.reports == [("start", 4, 4, 0), *(("epoch", e) for e in (1, 2, 3, 4)), ("finish",)]
    assert watcher.steps == 16


class Dropping(torch.nn.Module):
    """A forecaster that draws random numbers while it trains."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))

    def forward(self, inputs):
        return self.net(inputs)


def dropping() -> Dropping:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Dropping()


def crash() -> None:
    raise ConnectionResetError("crash")


@pytest.mark.parametrize("moment", [2, 3, 4])
def test_run_with_dropout_resumes_exactly_after_a_crash(tmp_path, moment):
    reference, expected = run(model=dropping())
    checkpoint = tmp_path / "last.ckpt"
    with pytest.raises(ConnectionResetError):
        run(model=dropping(), checkpoint=checkpoint, progress=Watcher({moment: crash}))
    watcher = Watcher()
    resumed, result = run(model=dropping(), checkpoint=checkpoint, progress=watcher)
    assert_same_weights(reference, resumed)
    assert (result.history, result.best_epoch, result.best_loss) == (
        expected.history,
        expected.best_epoch,
        expected.best_loss,
    )
    assert 0 < watcher.reports[0][3] < moment  # epochs done before, as told to start()


def test_early_stop_survives_resuming(tmp_path):
    config = tiny_config(epochs=60, batch_size=8, lr=1.0, patience=3)
    reference, expected = run(config, checkpoint=tmp_path / "a.ckpt")
    again, result = run(config, checkpoint=tmp_path / "a.ckpt")  # killed after the last epoch, before the results
    assert result.history == expected.history
    assert_same_weights(reference, again)


def test_finished_checkpoint_trains_no_more(tmp_path):
    reference, _ = run(checkpoint=tmp_path / "a.ckpt")
    watcher = Watcher()
    again, _ = run(checkpoint=tmp_path / "a.ckpt", progress=watcher)
    assert watcher.reports == [("start", 4, 4, 4), ("finish",)]
    assert_same_weights(reference, again)


def test_interrupt_from_the_keyboard_surfaces_and_resumes_exactly(tmp_path):
    reference, _ = run()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="resume it from its last checkpoint"):
        run(checkpoint=tmp_path / "a.ckpt", progress=Watcher({3: lambda: signal.raise_signal(signal.SIGINT)}))
    assert signal.getsignal(signal.SIGINT) is before
    resumed, _ = run(checkpoint=tmp_path / "a.ckpt")
    assert_same_weights(reference, resumed)


def test_exit_that_is_no_interrupt_stays_an_exit():
    def leave():
        raise SystemExit(3)

    with pytest.raises(SystemExit) as raised:
        run(progress=Watcher({1: leave}))
    assert raised.value.code == 3


def test_training_works_outside_the_main_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(run()))
    thread.start()
    thread.join()
    assert_same_weights(results[0][0], run()[0])


def test_divergence_stops_and_is_reported():
    model = dropping()
    with torch.no_grad():
        model.net[2].weight.fill_(float("inf"))
    _, result = run(model=model)
    assert result.diverged
    assert (len(result.history), result.best_epoch, result.best_loss) == (1, 0, math.inf)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half an archive"])
def test_damaged_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(RunError, match=r"cannot read the checkpoint .*a\.ckpt.*overwrite=True"):
        run(checkpoint=tmp_path / "a.ckpt")


def test_checkpoint_that_would_execute_code_is_refused(tmp_path):
    torch.save({"x": Watcher()}, tmp_path / "a.ckpt")
    with pytest.raises(RunError, match="cannot read the checkpoint"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "a.ckpt", weights_only=False)


def test_checkpoint_can_be_removed(tmp_path):
    plugin = AtomicCheckpointIO()
    plugin.save_checkpoint({"x": torch.ones(2)}, tmp_path / "a.ckpt")
    assert plugin.load_checkpoint(tmp_path / "a.ckpt")["x"].tolist() == [1, 1]
    plugin.remove_checkpoint(tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_that_take_long_are_written_less_often(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr("qkan.forecasting.training.loop._CHECKPOINT_SHARE", 0.0)  # no time at all for checkpoints

    def save(self, checkpoint, path, storage_options=None):
        saved.append(checkpoint["epoch"])

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", save)
    run(checkpoint=tmp_path / "a.ckpt")
    assert saved == [0, 3]  # the first takes an unknown time, the last is needed


@pytest.mark.parametrize(
    ("given", "count", "expected"),
    [
        *((None, 164, 8), (None, 600, 16), (None, 1100, 32), (None, 19_400, 128), (None, 5, 5)),
        *((None, 131_071, 128), (None, 131_072, 256), (None, 1_018_000, 1024), (None, 2**23 - 1, 1024)),
        *((None, 2**23, 2048), (None, 10**8, 8192)),
        *((64, 1000, 64), (64, 7, 7)),
    ],
)
def test_batch_size(given, count, expected):
    assert resolve_batch_size(given, count) == expected


def test_epoch_seeds_differ_and_never_change():
    seeds = [epoch_seed(seed, epoch) for seed in range(5) for epoch in range(5)]
    assert len(set(seeds)) == 25
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert epoch_seed(0, 1) == 2918264622725855778


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"device 'cuda' is not available: PyTorch sees 0 CUDA devices"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda", 0)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match=r"device 'cuda:2' is not available: PyTorch sees 2 CUDA devices"):
        resolve_device("cuda:2")


def test_predictions_do_not_depend_on_the_mode_and_keep_it():
    model = dropping().train()
    first, second = predict_windows(model, windows(10)), predict_windows(model, windows(10))
    assert model.training
    assert torch.equal(first, second)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_matches_the_cpu():
    config = tiny_config(epochs=2, batch_size=16, lr=0.03, device="cuda")
    on_cpu, _ = run(tiny_config(epochs=2, batch_size=16, lr=0.03))
    model = build_forecaster(config, torch.Generator().manual_seed(0)).cuda()
    on_gpu, _ = run(config, model=model)
    torch.testing.assert_close(weights(on_gpu.cpu()), weights(on_cpu), rtol=1e-3, atol=1e-4)
