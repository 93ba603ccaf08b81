# %% [markdown]
# # What a circuit has learned
#
# A circuit of this package is a short Fourier series, exactly, so what it has learned can be read off. Here a
# QKAN-LSTM learns the mobile traffic of one square kilometre of Milan, hour by hour, and shows the day that it believes
# in: as a curve over that of the data, and as a formula.
#
# On the command line: `qkan plot season RUN`.

# %%
import matplotlib.pyplot as plt
import numpy as np

from qkan.datasets import load_series
from qkan.forecasting import Forecaster

# %% tags=["parameters"]
EPOCHS = 30

# %%
panel = load_series("milan-24").frame
traffic = panel[panel["unique_id"] == "1063"]
model = Forecaster("qkan", hidden_size=2, window=24, horizon=1, season=(24,), epochs=EPOCHS).fit(traffic)
print(f"{model.name} with {sum(p.numel() for p in model.run.model.parameters())} trained numbers")

# %% [markdown]
# ## The day
#
# The model forecasts on and on, fed with its own forecasts. What it then repeats is the day that it believes in. No
# value of the data enters this curve behind the first window.

# %%
profile = model.season_profile()
day = profile.mean(24)
clock = profile.clocks[24]
ticks = [step for step, _ in clock.ticks], [label for _, label in clock.ticks]

fig, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.plot(day.index, day["y"], color="0.6", lw=2.5, label="mean day of the data")
ax.plot(day.index, day[profile.model], color="tab:orange", label="the day that the model repeats")
ax.set_xticks(*ticks)
ax.set(xlabel=clock.name, ylabel="records per hour")
ax.legend(frameon=False)
plt.show()
print(f"It leaves {100 * profile.unexplained(24):.1f} % of the variance of the mean day over.")

# %% [markdown]
# ## The formula
#
# A part of this day is added to every forecast as it is, by circuits that read the time of day and nothing else. A
# circuit with R repetitions is a trigonometric polynomial with R harmonics. So the sentence below is what the circuits
# compute, not a fit to it.

# %%
for sentence in profile.sentences(24):
    print(sentence)

# %% [markdown]
# The formula beside the circuits themselves, at every hour of the day, and all that the clock changes in a forecast:

# %%
formula = profile.formula(24)
difference = np.abs(formula(day.index.to_numpy()) - day["term"]).max()
print(f"largest difference {difference:.1e}, of {day['term'].max() - day['term'].min():.2f} from top to bottom")

fig, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
ax.plot(day.index, day["term"], color="tab:blue", lw=3, alpha=0.4, label="the circuits")
ax.plot(day.index, formula(day.index.to_numpy()), color="k", lw=0.9, ls="--", label="the formula")
ax.plot(day.index, day["effect"], color="tab:orange", lw=1, label="all that the clock changes")
ax.set_xticks(*ticks)
ax.set(xlabel=clock.name, ylabel="added to a forecast")
ax.legend(frameon=False, ncols=3)
plt.show()

# %% [markdown]
# What else the clock changes goes through the cell, where it meets the last values. A forecast starts from the level
# of its window, so the clock adds only what will be different from now, which is less than the day itself.
