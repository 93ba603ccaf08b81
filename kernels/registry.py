"""One way to name, ask and choose what computes: the engines of layers, recurrences and rational activations.

Users choose by ``backend``. ``"auto"`` takes the first engine that can run, or the cheapest of them where the registry
knows costs, and never falls back in silence: :meth:`Registry.explain` says why the others do not run, and where a
machine cannot build kernels that its device is made for, a warning does. A backend asked
for by name runs or raises an error that says why it cannot and what works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from qkan.kernels.common.triton_device import Problem, warn_once


class Engine(Protocol):
    """A way to compute something.

    Attributes:
        name: the ``backend`` under which users ask for it.
        unsupported_reason: (spec, tensors) to None if it can run such a computation, else the reason in words.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def unsupported_reason(self) -> Callable[[Any, tuple[Tensor | None, ...]], str | None]:
        """See above."""


E = TypeVar("E", bound=Engine)
#: Interpreting a kernel takes minutes, so nothing but the engine's own name leads there.
INTERPRETED = "its kernels would be interpreted, slowly, and are only if they are asked for by name"


@dataclass(frozen=True)
class Registry(Generic[E]):
    """The engines of one kind of computation.

    Attributes:
        what: what they compute, as in "backend 'triton' cannot run this recurrence".
        engines: in the order in which ``auto`` asks them; the last one runs everything.
        others: further names that are backends, but no engines: ``reference`` and the like.
        only_by_name: names of engines that ``auto`` never takes.
        cost: (engine, spec, tensors) to estimated seconds, if ``auto`` takes the cheapest engine that can run.
    """

    what: str
    engines: tuple[E, ...]
    others: tuple[str, ...] = ("reference",)
    only_by_name: tuple[str, ...] = ()
    cost: Callable[[E, Any, tuple[Tensor | None, ...]], float] | None = None
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", ("auto", *(engine.name for engine in self.engines), *self.others))

    @property
    def candidates(self) -> tuple[E, ...]:
        """The engines that ``auto`` chooses from."""
        return tuple(engine for engine in self.engines if engine.name not in self.only_by_name)

    def check(self, name: str) -> str:
        """Return ``name`` if it is a backend.

        Raises:
            ValueError: it is none.
        """
        if name not in self.names:
            raise ValueError(f"unknown backend {name!r}; use one of {', '.join(self.names)}")
        return name

    def unsupported_reason(self, engine: E, name: str, spec: Any, tensors: tuple[Tensor | None, ...]) -> str | None:
        """None if ``engine`` can run when ``name`` was asked for, else the reason why not."""
        reason = engine.unsupported_reason(spec, tensors)
        if reason is None and name == "auto" and engine.name == "triton" and _on_cpu(tensors):
            return INTERPRETED
        return reason

    def choose(self, name: str, spec: Any, tensors: tuple[Tensor | None, ...]) -> E:
        """The engine that runs under ``name``.

        Raises:
            ValueError: no engine of that name, or one that cannot run; the message says why.
        """
        if name == "auto":
            able = (engine for engine in self.candidates if self._can_run(engine, spec, tensors))
            if self.cost is None:
                return next(able)
            cost = self.cost
            return min(able, key=lambda engine: cost(engine, spec, tensors))
        for engine in self.engines:
            if name == engine.name:
                reason = self.unsupported_reason(engine, name, spec, tensors)
                if reason is None:
                    return engine
                raise ValueError(f"backend {name!r} cannot run {self.what}: {reason}; use 'auto'")
        self.check(name)
        raise ValueError(f"backend {name!r} has no kernel for {self.what}; use 'auto'")

    def _can_run(self, engine: E, spec: Any, tensors: tuple[Tensor | None, ...]) -> bool:
        """Whether ``auto`` may take ``engine``; says so once where something is wrong with the machine."""
        reason = self.unsupported_reason(engine, "auto", spec, tensors)
        if isinstance(reason, Problem):
            warn_once(reason)
        return reason is None

    def explain(self, name: str, spec: Any, tensors: tuple[Tensor | None, ...]) -> str:
        """Which engine runs under ``name``, and why those before it do not."""
        if self.check(name) in self.others:
            return f"{name}: asked for by name"
        chosen = self.choose(name, spec, tensors)
        if name != "auto":
            return f"{chosen.name}: asked for by name"
        lines = [f"{chosen.name}: {'the first backend that can run' if self.cost is None else 'the lowest estimate'}"]
        for engine in self.candidates:
            reason = self.unsupported_reason(engine, name, spec, tensors)
            if reason is not None:
                lines.append(f"{engine.name} cannot run: {reason}")
            elif self.cost is not None:
                lines.append(f"{engine.name} about {1e3 * self.cost(engine, spec, tensors):.3g} ms")
            elif engine is chosen:
                break
        return "; ".join(lines)


def _on_cpu(tensors: tuple[Tensor | None, ...]) -> bool:
    return bool(tensors) and all(tensor is None or tensor.device.type == "cpu" for tensor in tensors)
