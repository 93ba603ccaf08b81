"""Settings that every test shares."""

import torch
from hypothesis import settings

# The tensors of the tests are small and the tests run in parallel processes, so more threads would only compete.
torch.set_num_threads(1)

settings.register_profile("qkan", deadline=None)
settings.load_profile("qkan")
