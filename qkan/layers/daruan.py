"""DARUAN: a trained activation function that is a single-qubit data re-uploading circuit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qkan.kernels.backends import Backend, check_backend, check_readout
from qkan.kernels.circuits.ansatz import Ansatz, get_ansatz
from qkan.kernels.layer import CircuitLayer
from qkan.layers.frequencies import HasFrequencies, PreactInit, check_preact_init
from qkan.layers.frozen import FrozenActivation
from qkan.layers.init import circuit_angles_
from qkan.layers.options import check_dtype, check_input, positive_int


class DARUAN(HasFrequencies):
    """Element-wise activation phi(x) = <Z> behind a data re-uploading circuit, |phi| <= 1 (arXiv 2509.14026).

    Shapes: with ``num_features=1`` one circuit serves every element of an input of any shape; with more, the input is
    (..., num_features) and each feature has its own circuit. The output has the shape of the input. Parameters:
    ``theta`` (num_features, rows, angles), ``preact_weight`` and ``preact_bias`` (num_features, reps).

    Args:
        num_features: circuits; 1 or the last size of the input, as in :class:`torch.nn.PReLU`.
        reps, ansatz, preact_trainable, preact_init, readout, init, backend, generator, device, dtype: as in
            :class:`qkan.QKANLayer`. Near-linear circuits start near sin(1) sin(x).

    Raises:
        ValueError, TypeError: an option outside its range.

    Examples:
        >>> import torch
        >>> from qkan import DARUAN
        >>> DARUAN(8, reps=2)(torch.rand(16, 8)).shape
        torch.Size([16, 8])
    """

    preact_weight: nn.Parameter | None
    preact_bias: nn.Parameter | None

    def __init__(
        self,
        num_features: int = 1,
        reps: int = 3,
        *,
        ansatz: str | Ansatz = "pz",
        preact_trainable: bool = False,
        preact_init: PreactInit = "ones",
        readout: str = "z",
        init: str = "auto",
        backend: Backend = "auto",
        generator: torch.Generator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = positive_int("num_features", num_features)
        self.ansatz = get_ansatz(ansatz)
        self.ansatz.program(reps)
        self.reps = reps
        self.readout = check_readout(readout)
        self.init = init
        self.preact_trainable = preact_trainable
        self.preact_init = check_preact_init(preact_init, reps, self.ansatz)
        self.backend = check_backend(backend, self.ansatz, readout, sums=False)
        check_dtype(dtype)
        self.theta = nn.Parameter(
            torch.empty(num_features, self.ansatz.rows(reps), self.ansatz.angles, device=device, dtype=dtype)
        )
        for name, present, trained in (
            ("preact_weight", preact_trainable or self.preact_init != "ones", preact_trainable),
            ("preact_bias", preact_trainable or self.ansatz.trains_preact_bias, True),
        ):
            values = torch.empty((num_features, reps), device=device, dtype=dtype) if present else None
            self.register_parameter(name, None if values is None else nn.Parameter(values, requires_grad=trained))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        wide = self.preact_init != "ones"
        circuit_angles_(self.theta, self.ansatz, self.reps, self.init, (1.0, 1.0), generator, wide=wide)
        self.reset_frequencies()
        if self.preact_bias is not None:
            with torch.no_grad():
                self.preact_bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Apply phi to every element of ``x``; same shape, dtype of the parameters.

        Raises:
            ValueError: ``num_features`` > 1 and another last size.
            TypeError: an input that is not floating point.
        """
        flat = x.reshape(*x.shape, 1) if self.num_features == 1 else x
        check_input(flat, self.num_features, type(self).__name__, self.theta.device)
        return self._circuits().edges(flat).reshape(x.shape)

    def compile_spectral(self, *, domain: float | None = None) -> FrozenActivation:
        """The activation frozen for inference; see :meth:`qkan.QKANLayer.compile_spectral`."""
        frozen = FrozenActivation(self._circuits(), domain)
        frozen.training = self.training
        return frozen

    def _circuits(self) -> CircuitLayer:
        weight, bias = (None if p is None else p.unsqueeze(0) for p in (self.preact_weight, self.preact_bias))
        return CircuitLayer(
            self.theta.unsqueeze(0),
            weight,
            bias,
            None,
            ansatz=self.ansatz,
            reps=self.reps,
            readout=self.readout,
            backend=self.backend,
            harmonics=self.harmonics,
        )

    def extra_repr(self) -> str:
        """What print(module) shows."""
        return (
            f"num_features={self.num_features}, reps={self.reps}, ansatz={self.ansatz.name!r}, readout={self.readout!r}"
        )
