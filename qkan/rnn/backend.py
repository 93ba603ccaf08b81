"""The option ``backend`` of recurrent modules: what walks over a whole sequence, or what evaluates every step."""

from __future__ import annotations

from torch import nn

from qkan.kernels.backends import BACKENDS, SIMULATORS, Backend, Simulator, check_backend
from qkan.kernels.recurrence import api as recurrence
from qkan.layers.qkan_layer import QKANLayer

#: Backends that run whole sequences of gates that are a matrix product over features.
ENGINES = tuple(engine.name for engine in recurrence.ENGINES.engines)
#: All names: of those, and of what layers take, by which gates are evaluated step by step.
NAMES = tuple(dict.fromkeys(("auto", *ENGINES, "reference", *BACKENDS, *SIMULATORS)))


def whole_sequences(backend: Backend) -> bool:
    """Whether under ``backend`` whole sequences run at once, if gates are a matrix product over features."""
    return backend == "auto" or backend in ENGINES


def for_layers(backend: Backend) -> Backend:
    """The ``backend`` of the layers in the gates of a recurrent module with this one.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor a simulator.
    """
    if isinstance(backend, Simulator):
        return backend
    if not isinstance(backend, str):
        raise TypeError(f"backend must be a name or a simulator such as PennyLane(), got {type(backend).__name__}")
    if backend not in NAMES:
        raise ValueError(f"unknown backend {backend!r}; use one of {', '.join(NAMES)}")
    return "auto" if whole_sequences(backend) else backend


class HasBackend(nn.Module):
    """A recurrent module with the option ``backend``, which its layers follow when it changes."""

    _backend: Backend = "auto"

    @property
    def backend(self) -> Backend:
        """What runs; see :class:`qkan.QKANLSTM`. Setting it checks the value.

        Raises:
            ValueError: an unknown name, or one that cannot run the circuits of the gates.
            TypeError: neither a name nor a simulator.
        """
        return self._backend

    @backend.setter
    def backend(self, backend: Backend) -> None:
        self._use_backend(backend)
        self._backend = backend

    def _use_backend(self, backend: Backend) -> None:
        """Check ``backend`` and hand it to what follows it."""
        own, layers = for_layers(backend), [layer for layer in self.modules() if isinstance(layer, QKANLayer)]
        for layer in layers:
            check_backend(own, layer.ansatz, layer.readout)
        for layer in layers:
            layer.backend = own
