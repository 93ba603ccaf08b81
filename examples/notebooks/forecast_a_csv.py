# %% [markdown]
# # From a CSV file to a forecast
#
# A file with a column of times and a column of values becomes a forecast with intervals, and a figure that says
# whether the forecast is better than repeating last week. A minute or two on a laptop.
#
# On the command line the same is `qkan forecast traffic.csv --horizon 24`.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from qkan.datasets import load_series
from qkan.forecasting import AutoForecaster, Forecaster

plt.rcParams["date.converter"] = "concise"

# %% tags=["parameters"]
DAYS = 62  # of the file that are used
EPOCHS = 30  # passes over the training windows
ORIGINS = 14  # moments to forecast from when the model is judged
CANDIDATES = ("naive", "seasonal-naive", "ridge", "theta", "hqkan")  # what is tried at the end

# %% [markdown]
# ## The file
#
# Mobile traffic of one square kilometre of Milan, hour by hour, which comes with the package. A file of your own needs
# one column of times and one of numbers; `time_col` and `target_col` name them if they are not `ds` and `y`.

# %%
panel = load_series("milan-24").frame
square = panel[panel["unique_id"] == "1063"].tail(DAYS * 24)
file = Path(tempfile.mkdtemp()) / "traffic.csv"
square[["ds", "y"]].to_csv(file, index=False)

traffic = pd.read_csv(file, parse_dates=["ds"])
traffic.insert(0, "unique_id", "square 1063")  # the name of the series
traffic.tail(3)

# %%
fig, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
last = traffic.tail(21 * 24)
ax.plot(last["ds"], last["y"], lw=1)
ax.set(ylabel="records per hour", title="The last three weeks: a day, a week, and Christmas")
plt.show()

# %% [markdown]
# ## One model
#
# An HQKAN-LSTM: a recurrent cell whose gates go through a narrow layer of single-qubit circuits. `window` is what it
# sees, `horizon` what it forecasts at once. The cell is small; level, skip and season around it do much of the work.

# %%
model = Forecaster("hqkan", window=48, horizon=24, epochs=EPOCHS)
judged = model.cross_validate(traffic, n_windows=ORIGINS, step_size=24)  # fitted on what was known at the first one

# %% [markdown]
# Each row is a forecast of an hour that the model had not seen. Beside it stands the value a week before, which costs
# nothing.

# %%
known = traffic.set_index("ds")["y"]
judged["a week before"] = [known[time - pd.Timedelta(days=7)] for time in judged["ds"]]
errors = {name: (judged[name] - judged["y"]).abs().mean() for name in (model.name, "a week before")}
for name, error in errors.items():
    print(f"{name:15s} mean absolute error {error:.2f}")

# %%
fig, ax = plt.subplots(figsize=(8, 2.8), layout="constrained")
ax.plot(judged["ds"], judged["y"], color="0.6", lw=2.2, label="observed")
ax.plot(judged["ds"], judged[model.name], color="tab:orange", lw=1.2, label=model.name)
ax.plot(judged["ds"], judged["a week before"], color="tab:blue", lw=0.8, ls="--", label="a week before")
ax.set(ylabel="records per hour", title="A day ahead, from one midnight after the other")
ax.margins(y=0.22)
ax.legend(frameon=False, ncols=3, loc="upper right")
plt.show()

# %% [markdown]
# ## What comes next
#
# Fitted on everything, with intervals made of the errors on the newest tenth, which did not train the model
# (split-conformal: they assume that tomorrow's errors are like those).

# %%
model.fit(traffic)
forecast = model.predict(level=[80, 90])
fig, ax = plt.subplots(figsize=(8, 2.8), layout="constrained")
last = traffic.tail(3 * 24)
ax.plot(last["ds"], last["y"], color="0.4", label="observed")
ax.plot(forecast["ds"], forecast[model.name], color="tab:orange", label=model.name)
for level, alpha in ((90, 0.15), (80, 0.25)):
    low, high = (forecast[f"{model.name}-{end}-{level}"] for end in ("lo", "hi"))
    ax.fill_between(forecast["ds"], low, high, color="tab:orange", alpha=alpha, lw=0, label=f"{level} %")
ax.set(ylabel="records per hour", title="The next day")
ax.legend(frameon=False, ncols=4)
plt.show()

# %% [markdown]
# ## Was that the right model?
#
# Ask before you believe in a network. `AutoForecaster` judges rules, a regression, statistical models and networks by
# the same past moments, and forecasts with what was best, or with a mean of the good ones.

# %%
auto = AutoForecaster(horizon=24, candidates=CANDIDATES).fit(traffic)
print("\n".join(auto.verdict))
auto.predict(level=[80]).head(3)
