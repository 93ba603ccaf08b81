"""Settings of the tests that run beside timm: `make test-timm`."""

import torch

torch.set_num_threads(1)
