# %% [markdown]
# # The classic KAN tutorial, with circuits
#
# The first example of the KAN paper ([arXiv 2404.19756](https://arxiv.org/abs/2404.19756)): samples of
# exp(sin(πx) + y²), and a network [2, 5, 1] that is larger than needed. Fit it, prune it, and read the formula off.
# Every edge is a single-qubit circuit here, where the paper has a spline. A few seconds on a laptop.

# %%
import math

import matplotlib.pyplot as plt
import torch

from qkan import QKAN

# %% tags=["parameters"]
SAMPLES = 500
STEPS = 400  # of the fit
FUNCTIONS = None  # elementary functions to try; None: all of the library

# %%
x = 2 * torch.rand(SAMPLES, 2, generator=torch.Generator().manual_seed(1000)) - 1
y = torch.exp(torch.sin(math.pi * x[:, :1]) + x[:, 1:] ** 2)
net = QKAN([2, 5, 1], generator=torch.Generator().manual_seed(0))

# %% [markdown]
# ## Fit
#
# Adam, then LBFGS. Without options a penalty on the entropy of the edges lets a few of them carry everything. Halfway,
# where the loss jumps, edges that carry nothing get the weight 0, and the rest goes on without the penalty.

# %%
history = net.fit(x, y, steps=STEPS)
print(f"lowest loss {history.best_loss:.1e}, of the variance {y.var().item():.2f}")
frame = history.to_frame()
fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
ax.semilogy(frame["step"], frame["train_loss"])
ax.set(xlabel="step", ylabel="mean squared error")
plt.show()

# %%
net.plot(x, input_names=["x", "y"], title="After the fit")

# %% [markdown]
# ## Prune
#
# The score of an edge is the share of what varies in the output that passes through it. What stays below the
# thresholds goes, and `compact` leaves out the nodes that nothing depends on any more.

# %%
print(net.prune(x))
net = net.compact()
print("width", net.width)
net.plot(x, input_names=["x", "y"], title="After pruning")

# %% [markdown]
# A sine, a parabola, and an exponential of their sum: the eye already reads it.
#
# ## Two formulas
#
# `to_sympy` writes down what the network *is*: every edge is a trigonometric polynomial, so that formula is exact, and
# long. `auto_symbolic` looks for elementary functions instead, and says how much they miss.

# %%
(exact,) = net.to_sympy(["x", "y"], digits=3, tolerance=0.05)
print("the network, without its smallest terms:", str(exact)[:160], "...")

# %%
symbolic = net.auto_symbolic(x, FUNCTIONS, y=y)
(formula,) = symbolic.symbolic_formula(["x", "y"], digits=4, tolerance=1e-3)
print("found:", formula)

# %%
error = (symbolic(x) - y).abs().max().item()
print(f"largest error on the samples: {error:.1e}")
symbolic.to_frame()

# %% [markdown]
# Not every seed and every function ends like this. x·y, for instance, is the difference of two squares, and is not
# found; how often four formulas are is in the documentation, "From data to a formula".
