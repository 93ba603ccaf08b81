"""The exact Fourier spectrum of an edge."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qkan import Ansatz, QKANLayer

BENT = Ansatz("bent", ("rx", "z", "ry"), "ry", ("x", "rz", "rx"), initial=(0.48, -0.6, 0.64))


def random_edge(ansatz: str | Ansatz, reps: int, trained: bool, seed: int) -> QKANLayer:
    layer = QKANLayer(1, 1, reps, ansatz=ansatz, preact_trainable=trained, base_activation=None, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(6 * torch.rand(parameter.shape, generator=generator, dtype=torch.float64) - 3)
    return layer


@given(
    ansatz=st.sampled_from(("pz", "rpz", "real", "mix", BENT)),
    reps=st.integers(1, 5),
    trained=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_waves_add_up_to_the_circuit(ansatz: str | Ansatz, reps: int, trained: bool, seed: int) -> None:
    layer = random_edge(ansatz, reps, trained, seed)
    spectrum = layer.spectrum(0, 0)
    x = torch.linspace(-20, 20, 41, dtype=torch.float64)
    layer.backend = "reference"
    assert torch.allclose(spectrum(x), layer(x[:, None])[:, 0], rtol=0, atol=1e-12)
    assert torch.allclose(spectrum.frequencies, -spectrum.frequencies.flip(0), rtol=0, atol=1e-12)
    assert torch.allclose(spectrum.coefficients, spectrum.coefficients.conj().flip(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reps", range(1, 8))
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "mix"])
def test_trained_weights_give_exponentially_many_frequencies(ansatz: str, reps: int) -> None:
    assert random_edge(ansatz, reps, True, 1).spectrum(0, 0).distinct(1e-12) == (3**reps + 1) // 2


@pytest.mark.parametrize("reps", range(1, 8))
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "mix"])
def test_fixed_weights_give_one_frequency_more_than_repetitions(ansatz: str, reps: int) -> None:
    spectrum = random_edge(ansatz, reps, False, 1).spectrum(0, 0)
    assert spectrum.distinct(1e-12) == reps + 1
    assert spectrum.frequencies.tolist() == pytest.approx(list(range(-reps, reps + 1)), abs=1e-12)


@pytest.mark.parametrize("trained", [False, True])
def test_the_ansatz_real_has_one_frequency_whatever_its_repetitions(trained: bool) -> None:
    # All its turns are about one axis, so they add up to a single one.
    assert [random_edge("real", reps, trained, 0).spectrum(0, 0).distinct() for reps in range(1, 6)] == [1] * 5


def test_frequencies_are_sums_of_the_weights() -> None:
    layer = random_edge("pz", 2, True, 0)
    with torch.no_grad():
        layer.preact_weight.copy_(torch.tensor([1.0, 2.5]))
    assert layer.spectrum(0, 0).frequencies.tolist() == pytest.approx([-3.5, -2.5, -1.5, -1, 0, 1, 1.5, 2.5, 3.5])


def test_one_repetition_by_hand() -> None:
    # pz with zero angles but the last RZ at a and RY at b: phi(x) = -sin(b) cos(x + a).
    layer = random_edge("pz", 1, False, 0)
    with torch.no_grad():
        layer.theta.zero_()
        layer.theta[0, 0, 1] = torch.tensor([0.4, 0.7])
    spectrum = layer.spectrum(0, 0)
    angle, height = torch.tensor(0.4), -torch.sin(torch.tensor(0.7)) / 2
    assert spectrum.frequencies.tolist() == [-1, 1]
    assert spectrum.coefficients[1].item() == pytest.approx(
        complex(height * angle.cos(), height * angle.sin()), abs=1e-7
    )


def test_a_group_shares_its_spectra() -> None:
    layer = QKANLayer(3, 2, 2, group=2, preact_trainable="input", postact_weight_trainable=True, init="normal")
    with torch.no_grad():
        layer.preact_weight.uniform_(0.5, 2.0)
    first, second = layer.spectrum(0, 0), layer.spectrum(1, 2)
    assert torch.equal(first.coefficients, second.coefficients)
    assert not torch.equal(first.coefficients, layer.spectrum(0, 1).coefficients)


def test_what_has_no_spectrum_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"ansatz 'px' encodes acos\(w x \+ b\), so its circuit is no sum of waves in x"
    ):
        QKANLayer(1, 1, 1, ansatz="px").spectrum(0, 0)
    with pytest.raises(ValueError, match="no circuit measures readout 'amplitude'"):
        QKANLayer(1, 1, 1, readout="amplitude").spectrum(0, 0)
    with pytest.raises(ValueError, match="13 repetitions with trained pre-activations have more than 531,441"):
        random_edge("pz", 13, True, 0).spectrum(0, 0)
    assert random_edge("pz", 13, False, 0).spectrum(0, 0).distinct(1e-12) == 14  # few, as they are equal


def test_the_plot_shows_every_frequency(tmp_path: Path) -> None:
    spectrum = random_edge("pz", 2, True, 1).spectrum(0, 0)
    figure = spectrum.plot(tmp_path / "spectrum.png")
    (axes,) = figure.axes
    assert axes.get_title() == "5 frequencies"
    assert len(axes.lines[0].get_xdata()) == 5
    assert (tmp_path / "spectrum.png").read_bytes().startswith(b"\x89PNG")
