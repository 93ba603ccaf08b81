"""QKAN-LSTM, HQKAN-LSTM and QKAN-GRU as models of neuralforecast (Nixtla): ``NeuralForecast(models=[QKANLSTM(...)])``.

Each is neuralforecast's own LSTM or GRU with the recurrent encoder exchanged, so windows, scalers, losses, exogenous
variables, the decoder and both ways to forecast several steps (direct and recursive) are exactly theirs. Importing this
module enters the classes into the table by which ``NeuralForecast.load`` finds the class of a saved model.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from torch import nn

from qkan._util.optional import require_release
from qkan.layers.options import positive_int
from qkan.rnn import lstm as recurrent

require_release("neuralforecast", "3.1", extra="neuralforecast")

import pytorch_lightning  # noqa: E402  (the check above must come first)
from neuralforecast import core  # noqa: E402
from neuralforecast.models import GRU, LSTM  # noqa: E402

__all__ = ["HQKANLSTM", "QKANGRU", "QKANLSTM"]

#: Sizes that neuralforecast hands on unchecked, or refuses with a sentence that does not name them.
SIZES = ("h", "h_train", "encoder_n_layers", "encoder_hidden_size", "decoder_layers", "decoder_hidden_size")

#: Parts around a cell, which our own forecaster has and the models of neuralforecast have not.
_AROUND = frozenset(
    {
        *("level", "skip", "season", "season_encoding", "season_terms", "seasonal_lags", "per_series"),
        *("decoder", "order", "segment", "gate"),
    }
)


class _Model:
    """What the models share; the class of neuralforecast comes behind this one.

    Every option has its name in a signature, because neuralforecast drops what it does not find in one when it loads a
    model. Values are read back from ``hparams``, where neuralforecast keeps the arguments of all subclasses.
    """

    ENCODER: ClassVar[type[recurrent.Recurrent]]
    #: Of the class, which darts asks; a model that is made with ``recurrent=True`` has its own.
    RECURRENT = False
    hist_encoder: nn.Module
    hparams: Any

    def __init__(
        self,
        h: int,
        input_size: int = -1,
        *,
        reps: int = 1,
        ansatz: str = "pz",
        group: int | Literal["input"] | None = "input",
        preact_trainable: bool | Literal["input"] = False,
        postact_weight_trainable: bool | None = None,
        postact_bias_trainable: bool = False,
        base_activation: str | None = None,
        base_trainable: bool = True,
        readout: str = "z",
        init: str = "auto",
        backend: str = "auto",
        checkpoint_steps: int | None = None,
        scaler_type: str = "minmax1",
        **arguments: Any,
    ) -> None:
        _check_names(type(self), arguments)
        _check_sizes({"h": h, **arguments}, projected=isinstance(self, LSTM))
        super().__init__(h=h, input_size=input_size, scaler_type=scaler_type, **arguments)  # type: ignore[call-arg]
        theirs = self.hist_encoder
        names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"]
        if isinstance(theirs, nn.LSTM):
            names.append("proj_size")
        self.hist_encoder = self.ENCODER(**{name: getattr(theirs, name) for name in names}, **self._options())

    def _options(self) -> dict[str, Any]:
        """Keyword options of the encoder, apart from those that torch's has too."""
        options = {name: self.hparams[name] for name in _DEFAULTS}
        if options["postact_weight_trainable"] is None:  # gates that share a circuit would be equal without weights
            options["postact_weight_trainable"] = options["group"] is not None
        return options


class QKANLSTM(_Model, LSTM):
    """neuralforecast's LSTM with a :class:`qkan.QKANLSTM` as its encoder.

    Args:
        h: forecast horizon, in steps.
        input_size: length of the history that a forecast sees, in steps; below 1, three times ``h``.
        reps, ansatz, preact_trainable, postact_bias_trainable, base_activation, base_trainable, readout, init: as of
            :class:`qkan.QKANLayer`; names and not objects, so that a model can be saved.
        group: ``"input"``, one circuit per input, weighted by every gate; a number of circuits that the inputs share;
            or None, a circuit per edge as in arXiv 2512.05049.
        postact_weight_trainable: weights behind the circuits; None, where circuits are shared.
        backend, checkpoint_steps: as of :class:`qkan.QKANLSTM`; a name and not an object.
        scaler_type: how neuralforecast scales each window. Theirs is ``"robust"``, which leaves values of several
            units; a circuit is periodic and starts near-linear around 0, so ours is ``"minmax1"``, to [-1, 1].
        arguments: all others of ``neuralforecast.models.LSTM`` with its defaults (``recurrent``, ``h_train``,
            ``encoder_n_layers``, ``encoder_hidden_size``, ``encoder_bias``, ``encoder_dropout``, sizes of the decoder,
            ``futr_exog_list``, ``hist_exog_list``, ``stat_exog_list``, ``loss``, ``max_steps`` ...), and
            those of Lightning's trainer.

    Raises:
        TypeError: an argument that nothing here knows, or a size that is no int.
        ValueError: an argument outside its range.
    """

    ENCODER = recurrent.QKANLSTM


class QKANGRU(_Model, GRU):
    """neuralforecast's GRU with a :class:`qkan.QKANGRU` as its encoder; arguments as of :class:`QKANLSTM`."""

    ENCODER = recurrent.QKANGRU


class _LatentModel(_Model):
    """What :class:`HQKANLSTM` has beyond the others."""

    def __init__(
        self,
        h: int,
        input_size: int = -1,
        *,
        latent_features: int = 2,
        latent: Literal["qkan", "linear", "tanh", "gr-kan"] = "qkan",
        group: int | Literal["input"] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(h, input_size, group=group, **arguments)

    def _options(self) -> dict[str, Any]:
        options = super()._options()
        if self.hparams["latent"] != "qkan":  # the module refuses circuit options that it cannot use: only those given
            unset = {**_DEFAULTS, "group": None, "postact_weight_trainable": False}
            options = {name: value for name, value in options.items() if value != unset[name]}
        return {**options, "latent_features": self.hparams["latent_features"], "latent": self.hparams["latent"]}


class HQKANLSTM(_LatentModel, LSTM):
    """neuralforecast's LSTM with a :class:`qkan.HQKANLSTM` as its encoder: gates from a narrow latent of circuits.

    Args:
        h, input_size: as of :class:`QKANLSTM`.
        latent_features: width of the latent.
        latent: ``"qkan"``, ``"linear"`` (no circuit: the ablation), ``"tanh"`` or ``"gr-kan"``.
        group: as of :class:`QKANLSTM`, but by default a circuit per edge of the latent.
        arguments: all others of :class:`QKANLSTM`; those of circuits are refused where the latent has none.

    Raises:
        TypeError, ValueError: as of :class:`QKANLSTM`.
    """

    ENCODER = recurrent.HQKANLSTM


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The arguments of a method that have a name, without ``self``."""
    nameless = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(function).parameters.values()
    return [parameter for parameter in found if parameter.name != "self" and parameter.kind not in nameless]


#: Default of every option that torch's encoders do not have.
_DEFAULTS = {
    parameter.name: parameter.default
    for parameter in _parameters(_Model.__init__)
    if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "scaler_type"
}


def _check_names(model: type, arguments: dict[str, Any]) -> None:
    """Check that every argument is one of the model, of a class below it, or of Lightning's trainer.

    neuralforecast hands unknown ones to the trainer, which refuses them as late as in ``fit``.

    Raises:
        TypeError: one is none of these.
    """
    initialisers = [kind.__init__ for kind in model.__mro__ if "__init__" in vars(kind)]  # type: ignore[misc]
    known = {p.name for init in [*initialisers, pytorch_lightning.Trainer.__init__] for p in _parameters(init)}
    for name in arguments:
        if name in _AROUND:
            raise TypeError(
                f"{name!r} is a part of qkan.forecasting.Forecaster around its cell, and {model.__name__} is "
                "neuralforecast's own model with another encoder; leave it out, or use that forecaster"
            )
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise TypeError(f"neither {model.__name__} nor Lightning's Trainer has an argument {name!r}{hint}")


def _check_sizes(arguments: dict[str, Any], projected: bool) -> None:
    """Check the sizes among the arguments; ``projected``: a recursive encoder projects its state to the outputs.

    Raises:
        TypeError: a size is no int.
        ValueError: a size is outside its range, or a recursive LSTM has no more units than its loss has outputs.
    """
    for name in SIZES:
        if name in arguments:
            positive_int(name, arguments[name])
    outputs = getattr(arguments.get("loss"), "outputsize_multiplier", 1)
    units = arguments.get("encoder_hidden_size", outputs + 1)
    if arguments.get("recurrent") and type(arguments.get("loss")).__module__.startswith("darts."):
        raise ValueError(
            "recurrent=True feeds forecasts back through neuralforecast's trainer, which darts does not use; leave it "
            "out: darts itself goes on from forecasts where n is beyond output_chunk_length"
        )
    if projected and arguments.get("recurrent") and outputs >= units:
        raise ValueError(
            f"with recurrent=True the encoder is projected to the {outputs} outputs of the loss, so "
            f"encoder_hidden_size must be larger than that, got {units}; use more units or recurrent=False"
        )


def _name_all_arguments(model: Any) -> None:
    """Give a model's initialiser a signature with every argument, those that it hands on, too.

    darts checks the arguments of a class by this signature. Lightning reads arguments from the frames of initialisers
    that call those above them, by signatures that must say no more than these frames hold; this one does not.
    """
    handed_on = model.__init__

    @functools.wraps(handed_on)
    def initialise(self: Any, *positional: Any, **named: Any) -> None:
        handed_on(self, *positional, **named)

    rest, first = inspect.Parameter.VAR_KEYWORD, ("self", "h", "input_size")
    found: dict[str, inspect.Parameter] = {}
    for kind in model.__mro__[1:]:
        if issubclass(kind, _Model | LSTM | GRU) and "__init__" in vars(kind):
            for one in inspect.signature(vars(kind)["__init__"]).parameters.values():
                if one.kind is not rest:
                    found.setdefault(one.name, one if one.name in first else one.replace(kind=one.KEYWORD_ONLY))
    vars(initialise)["__signature__"] = inspect.Signature([*found.values(), inspect.Parameter("trainer_kwargs", rest)])
    model.__init__ = initialise


for _model in (QKANLSTM, HQKANLSTM, QKANGRU):
    _name_all_arguments(_model)
    core.MODEL_FILENAME_DICT[_model.__name__.lower()] = _model
