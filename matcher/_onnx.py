"""What an ONNX file says of itself: its metadata, the shapes of what goes in and comes out.

Read from the bytes, since neither OpenCV nor NumPy tells and the package ``onnx`` is not needed to run a model. Numbers
of fields are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the encoding is that of Protocol Buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["OnnxDescription", "convolutions", "describe", "with_metadata"]

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_NODE, _GRAPH_WEIGHTS, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_TENSOR_SIDES, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_BYTES = 1, 2, 8, 9
_FLOAT = 1


class OnnxDescription(NamedTuple):
    """What an ONNX file says of itself.

    Attributes
    ----------
    metadata : dict
    inputs, outputs : dict
        The shapes by name; None for a side that may be of any length.
    """

    metadata: dict[str, str]
    inputs: dict[str, tuple[int | None, ...]]
    outputs: dict[str, tuple[int | None, ...]]


def describe(data: bytes) -> OnnxDescription:
    """Return what an ONNX file says of itself; `ValueError` if `data` is none."""
    model = list(_fields(memoryview(data)))
    graphs = [_message(value) for number, value in model if number == _MODEL_GRAPH]
    if len(graphs) != 1:
        raise ValueError("no graph in it")
    pairs = [dict(_message(value)) for number, value in model if number == _MODEL_METADATA]
    metadata = {_text(pair.get(1, b"")): _text(pair.get(2, b"")) for pair in pairs}
    weights = {
        _text(dict(_message(value)).get(_TENSOR_NAME, b"")) for number, value in graphs[0] if number == _GRAPH_WEIGHTS
    }
    shapes = [
        dict(_shape(_message(value)) for number, value in graphs[0] if number == wanted)
        for wanted in (_GRAPH_INPUT, _GRAPH_OUTPUT)
    ]
    inputs = {name: shape for name, shape in shapes[0].items() if name not in weights}
    if not (inputs and shapes[1]):
        raise ValueError("nothing goes into it, or nothing comes out")
    return OnnxDescription(metadata, inputs, shapes[1])


def convolutions(data: bytes) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return weight and bias of each convolution that an ONNX file has, in the order in which they run.

    Raises
    ------
    ValueError
        If `data` is no ONNX file, or it keeps weights in another way than PyTorch exports them.
    """
    graph = [
        field for number, value in _fields(memoryview(data)) if number == _MODEL_GRAPH for field in _message(value)
    ]
    tensors = [_message(value) for number, value in graph if number == _GRAPH_WEIGHTS]
    named = {_text(dict(tensor).get(_TENSOR_NAME, b"")): tensor for tensor in tensors}
    found = []
    for number, value in graph:
        node = _message(value) if number == _GRAPH_NODE else []
        operators = [_text(told) for key, told in node if key == _NODE_OPERATOR]
        if operators == ["Identity"]:  # so PyTorch writes weights that equal others, before they are used
            ends = dict(node)
            if (same := named.get(_text(ends[_NODE_INPUT]))) is not None:
                named[_text(ends[_NODE_OUTPUT])] = same
        elif operators == ["Conv"]:
            names = [_text(told) for key, told in node if key == _NODE_INPUT]
            if len(names) != 3 or not {*names[1:]} <= set(named):
                raise ValueError("a convolution without weights and bias")
            found.append((_array(named[names[1]]), _array(named[names[2]])))
    return found


def _array(tensor: list[_Field]) -> NDArray[np.float32]:
    told = dict(tensor)
    data = told.get(_TENSOR_BYTES)
    if told.get(_TENSOR_TYPE) != _FLOAT or not isinstance(data, memoryview):
        raise ValueError("weights that are no plain float32")
    sides = [side for number, side in tensor if number == _TENSOR_SIDES and isinstance(side, int)]
    return np.frombuffer(data, "<f4").reshape(sides).astype(np.float32)


def with_metadata(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return an ONNX file with more metadata: fields of a message may follow in any order."""
    pairs = (_encoded(1, key.encode()) + _encoded(2, value.encode()) for key, value in metadata.items())
    return data + b"".join(_encoded(_MODEL_METADATA, pair) for pair in pairs)


def _encoded(number: int, value: bytes) -> bytes:
    """Return a field of bytes as it is written."""
    size, digits = len(value), bytearray()
    while size > 0x7F:
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | _BYTES, *digits, size]) + value


_Field = tuple[int, "int | memoryview"]


def _fields(data: memoryview) -> Iterator[_Field]:
    """Yield number and value of each field of a message: a whole number, or bytes."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(data, place)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            size = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of kind {kind} at byte {place}")
        if place + size > len(data):
            raise ValueError(f"it ends within a field of {size} bytes")
        yield number, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("it ends within a number")


def _message(value: int | memoryview) -> list[_Field]:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return list(_fields(value))


def _text(value: object) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, memoryview | bytes) else ""


def _shape(info: list[_Field]) -> tuple[str, tuple[int | None, ...]]:
    """Return the name and the shape in a description of a value: type → tensor → shape → sides → length."""
    told = dict(info)
    message = info
    for number in (2, 1, 2):
        message = _message(dict(message).get(number, memoryview(b"")))
    sides = (dict(_message(side)).get(1) for number, side in message if number == 1)
    return _text(told.get(1)), tuple(side if isinstance(side, int) else None for side in sides)
