"""Settings of the tests that run beside timm and transformers: `make test-ecosystem`."""

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the trials on Ray: they take longest, and mostly wait for processes to start."""
    items.sort(key=lambda item: item.path.name != "test_ray.py")
