"""QKANLayer: a Kolmogorov-Arnold layer whose edges are single-qubit circuits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkan.kernels.backend_choice import Choice, Radius
from qkan.kernels.backends import Backend, check_backend, check_readout
from qkan.kernels.circuits.ansatz import Ansatz, get_ansatz
from qkan.kernels.common.tensors import check_readable
from qkan.kernels.layer import CircuitLayer
from qkan.kernels.spectral.basis import Operands
from qkan.layers.edge_access import EdgeCircuits
from qkan.layers.extend_reps import Refinable
from qkan.layers.frequencies import HasFrequencies, PreactInit, check_preact_init
from qkan.layers.frozen import FrozenLayer
from qkan.layers.init import circuit_angles_, uniform_
from qkan.layers.options import (
    BaseActivation,
    base_function,
    check_dtype,
    check_input,
    check_memory,
    group_size,
    positive_int,
)


class QKANLayer(Refinable, HasFrequencies, EdgeCircuits):
    r"""A layer of DARUAN edges: y_o = sum_i [ v_oi (phi_oi(x_i) + c_oi) + u_oi base(x_i) ].

    Every phi_oi is the expectation of a single-qubit data re-uploading circuit (arXiv 2509.14026, section on QKAN);
    |phi| <= 1.

    Shapes: input (..., in_features), output (..., out_features), any number of leading dimensions. Parameters:
    ``theta`` (out, in, rows, angles) in radians, rows = reps + 1 where the ansatz ends with trained gates, else reps;
    ``preact_weight`` and ``preact_bias`` (out, in, reps); ``postact_weight``, ``postact_bias`` and ``base_weight``
    (out, in). A parameter whose option is off is None. With ``group``, theta and pre-activations are (1, group, ...);
    with ``preact_trainable="input"`` pre-activations are (1, in, reps). Buffer ``edge_mask``, (out, in) bool: see
    :class:`qkan.layers.edge_mask.EdgeMasked`, which also has ``prune`` and ``restore``.

    Args:
        in_features, out_features: sizes of the last dimension.
        reps: repetitions of the circuit block, 1 or more; phi has at most ``reps`` harmonics of x at fixed
            pre-activations.
        group: None, a circuit of its own for every edge; a number n, n circuits that inputs share (input i has circuit
            i mod n, the same for all outputs); ``"input"``, one circuit per input.
        ansatz: ``"pz"``, ``"rpz"``, ``"px"``, ``"real"``, ``"mix"`` or an :class:`Ansatz`.
        preact_trainable: train w and b of the encoded angles w_l x + b_l; else w stays as ``preact_init`` says, b = 0.
            ``"input"`` trains one w and b per input for all outputs: fewer parameters, and a spectrum of up to
            (3^reps + 1) / 2 frequencies that one matrix product still gives exactly for inputs of any size.
        preact_init: the initial w_l, l = 0, 1, ...: ``"ones"``; ``"binary"``, 2^l; ``"ternary"``, 3^l, which has every
            frequency up to (3^reps - 1) / 2 once; ``"auto"``, ones until :meth:`qkan.QKAN.fit` finds them in data; or
            ``reps`` numbers. Kept whole (not trained) they stay one exact matrix product: docs/how/initialisation.md.
        postact_weight_trainable, postact_bias_trainable: train v and c; else v = 1, c = 0.
        base_activation: ``"silu"``, ``"gelu"``, ``"relu"``, ``"tanh"``, ``"identity"``, a callable, or None for no base
            branch at all. A module is not copied: all layers that are given it share its parameters.
        base_trainable: train u; else u keeps its initial values.
        readout: ``"z"``, the expectation <Z>, or ``"amplitude"``, |alpha| - |beta|, the original authors' default.
        init: initial angles: ``"near_linear"``, ``"normal"``, ``"wide"`` or ``"auto"``; see :mod:`qkan.layers.init`.
        backend: how circuits are evaluated: ``"spectral"`` (one matrix product; readout z, not px), ``"bloch"``
            (always), ``"triton"`` (bloch in one kernel, CUDA and ROCm), ``"reference"`` (slow, float64),
            ``"pennylane"`` or a :class:`qkan.PennyLane` with settings (gate by gate, readout z), or ``"auto"``, the
            cheapest by an estimate that :meth:`explain_backend` shows. To expand trained pre-activations the largest
            input is read back from the device, unless one w per input makes that needless.
        generator: source of the initial values; None takes torch's default one. Nothing reseeds it.
        device, dtype: of the parameters, as for any torch module.

    Raises:
        ValueError, TypeError: an option outside what is listed above; the message names it and the remedy.

    Examples:
        >>> import torch
        >>> from qkan import QKANLayer
        >>> layer = QKANLayer(64, 32, reps=2, group="input", postact_weight_trainable=True)
        >>> layer(torch.rand(16, 64)).shape
        torch.Size([16, 32])
        >>> layer.edge_outputs(torch.rand(16, 64)).shape
        torch.Size([16, 32, 64])
    """

    theta: nn.Parameter
    preact_weight: nn.Parameter | None
    preact_bias: nn.Parameter | None
    postact_weight: nn.Parameter | None
    postact_bias: nn.Parameter | None
    base_weight: nn.Parameter | None
    _slope: float | None = None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        reps: int = 3,
        *,
        group: int | Literal["input"] | None = None,
        ansatz: str | Ansatz = "pz",
        preact_trainable: bool | Literal["input"] = False,
        preact_init: PreactInit = "ones",
        postact_weight_trainable: bool = False,
        postact_bias_trainable: bool = False,
        base_activation: BaseActivation = "silu",
        base_trainable: bool = True,
        readout: str = "z",
        init: str = "auto",
        backend: Backend = "auto",
        generator: torch.Generator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = positive_int("in_features", in_features)
        self.out_features = positive_int("out_features", out_features)
        self.ansatz = get_ansatz(ansatz)
        self.ansatz.program(reps)
        self.reps = reps
        self.group = group_size(group, in_features)
        self.preact_trainable = preact_trainable
        self.preact_init = check_preact_init(preact_init, reps, self.ansatz)
        self.base_activation = base_activation
        self.base_trainable = base_trainable
        self.readout = check_readout(readout)
        self.init = init
        self.backend = check_backend(backend, self.ansatz, readout)
        base_function(base_activation)
        shared_only = self.group is not None and out_features > 1
        if shared_only and not postact_weight_trainable and (base_activation is None or not base_trainable):
            raise ValueError(
                f"group={group!r} without trained post-activation or base weights makes all {out_features} outputs "
                "equal; set postact_weight_trainable=True"
            )
        check_dtype(dtype)
        edges = (self.out_features, self.in_features)
        circuits = edges if self.group is None else (1, self.group)

        def parameter(present: bool, *shape: int, trained: bool = True) -> nn.Parameter | None:
            return (
                nn.Parameter(torch.empty(shape, device=device, dtype=dtype), requires_grad=trained) if present else None
            )

        check_memory(f"QKANLayer({in_features}, {out_features}, reps={reps})", self._numbers(reps), device, dtype)
        if preact_trainable not in (False, True, "input"):
            raise ValueError(f"preact_trainable {preact_trainable!r} must be True, False or 'input' (one per input)")
        preact_bias = bool(preact_trainable) or self.ansatz.trains_preact_bias
        pre = (1, self.in_features) if preact_trainable == "input" and self.group is None else circuits
        self.theta = nn.Parameter(
            torch.empty(*circuits, self.ansatz.rows(reps), self.ansatz.angles, device=device, dtype=dtype)
        )
        scaled = bool(preact_trainable) or self.preact_init != "ones"
        self.register_parameter("preact_weight", parameter(scaled, *pre, reps, trained=bool(preact_trainable)))
        self.register_parameter("preact_bias", parameter(preact_bias, *pre, reps))
        self.register_parameter("postact_weight", parameter(postact_weight_trainable, *edges))
        self.register_parameter("postact_bias", parameter(postact_bias_trainable, *edges))
        self.register_parameter("base_weight", parameter(base_activation is not None, *edges, trained=base_trainable))
        self.reset_parameters(generator)

    def _numbers(self, reps: int) -> int:
        """At most so many numbers a layer's parameters hold."""
        edges = self.in_features * self.out_features
        circuits = edges if self.group is None else self.group
        return circuits * (self.ansatz.rows(reps) * self.ansatz.angles + 2 * reps * bool(self.preact_trainable)) + edges

    def reset_parameters(self, generator: torch.Generator | None = None, slope: float | None = None) -> None:
        """Draw fresh initial values.

        Args:
            generator: source of randomness, or None for torch's default one.
            slope: bound of the initial slopes of an edge and of the base weights; default 1/sqrt(in_features), that of
                :class:`torch.nn.Linear`. With trained post-activation weights these take that bound and every circuit
                starts near sin(1) sin(x): the weights draw the slopes then, and no input is muted. The next reset takes
                the same one, so that a layer inside of another module starts alike, whoever resets it.
        """
        self._slope = self._slope if slope is None else slope
        bound = 1 / math.sqrt(self.in_features) if self._slope is None else self._slope
        slopes = (-bound, bound)
        if self.postact_weight is not None:
            uniform_(self.postact_weight, bound, generator)
            slopes = (1.0, 1.0)
        circuit_angles_(
            self.theta, self.ansatz, self.reps, self.init, slopes, generator, wide=self.preact_init != "ones"
        )
        if self.base_weight is not None:
            uniform_(self.base_weight, bound, generator)
        with torch.no_grad():
            for tensor in (self.preact_bias, self.postact_bias):
                if tensor is not None:
                    tensor.zero_()
        self.reset_frequencies()

    def _circuits(self, theta: Tensor | None = None, offset: Tensor | None = None) -> CircuitLayer:
        edge_weight: Tensor | None = self.postact_weight
        if self.group is not None or self.postact_bias is not None or self.edge_mask is not None:
            check_readable(*self._parameters.values())  # operations of PyTorch read them, before circuits look at them
        if edge_weight is None and self.group is not None:
            edge_weight = self.theta.new_ones(self.out_features, self.in_features)
        base = self.base_activation
        base_weight: Tensor | None = self.base_weight
        if self.edge_mask is not None:
            edge_weight = self.edge_mask.to(self.theta.dtype) if edge_weight is None else self._kept(edge_weight)
            base_weight = None if base_weight is None else self._kept(base_weight)
        if self.postact_bias is not None:
            bias = self._edge_bias(self.postact_bias).sum(-1)
            offset = bias if offset is None else bias + offset
        own: Tensor = self.theta
        weight: Tensor | None = self.preact_weight
        preact_bias: Tensor | None = self.preact_bias
        if self.group is not None:
            own, weight, preact_bias = self.circuit_parameters()
        return CircuitLayer(
            own if theta is None else theta,
            weight,
            preact_bias,
            edge_weight,
            ansatz=self.ansatz,
            reps=self.reps,
            readout=self.readout,
            backend=self.backend,
            base=(base, base_weight) if type(base) is str and base_weight is not None else None,
            offset=offset,
            harmonics=self.harmonics,
        )

    def _check_theta(self, x: Tensor, theta: Tensor) -> None:
        circuit = (self.ansatz.rows(self.reps), self.ansatz.angles)
        lead = tuple(x.shape[:-1])
        # One circuit for all outputs makes sense only where something else tells outputs apart.
        rows = (self.out_features,) if self.group is None else (self.out_features, 1)
        shapes = [(*first, outputs, self.in_features, *circuit) for first in (lead, ()) for outputs in rows]
        if tuple(theta.shape) not in shapes:
            raise ValueError(f"theta of shape {tuple(theta.shape)} does not fit; per-sample theta must be {shapes[0]}")

    def forward(self, x: Tensor, theta: Tensor | None = None, offset: Tensor | None = None) -> Tensor:
        """Apply the layer.

        Args:
            x: (..., in_features), real.
            theta: circuit angles to use instead of the parameter, (..., out_features, in_features, rows, angles) with
                the leading dimensions of ``x``: circuits that differ between samples; without leading dimensions: the
                same for all. With ``group``, 1 may stand for out_features.
            offset: (out_features,) to add.

        Returns:
            (..., out_features), in the dtype of the parameters.

        Raises:
            ValueError: a last size other than in_features, or a theta of another shape.
            TypeError: an input that is not floating point.
        """
        check_input(x, self.in_features, type(self).__name__, self.theta.device)
        if theta is not None:
            self._check_theta(x, theta)
        if self.edge_mask is not None:
            x = self._read(x)
        y = self._circuits(theta, offset)(x)
        base = self.base_activation
        return y if base is None or type(base) is str else self._with_callable_base(x, y)

    def prepare(self, radius: Radius = None) -> Callable[[Tensor], Tensor]:
        """The layer as a function of x with everything computed that depends on parameters alone.

        For many calls at one set of parameters, as in a recurrence; gradients reach the parameters.

        Args:
            radius: a bound on every |x| that will come, or a function that finds one (called only if it is needed), if
                one is known: with it trained pre-activations, too, become one matrix product per call.
        """
        circuits = self._circuits().prepare(radius)

        def run(x: Tensor) -> Tensor:
            x = self._read(x)
            return self._with_callable_base(x, circuits(x))

        return run

    def operands(
        self,
        radius: Radius = None,
        bandwidth: float | None = None,
        *,
        concat_inputs: QKANLayer | None = None,
        offset: Tensor | None = None,
    ) -> Operands | str:
        """The layer as features and a matrix, for the engines of :mod:`qkan.kernels.recurrence.api`.

        Args:
            radius: as of :meth:`prepare`.
            bandwidth: as of :meth:`qkan.kernels.layer.CircuitLayer.operands`.
            concat_inputs: a layer with the same outputs and options, whose inputs stand behind those of this one.
            offset: (out_features,) to add.

        Returns:
            them, or the reason why the layer has none.
        """
        if not isinstance(self.base_activation, str | type(None)):
            return "its base activation is a function that kernels do not know by name"
        circuits = self._circuits(offset=offset)
        if concat_inputs is not None:
            if concat_inputs.reps != self.reps:
                return f"its circuits have {self.reps} repetitions, those beside it {concat_inputs.reps}"
            circuits = circuits.concat_inputs(concat_inputs._circuits())
        return circuits.operands(radius, bandwidth)

    def compile_spectral(self, *, domain: float | None = None) -> FrozenLayer:
        """The layer frozen for inference: features and one matrix product in plain torch operations.

        What comes back is a copy without trained parameters that torch.export and torch.onnx.export can follow. Fixed
        pre-activations become Fourier features, exact for every x. Trained ones become Chebyshev polynomials on
        [-domain, domain], with a proven truncation of at most 8 eps of the dtype per edge; inputs outside give NaN.
        The ansatz px and the readout ``"amplitude"``, which are not band-limited, stay circuits of plain operations.

        Args:
            domain: a bound on |x|, > 0 and rounded up to eight bits; needed (and used) only for trained
                pre-activations. ``math.inf`` keeps the circuit itself, exact for every x but slower. A domain for which
                512 terms are not enough does the same.

        Raises:
            ValueError: a missing domain, or one that is not positive.
            TypeError: a domain that is not a number.
        """
        base = None
        if self.base_activation is not None and self.base_weight is not None:
            base = self.base_activation, self._kept(self.base_weight)
        reads = None if self.edge_mask is None else self.edge_mask.any(0)
        frozen = FrozenLayer(self._circuits(), base, domain, reads)
        frozen.training = self.training  # not train(), which would reach into the base activation
        return frozen

    def _edge_bias(self, bias: Tensor) -> Tensor:
        """v c of every edge, (out, in), from the biases c."""
        # A copy for the backward pass, which would crash if the memory of the parameter were taken away.
        return self._kept(bias if self.postact_weight is None else bias.clone() * self.postact_weight.clone())

    def _with_callable_base(self, x: Tensor, y: Tensor) -> Tensor:
        """Add the base branch to the circuits' sum where it is not one that kernels know by name."""
        base, weight = self.base_activation, self.base_weight
        if base is None or weight is None or isinstance(base, str):
            return y
        return y + F.linear(base(x.to(self.theta.dtype)), self._kept(weight))

    def explain_backend(self, x: Tensor) -> Choice:
        """Print which backend runs for inputs like ``x`` (..., in_features), the estimates of all, and why.

        Returns:
            what was printed, with the fields ``backend``, ``reason``, ``candidates`` and ``plan``.
        """
        check_input(x, self.in_features, type(self).__name__, self.theta.device)
        choice = self._circuits().explain(x)
        print(choice)
        return choice

    def edge_outputs(self, x: Tensor) -> Tensor:
        """What every edge adds to its output: (..., out_features, in_features); summed over the last it is forward."""
        check_input(x, self.in_features, type(self).__name__, self.theta.device)
        x = self._read(x)
        y = self._circuits().edges(x)
        if self.postact_bias is not None:
            y = y + self._edge_bias(self.postact_bias)
        base = base_function(self.base_activation)
        if base is not None and self.base_weight is not None:
            y = y + base(x.to(self.theta.dtype)).unsqueeze(-2) * self._kept(self.base_weight)
        return y.expand(*x.shape[:-1], self.out_features, self.in_features)

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        options = [f"in_features={self.in_features}, out_features={self.out_features}, reps={self.reps}"]
        options.append(f"ansatz={self.ansatz.name!r}")
        if self.group is not None:
            options.append(f"group={self.group}")
        if self.preact_trainable:
            options.append(f"preact_trainable={self.preact_trainable!r}")
        if self.preact_init != "ones":
            options.append(f"preact_init={self.preact_init!r}")
        options += [
            f"{name}_trainable=True" for name in ("postact_weight", "postact_bias") if getattr(self, name) is not None
        ]
        base = self.base_activation
        if not isinstance(base, str | type(None)):
            base = getattr(base, "__name__", type(base).__name__)
        options.append(f"base_activation={base!r}, readout={self.readout!r}, backend={str(self.backend)!r}")
        return ", ".join(options)
