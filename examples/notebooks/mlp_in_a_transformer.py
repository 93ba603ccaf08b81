# %% [markdown]
# # An HQKAN in the place of a transformer's MLP
#
# Two thirds of a transformer's parameters are in its MLPs. `qkan.replace_mlp` finds these and puts an HQKAN in the
# place of each: an affine map to a narrow layer, single-qubit circuits there, an affine map back. Does the smaller
# model forecast as well? A minute or two on a laptop.

# %%
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import qkan
from qkan.datasets import load_series

# %% tags=["parameters"]
STEPS = 400  # of training
SEEDS = 3

# %% [markdown]
# ## The task
#
# The next value of the Mackey-Glass system, a chaotic series, from the last 16.

# %%
WINDOW = 16
values = torch.tensor(load_series("mackey-glass").frame["y"].to_numpy(), dtype=torch.float32)
values = (values - values.mean()) / values.std()
windows = values.unfold(0, WINDOW + 1, 1)
cut = int(0.7 * len(windows))  # in the order of time: the newest windows test
train, test = windows[:cut], windows[cut:]


class Transformer(nn.Module):
    """A plain encoder that reads one value a step and forecasts the next one."""

    def __init__(self, width: int = 32):
        super().__init__()
        self.embed = nn.Linear(1, width)
        self.position = nn.Parameter(0.02 * torch.randn(WINDOW, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x[..., None]) + self.position)[:, -1]).squeeze(-1)


# %% [markdown]
# ## The replacement
#
# `parameters=0.25` asks for the widest inner layer with at most a quarter of what the MLP had. The report says what
# happened; `report.undo()` takes it back. Make the optimizer afterwards: the parameters are new.

# %%
torch.manual_seed(0)
small = Transformer()
print(qkan.replace_mlp(small, parameters=0.25))

# %% [markdown]
# ## Both, trained alike


# %%
def trained(seed: int, *, share: float | None) -> tuple[float, float, int]:
    """Test error, seconds and parameters of a model with MLPs (None) or with HQKANs of that share of them."""
    torch.manual_seed(seed)
    model = Transformer()
    if share is not None:
        qkan.replace_mlp(model, parameters=share)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    begin = time.perf_counter()
    for _ in range(STEPS):
        batch = train[torch.randint(len(train), (64,))]
        loss = (model(batch[:, :-1]) - batch[:, -1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - begin
    model.eval()
    with torch.no_grad():
        error = (model(test[:, :-1]) - test[:, -1]).square().mean().sqrt().item()
    return error, seconds, sum(p.numel() for p in model.parameters())


kinds = {"MLP": None, "HQKAN, as many parameters": 1.0, "HQKAN, a quarter": 0.25}
results = {name: [trained(seed, share=share) for seed in range(SEEDS)] for name, share in kinds.items()}
naive = (test[:, -2] - test[:, -1]).square().mean().sqrt().item()
print(f"{'':26s} parameters   test RMSE, {SEEDS} seeds          seconds")
for name, runs in results.items():
    errors = " ".join(f"{error:.4f}" for error, _, _ in sorted(runs))
    print(f"{name:26s} {runs[0][2]:10,d}   {errors:24s} {sum(run[1] for run in runs) / len(runs):8.1f}")
print(f"{'the last value again':26s} {'':10s}   {naive:.4f}")

# %%
fig, ax = plt.subplots(figsize=(7, 2.2), layout="constrained")
for row, runs in enumerate(results.values()):
    ax.plot([error for error, _, _ in runs], [row] * len(runs), "o", alpha=0.7)
ax.set_yticks(range(len(results)), [f"{name}\n{runs[0][2]:,} parameters" for name, runs in results.items()])
ax.set(xlabel="test RMSE, in standard deviations of the series", xlim=(0, None))
ax.invert_yaxis()
plt.show()

# %% [markdown]
# Three seeds on one small task are an example, not evidence. Measured comparisons, with equal tuning and with the
# cases that are lost, are in the results of the documentation.
