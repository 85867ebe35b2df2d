"""What an ONNX file says of itself: its metadata, the shapes of what goes in and comes out.

Read from the bytes, since neither OpenCV nor NumPy tells and the package ``onnx`` is not needed to run a model. Numbers
of fields are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the encoding is that of Protocol Buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OnnxDescription", "describe"]

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_GRAPH_WEIGHTS, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12


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
    weights = {_text(dict(_message(value)).get(8, b"")) for number, value in graphs[0] if number == _GRAPH_WEIGHTS}
    shapes = [
        dict(_shape(_message(value)) for number, value in graphs[0] if number == wanted)
        for wanted in (_GRAPH_INPUT, _GRAPH_OUTPUT)
    ]
    inputs = {name: shape for name, shape in shapes[0].items() if name not in weights}
    if not (inputs and shapes[1]):
        raise ValueError("nothing goes into it, or nothing comes out")
    return OnnxDescription(metadata, inputs, shapes[1])


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
