"""Exported programs as files and as functions: ONNX for onnxruntime, ``.pt2`` for torch.export; text travels inside.

Writing takes a compiled model (:func:`qkan.compile`). Every program can be loaded again in the process that wrote it,
to compare it with the model. A file from elsewhere is read as ONNX only (:mod:`qkan.forecasting.exporting.exported`),
because loading a ``.pt2`` file runs what code it holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Program = Callable[..., Tensor]
"""From the model's arguments, float32 tensors on the CPU, to its output."""

INPUTS, OUTPUT = ("inputs", "ahead"), "forecast"
"""Names of the tensors of an ONNX file."""

_PROPERTY, _EXTRA_FILE = "qkan", "qkan.json"  # where an ONNX and a .pt2 file hold the text
_SUM = "qkan-sha256"  # where an ONNX file holds the sum over all else
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_LARGEST_ONNX = 2**31 - 1  # bytes that the format's encoding can hold
_LOGGERS = ("torch.export", "torch.onnx", "torch._export", "onnxscript", "onnx_ir")


class Format(NamedTuple):
    """How one format is written, and read again by the process that wrote it.

    Attributes:
        require: Raises ModuleNotFoundError if a package is missing.
        write: From a compiled model, example arguments (batches of 2 or more) and a text to the content of a file.
        load: From the content of a file to the program.
    """

    require: Callable[[], None]
    write: Callable[[nn.Module, tuple[Tensor, ...], str], bytes]
    load: Callable[[bytes], Program]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters and loaders from writing their notes and tracebacks to the terminal; errors are raised anyway."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type if it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def require_onnx() -> None:
    """Refuse to go on without the packages of the extra ``onnx``.

    Raises:
        ModuleNotFoundError: one of them is not installed; the message gives the command that installs it.
    """
    for name in _ONNX_PACKAGES:
        if find_spec(name) is None:
            raise ModuleNotFoundError(
                f"{name} is not installed, and ONNX files need it: pip install 'qkan-seq[onnx]'", name=name
            )


def _batches(example: tuple[Tensor, ...]) -> tuple[dict[int, Any], ...]:
    batch = torch.export.Dim("batch")
    return tuple({0: batch} for _ in example)


def _write_onnx(model: nn.Module, example: tuple[Tensor, ...], text: str) -> bytes:
    exported: Any = torch.onnx.export(
        model,
        example,
        dynamo=True,
        dynamic_shapes=_batches(example),
        input_names=INPUTS[: len(example)],
        output_names=[OUTPUT],
        verbose=False,
    )
    proto = exported.model_proto
    del proto.graph.metadata_props[:], proto.metadata_props[:]
    for node in proto.graph.node:
        del node.metadata_props[:]  # lines of source code, with paths of this machine
    proto.metadata_props.add(key=_PROPERTY, value=text)
    proto.metadata_props.add(key=_SUM, value=_sum_without(proto))
    return proto.SerializeToString()


def _sum_without(proto: Any) -> str:
    """The sha256 of a message without the entry that holds it."""
    bare = type(proto)()
    bare.CopyFrom(proto)
    for place in reversed([place for place, entry in enumerate(bare.metadata_props) if entry.key == _SUM]):
        del bare.metadata_props[place]
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def check_onnx_sum(content: bytes) -> None:
    """Refuse an ONNX file that is not as it was written: a changed weight is a wrong forecast.

    Raises:
        ValueError: it is not.
    """
    proto = _parse_onnx(content)
    if [entry.value for entry in proto.metadata_props if entry.key == _SUM] != [_sum_without(proto)]:
        raise ValueError("it is not as it was written (its sha256 differs)")


def _parse_onnx(content: bytes) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    if len(content) > _LARGEST_ONNX:
        raise ValueError("it is larger than an ONNX file can be")
    try:
        return onnx.load_model_from_string(content)
    except DecodeError:
        raise ValueError("it is no ONNX file") from None


def onnx_text(content: bytes) -> str | None:
    """Return the text in an ONNX file, None if there is none.

    Raises:
        ValueError: it is no ONNX file.
    """
    proto = _parse_onnx(content)
    return next((entry.value for entry in proto.metadata_props if entry.key == _PROPERTY), None)


def load_onnx(content: bytes) -> Program:
    """Return the program in an ONNX file.

    Raises:
        ValueError: it is no ONNX file, or it refers to other files.
        Exception: whatever onnxruntime raises for a graph that it cannot run.
    """
    import onnx
    import onnxruntime

    proto = _parse_onnx(content)
    proto.DiscardUnknownFields()  # which another reader might know
    for message in _messages(proto):
        if isinstance(message, onnx.TensorProto) and (message.external_data or message.data_location):
            raise ValueError("it keeps weights in other files, which a forecaster's never does")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")  # never onnxruntime's own format
    # What was checked, written anew: two readers may see different things in the same bytes.
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(*arguments: Tensor) -> Tensor:
        feed = {name: argument.numpy() for name, argument in zip(names, arguments, strict=True)}
        return torch.from_numpy(session.run([OUTPUT], feed)[0])

    return run


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all messages inside of it."""
    waiting = [message]
    while waiting:
        message = waiting.pop()
        yield message
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting += [value] if hasattr(value, "ListFields") else list(value)


def _write_torch(model: nn.Module, example: tuple[Tensor, ...], text: str) -> bytes:
    program = torch.export.export(model, example, dynamic_shapes=_batches(example))
    program.example_inputs = None  # they would be written as a pickle
    for node in program.graph.nodes:
        for note in ("stack_trace", "torch_fn", "source_fn_stack", "from_node"):  # paths of this machine, and size
            node.meta.pop(note, None)
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={_EXTRA_FILE: text})
    return buffer.getvalue()


def _load_torch(content: bytes) -> Program:
    """Return the program in what :func:`_write_torch` made in this process; of any other content this runs the code."""
    return torch.export.load(io.BytesIO(content)).module()


FORMATS: dict[str, Format] = {
    "onnx": Format(require_onnx, _write_onnx, load_onnx),
    "torch-export": Format(lambda: None, _write_torch, _load_torch),
}
"""By the names of :data:`qkan.forecasting.config.names.EXPORT_FORMATS`."""
