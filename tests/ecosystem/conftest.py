"""Settings of the tests that run beside timm and transformers: `make test-ecosystem`."""

import torch

torch.set_num_threads(1)
