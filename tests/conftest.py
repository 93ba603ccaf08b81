"""Settings that every test shares."""

import os

import torch
from hypothesis import settings

# These run in an environment of their own: `make test-ecosystem`.
collect_ignore = ["ecosystem"]

# Without a GPU the Triton kernels are interpreted. Triton asks when it is imported, which nothing above does.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# The tensors of the tests are small and the tests run in parallel processes, so more threads would only compete.
torch.set_num_threads(1)

settings.register_profile("qkan", deadline=None)
settings.load_profile("qkan")
