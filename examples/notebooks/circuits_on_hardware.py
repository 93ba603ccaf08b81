# %% [markdown]
# # A circuit on hardware terms
#
# On a computer this package evaluates its circuits exactly. A quantum processor would measure them, shot by shot, with
# noise. This notebook takes one trained circuit there, simulated gate by gate in PennyLane, and counts what a whole
# forecast would need. It needs `pip install 'qkan-seq[pennylane]'`; half a minute on a laptop.

# %%
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch

from qkan import PennyLane, QKANLayer
from qkan.forecasting import TrainConfig, build_forecaster
from qkan.validation import demand

# %% tags=["parameters"]
STEPS = 300  # of training
REPEATS = 20  # of every measurement, to see how much it scatters
SHOTS = (100, 400, 1600, 6400)

# %% [markdown]
# ## A trained circuit
#
# One edge that learns a bent curve. Its three repetitions read x three times, so its spectrum has frequencies up to 3.

# %%
torch.manual_seed(0)
x = torch.linspace(-2, 2, 101)[:, None]
y = 0.6 * torch.sin(2 * x) - 0.3 * torch.cos(3 * x)
layer = QKANLayer(1, 1, reps=3)
optimizer = torch.optim.Adam(layer.parameters(), 0.03)
for _ in range(STEPS):
    loss = (layer(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"root mean squared error {loss.item() ** 0.5:.3f}")

edge = layer.edge(0, 0)
print(edge.text(0.5))
print(edge.openqasm(0.5)[:170], "...")
spectrum = layer.spectrum(0, 0)
print("frequencies", np.round(np.asarray(spectrum.frequencies), 3))

# %% [markdown]
# ## Shots
#
# A measurement gives +1 or -1, and the value is the mean of many. Its standard error is sqrt((1 - <Z>²) / shots): a
# hundred times the shots for another digit. Weights behind a circuit stretch its error with it.

# %%
few = x[::10]
exact = layer(few).detach()
measured = copy.deepcopy(layer)
errors = []
for shots in SHOTS:
    measured.backend = PennyLane(shots=shots, seed=0)
    with torch.no_grad():
        off = torch.stack([measured(few) - exact for _ in range(REPEATS)])
    errors.append(off.square().mean().sqrt().item())
    print(f"{shots:6,d} shots   error {errors[-1]:.4f}")

fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
ax.loglog(SHOTS, errors, "o-", label="measured")
ax.loglog(SHOTS, errors[0] * np.sqrt(SHOTS[0] / np.array(SHOTS)), "k--", lw=0.8, label="1 / sqrt(shots)")
ax.set(xlabel="shots of every circuit", ylabel="error of the output")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Noise
#
# More shots average chance away, but not noise: a depolarising gate shrinks the whole curve towards zero. Here every
# gate depolarises with probability p, and 2 % of the readings are wrong.

# %%
fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
ax.plot(x, y, color="0.7", lw=3, label="target")
for p in (0.0, 0.01, 0.05):
    measured.backend = PennyLane(noise=f"depolarizing={p},readout=0.02" if p else None)
    with torch.no_grad():
        noisy = measured(x)
    print(f"p = {p:4.2f}: root mean squared error {(noisy - y).square().mean().sqrt().item():.3f}")
    ax.plot(x, noisy, label=f"p = {p}")
ax.set(xlabel="x", ylabel="output")
ax.legend(frameon=False, ncols=4)
plt.show()

# %% [markdown]
# ## What a forecast would need
#
# One forecast of one window, with a QKAN-LSTM whose every edge has a circuit of its own, as published. A circuit runs
# for every edge and every time step, and the steps wait for each other.

# %%
config = TrainConfig(
    data="telecom", cell="qkan", group="edge", hidden_size=4, window=12, horizon=1, level="last", season="none",
    order="steps", scaler="minmax",
)  # fmt: skip
needed = demand(build_forecaster(config, torch.Generator().manual_seed(0)), precision=0.01)
print(f"{needed.circuits:,} circuits, {needed.gates:,} gates, {needed.shots:,} shots for an error of 0.01 of every <Z>")
for name, microseconds in (("superconducting, 10 µs a shot", 10), ("trapped ions, 1 ms a shot", 1000)):
    print(f"{name}: {needed.shots * microseconds / 6e7:,.1f} minutes for one forecast")

# %% [markdown]
# The times a shot are round numbers for orders of magnitude, without queues and without the time to load circuits. The
# forecast itself takes well under a millisecond here, exactly, because a circuit of one qubit is three real numbers. So
# hardware is no reason to use this package; the circuits are here for what they compute.
