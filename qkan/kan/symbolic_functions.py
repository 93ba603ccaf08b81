"""A library of elementary functions, and the fit c f(a x + b) + d of each to sampled curves.

a and b are found on a grid, then by the Levenberg-Marquardt method; c and d are the linear least squares solution
wherever a and b are (variable projection; Golub and Pereyra, 1973). All curves are fitted at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_GRID_SAMPLES = 128  # of a curve on the grid; the refinement takes all
_STARTS = 4  # best grid points of every curve that are refined
_STEPS = 40
_CHUNK = 200_000  # samples of all curves that are fitted at a time, for memory's sake
_FLAT = 1e-7  # a standard deviation of so little of the largest value is rounding of float32
_ROUNDING = 1e-10  # unexplained shares of variance below count as this: fits that are exact tie, and the simplest wins


Four = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class SymbolicFunction:
    """An elementary function of one argument.

    Args:
        function: from a tensor to a tensor of its shape, differentiable.
        expression: from a SymPy expression to one.
        complexity: what the function costs in the score; a constant costs 0, x costs 1.
        domain: the open interval of arguments a fit may use; of a function with poles, one side of the pole.
        degree: p where f(s u) = s^p f(u) for s > 0: then |a| is written as part of c.
        parity: 1 for an even function, -1 for an odd one, 0 for neither.
        antiperiod: p where f(u + p) = -f(u): then b is brought into [-p / 2, p / 2].
        simplify: from a, b, c and d to simpler ones that mean the same, or None.
        searched: a and b are searched for; else they are 1 and 0.

    Raises:
        ValueError: a negative complexity, an empty domain or a parity that is none of the three.

    Examples:
        >>> import sympy, torch
        >>> from qkan import SymbolicFunction
        >>> sinc = SymbolicFunction(torch.sinc, lambda u: sympy.sinc(sympy.pi * u), complexity=3, parity=1)
        >>> sinc.function(torch.zeros(1))
        tensor([1.])
    """

    function: Callable[[Tensor], Tensor]
    expression: Callable[[Any], Any]
    complexity: float
    domain: tuple[float, float] = (-math.inf, math.inf)
    degree: float | None = None
    parity: int = 0
    antiperiod: float | None = None
    simplify: Callable[[Tensor, Tensor, Tensor, Tensor], Four] | None = None
    searched: bool = True

    def __post_init__(self) -> None:
        if not self.complexity >= 0:
            raise ValueError(f"complexity {self.complexity} must be 0 or more")
        if not self.domain[0] < self.domain[1]:
            raise ValueError(f"domain {self.domain} must be two ascending numbers")
        if self.parity not in (-1, 0, 1):
            raise ValueError(f"parity {self.parity} must be 1 (even), -1 (odd) or 0")


def _sympy(name: str) -> Callable[[Any], Any]:
    def apply(u: Any) -> Any:
        import sympy

        return getattr(sympy, name)(u)

    return apply


def _power(n: int, complexity: float) -> SymbolicFunction:
    domain = (-math.inf, math.inf) if n > 0 else _POSITIVE
    return SymbolicFunction(
        lambda u: u**n, lambda u: u**n, complexity, domain, degree=n, parity=1 if n % 2 == 0 else -1
    )


_POSITIVE = (0.0, math.inf)
LIBRARY: dict[str, SymbolicFunction] = {
    "0": SymbolicFunction(torch.zeros_like, lambda u: 0 * u, 0, parity=1, searched=False),
    "x": SymbolicFunction(lambda u: u, lambda u: u, 1, parity=-1, searched=False),
    "x^2": _power(2, 2),
    "x^3": _power(3, 3),
    "x^4": _power(4, 3),
    "1/x": _power(-1, 2),
    "1/x^2": _power(-2, 2),
    "sqrt": SymbolicFunction(torch.sqrt, _sympy("sqrt"), 2, _POSITIVE, degree=0.5),
    "exp": SymbolicFunction(
        torch.exp, _sympy("exp"), 2, simplify=lambda a, b, c, d: (a, torch.zeros_like(b), c * torch.exp(b), d)
    ),
    "log": SymbolicFunction(
        torch.log,
        _sympy("log"),
        2,
        _POSITIVE,
        simplify=lambda a, b, c, d: (a.sign(), b / a.abs(), c, d + c * a.abs().log()),
    ),
    "sin": SymbolicFunction(torch.sin, _sympy("sin"), 3, parity=-1, antiperiod=math.pi),
    "cos": SymbolicFunction(torch.cos, _sympy("cos"), 3, parity=1, antiperiod=math.pi),
    "abs": SymbolicFunction(torch.abs, _sympy("Abs"), 3, degree=1, parity=1),
    "tan": SymbolicFunction(torch.tan, _sympy("tan"), 3, (-math.pi / 2, math.pi / 2), parity=-1),
    "tanh": SymbolicFunction(torch.tanh, _sympy("tanh"), 3, parity=-1),
    "gaussian": SymbolicFunction(lambda u: torch.exp(-u * u), lambda u: _sympy("exp")(-(u**2)), 3, parity=1),
    "arctan": SymbolicFunction(torch.atan, _sympy("atan"), 4, parity=-1),
    "arcsin": SymbolicFunction(torch.asin, _sympy("asin"), 4, (-1.0, 1.0), parity=-1),
}
"""The functions by name. The pole or end of a domain stays outside the samples.

Examples:
    >>> from qkan.kan import LIBRARY
    >>> LIBRARY["sin"].complexity
    3
"""

Library = Iterable[str] | Mapping[str, SymbolicFunction] | None


def chosen(library: Library) -> dict[str, SymbolicFunction]:
    """The functions to try: all, those of the given names, or a mapping of one's own.

    Raises:
        ValueError: an unknown name, or no function at all.
        TypeError: neither names nor a mapping from names to :class:`SymbolicFunction`.
    """
    if library is None:
        return dict(LIBRARY)
    if isinstance(library, Mapping):
        wrong = [name for name, function in library.items() if not isinstance(function, SymbolicFunction)]
        if wrong:
            raise TypeError(f"library[{wrong[0]!r}] must be a SymbolicFunction, got {type(library[wrong[0]]).__name__}")
        functions = dict(library)
    elif isinstance(library, str):
        raise TypeError(f"library must be a sequence of names, got the text {library!r}; put it in a list")
    else:
        names = list(library)
        unknown = [name for name in names if name not in LIBRARY]
        if unknown:
            raise ValueError(f"unknown function {unknown[0]!r} in library; use some of {', '.join(LIBRARY)}")
        functions = {name: LIBRARY[name] for name in names}
    if not functions:
        raise ValueError("library holds no function; name at least one, or pass None for all")
    return functions


def score(r2: float, complexity: float, penalty: float) -> float:
    """log10(1 - R^2) + penalty * complexity, lower is better.

    With penalty 0.5 one more unit of complexity must cut the unexplained variance to 0.32 of what it was. Shares below
    1e-10 count as 1e-10.
    """
    return math.log10(min(max(1 - r2, _ROUNDING), 1e300)) + penalty * complexity


def fit(function: SymbolicFunction, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fit c f(a x + b) + d to curves.

    Args:
        function: f.
        x, y: (E, N) float64, E curves of N samples each.

    Returns:
        (E, 4) a, b, c and d in their simplest form; (E,) R^2: 1 - (sum of squared errors) / (sum of squared deviations
        from the mean); (E,) decimal digits beyond the first that cancel between c f and d, 0 or more. Many mark a limit
        of f rather than f itself: 200 - 200 cos(0.1 x) is a costly way to write x^2. A curve that is flat but for
        rounding has R^2 = 1; where no fit lies inside the domain, R^2 is -inf.
    """
    curves = max(1, _CHUNK // x.shape[1])
    parts = [_fit(function, *part) for part in zip(x.split(curves), y.split(curves), strict=True)]
    parameters, r2, lost = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return parameters, r2, lost


def _fit(function: SymbolicFunction, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    centre, reach = (low + high) / 2, (high - low) / 2
    reach = torch.where(reach > 0, reach, torch.ones_like(reach))
    z = (x - centre) / reach
    shift, scale = y.mean(1, keepdim=True), y.std(1, correction=0, keepdim=True)
    flat = scale <= _FLAT * y.abs().amax(1, keepdim=True)
    scale = torch.where(flat, torch.ones_like(scale), scale)
    target = torch.where(flat, torch.zeros_like(y), (y - shift) / scale)
    if function.searched:
        inner = _refined(function, z, target, _grid_search(function, z, target))
    else:
        inner = z.new_tensor([1.0, 0.0]).expand(len(z), 1, 2)
    loss, c, d = _projected(function, inner, z, target)
    best = loss.argmin(1, keepdim=True)
    a, b = inner.gather(1, best.unsqueeze(-1).expand(-1, -1, 2))[:, 0].unbind(-1)
    loss, c, d = (tensor.gather(1, best)[:, 0] for tensor in (loss, c, d))
    largest = (c * function.function(a * z.T + b)).abs().amax(0)
    lost = torch.where(torch.isfinite(largest), largest / 10, 1.0).clamp(min=1.0).log10()
    reach, centre, shift, scale = (tensor[:, 0] for tensor in (reach, centre, shift, scale))
    r2 = torch.where(torch.isfinite(loss), 1 - loss, -math.inf)  # the target has mean square 1, or 0 if it is flat
    parameters = torch.stack([a / reach, b - a * centre / reach, c * scale, d * scale + shift], -1)
    return simplest(function, parameters), r2, lost


def _projected(function: SymbolicFunction, inner: Tensor, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean squared error and the best c and d of every a and b; (E, S) each from inner (E, S, 2), z and target (E, N).

    The error is inf where an argument lies outside the domain.
    """
    u = inner[..., :1] * z.unsqueeze(1) + inner[..., 1:]
    inside = (u.amin(-1) > function.domain[0]) & (u.amax(-1) < function.domain[1])
    values = function.function(u)
    inside &= torch.isfinite(values).all(-1)
    values = torch.where(inside.unsqueeze(-1), values, 0.0)
    mean = values.mean(-1, keepdim=True)
    centred = values - mean
    variance = (centred * centred).mean(-1)
    target = target.unsqueeze(1)
    flat = variance <= (_ROUNDING * mean[..., 0]) ** 2
    c = torch.where(flat, 0.0, (centred * target).mean(-1) / torch.where(flat, 1.0, variance))
    d = target.mean(-1) - c * mean[..., 0]
    error = c.unsqueeze(-1) * centred - (target - target.mean(-1, keepdim=True))
    return torch.where(inside, (error * error).mean(-1), math.inf), c, d


def _grid(function: SymbolicFunction, like: Tensor) -> Tensor:
    """(G, 2) values of a and b for arguments z in [-1, 1]."""

    def row(values: Iterable[float]) -> Tensor:
        return torch.tensor(list(values), dtype=like.dtype, device=like.device)

    if function.antiperiod is not None:
        rates = row([0.1, 0.25] + [k / 2 for k in range(1, 50)]) * (function.antiperiod / math.pi)
        phases = row(function.antiperiod * (k / 6 - 0.5) for k in range(6))
        return torch.cartesian_prod(rates, phases)
    rates = row([1.0] if function.degree is not None else [0.1 * 300 ** (k / 23) for k in range(24)])
    if function.parity == 0:
        rates = torch.cat([rates, -rates])
    beyond = [1 + 0.01 * 3000 ** (k / 15) for k in range(16)]
    roots = row([k / 10 for k in range(-10, 11)] + beyond + [-root for root in beyond])  # where a z + b is zero
    rates, roots = torch.cartesian_prod(rates, roots).unbind(-1)
    return torch.stack([rates, -rates * roots], -1)


def _grid_search(function: SymbolicFunction, z: Tensor, target: Tensor) -> Tensor:
    """The best a and b of the grid for every curve, (E, starts, 2)."""
    stride = -(-z.shape[1] // _GRID_SAMPLES)
    order = z.argsort(1)[:, ::stride]  # evenly through the samples, whatever their order
    grid = _grid(function, z)
    loss = torch.stack(
        [
            _projected(function, grid.unsqueeze(0), part[0].unsqueeze(0), part[1].unsqueeze(0))[0][0]
            for part in zip(z.gather(1, order), target.gather(1, order), strict=True)
        ]
    )
    return grid[loss.topk(min(_STARTS, len(grid)), 1, largest=False).indices]


def _refined(function: SymbolicFunction, z: Tensor, target: Tensor, inner: Tensor) -> Tensor:
    """a and b (E, S, 2) after Levenberg-Marquardt steps in a, b, c and d, with c and d projected after every step."""
    loss, c, _ = _projected(function, inner, z, target)
    damping = torch.full_like(loss, 1e-2)
    identity = torch.eye(4, dtype=z.dtype, device=z.device)
    stalled = 0
    for _ in range(_STEPS):
        u = (inner[..., :1] * z.unsqueeze(1) + inner[..., 1:]).requires_grad_()
        with torch.enable_grad():
            values = function.function(u)
            if values.requires_grad:
                (slope,) = torch.autograd.grad(values.sum(), u)
            else:
                slope = torch.zeros_like(u)
        values, slope = values.detach(), c.unsqueeze(-1) * slope
        jacobian = torch.stack([slope * z.unsqueeze(1), slope, values, torch.ones_like(values)], -1)
        fitted, mean = c.unsqueeze(-1) * values, target.mean(-1, keepdim=True).unsqueeze(1)
        error = target.unsqueeze(1) - (fitted - fitted.mean(-1, keepdim=True) + mean)
        normal = jacobian.transpose(-1, -2) @ jacobian
        diagonal = normal.diagonal(dim1=-2, dim2=-1)
        weights = damping.unsqueeze(-1) * diagonal + 1e-14 * diagonal.amax(-1, keepdim=True) + 1e-300
        right = jacobian.transpose(-1, -2) @ error.unsqueeze(-1)
        step = torch.linalg.solve_ex(normal + weights.unsqueeze(-1) * identity, right).result[..., :2, 0]
        trial_loss, trial_c, _ = _projected(function, inner + step, z, target)
        better = trial_loss < loss
        stalled = 0 if bool((trial_loss < (1 - 1e-6) * loss - 1e-20).any()) else stalled + 1
        if stalled > 5:
            break
        inner = torch.where(better.unsqueeze(-1), inner + step, inner)
        loss, c = torch.where(better, trial_loss, loss), torch.where(better, trial_c, c)
        damping = torch.where(better, damping / 5, damping * 4).clamp(1e-12, 1e12)
    return inner


def simplest(function: SymbolicFunction, parameters: Tensor) -> Tensor:
    """Numbers a, b, c and d (E, 4) of equal meaning that read better.

    a is positive where parity allows, |a| = 1 where f is homogeneous, and b small if f is periodic.
    """
    a, b, c, d = parameters.unbind(-1)
    if function.parity != 0:
        sign = torch.where(a < 0, -1.0, 1.0)
        a, b = sign * a, sign * b
        c = c * sign if function.parity == -1 else c
    if function.degree is not None:
        size = a.abs()
        a, b, c = a / size, b / size, c * size**function.degree
    if function.antiperiod is not None:
        turns = (b / function.antiperiod).round()
        b, c = b - turns * function.antiperiod, torch.where(turns % 2 == 0, c, -c)
    if not function.searched:
        c, d = c * a, d + c * function.function(b)
        a, b = torch.ones_like(a), torch.zeros_like(b)
    if function.simplify is not None:
        a, b, c, d = function.simplify(a, b, c, d)
    simple = torch.stack([a, b, c, d], -1)
    return torch.where(torch.isfinite(simple).all(-1, keepdim=True), simple, parameters)
