"""Time the original authors' QKANLayer (PyPI ``qkan`` 0.2.3); runs in an environment of its own, see layer.py.

Prints one JSON object: solver -> milliseconds of forward and backward (median), or the reason why it cannot run.
"""

import json
import statistics
import sys
import time

import torch

from qkan import QKANLayer

batch, n_in, n_out, reps, rounds, threads = (int(value) for value in sys.argv[1:7])
torch.set_num_threads(threads)
x = torch.randn(batch, n_in, requires_grad=True)
results: dict[str, dict[str, float | str]] = {}
for trained in (False, True):
    timed: dict[str, float | str] = {}
    for solver in ("exact", "tn", "cutn", "flash", "cute", "cutile"):
        try:
            layer = QKANLayer(n_in, n_out, reps=reps, solver=solver, preact_trainable=trained)
            times = []
            for _ in range(rounds + 2):
                start = time.perf_counter()
                layer(x).sum().backward()
                times.append(1e3 * (time.perf_counter() - start))
            timed[solver] = statistics.median(times[2:])
        except Exception as error:  # noqa: BLE001  (whatever stops a peer is its result)
            timed[solver] = (
                f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120] if str(error).strip() else ''}"
            )
    results["trained pre-activations" if trained else "fixed pre-activations"] = timed
print(json.dumps({"qkan": "0.2.3", "torch": torch.__version__, "results": results}))
