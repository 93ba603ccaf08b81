"""What a walk in the backward pass reads: the tensors of the first walk, whatever the modules hold by then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class Held:
    """The tensors inside of a module: parameters, buffers, and those that hooks of torch.nn.utils set.

    Handed over as tensors, they are among what PyTorch keeps the versions of, and one that was written to in between
    is an error, as for nn.LSTM.

    Attributes:
        tensors: those that are there.
    """

    def __init__(self, root: nn.Module) -> None:
        self._places: list[tuple[dict[str, Any], str, bool]] = []
        self._names: list[str] = []
        self.tensors: list[Tensor] = []
        for prefix, module in root.named_modules():
            for kind in (module._parameters, module._buffers, module.__dict__):
                for name, value in kind.items():
                    there = isinstance(value, Tensor)
                    if there or (value is None and kind is not module.__dict__):
                        self._places.append((kind, name, there))
                    if there:
                        self._names.append(f"{prefix}.{name}" if prefix else name)
                        self.tensors.append(value)
        self._versions = self._found_versions()

    def _found_versions(self) -> list[int]:
        return [0 if tensor.is_inference() else tensor._version for tensor in self.tensors]

    def check_unwritten(self) -> None:
        """Check that the walk itself has written to none of them.

        Raises:
            RuntimeError: it has; a second walk would find other values, and write once more.
        """
        for name, before, now in zip(self._names, self._versions, self._found_versions(), strict=True):
            if before != now:
                raise RuntimeError(
                    f"checkpoint_steps walks twice, but a module inside writes to {name!r} at every walk, as batch "
                    "normalization does in training; use checkpoint_steps=None, or call eval() on that module"
                )

    @contextmanager
    def in_place(self, tensors: Sequence[Tensor]) -> Iterator[None]:
        """Put ``tensors`` where those of the first walk were, for as long as the context lasts."""
        given, changed = iter(tensors), []
        for kind, name, there in self._places:
            now, then = kind.get(name), next(given) if there else None
            if now is not then:
                changed.append((kind, name, now))
                kind[name] = then
        try:
            yield
        finally:
            for kind, name, now in changed:
                kind[name] = now
