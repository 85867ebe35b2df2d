"""Makers of tiny detectors in ONNX for tests: one that finds what is dark, one that always says the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAMES = ["Picture", "Text", "person", "Drop-Capital"]


def written(
    path: Path,
    nodes: Sequence[Any],
    constants: dict[str, np.ndarray],
    outputs: dict[str, Sequence[int]],
    *,
    size: tuple[int | str, int | str] = (96, 64),
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a network with one input of height and width `size`."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def fixed(path: Path, *values: np.ndarray, names: Sequence[str] | None = NAMES, **options: Any) -> Path:
    """Write a network that gives `values` for every page."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    constants = {"zero": np.zeros(1, np.float32)}
    for number, value in enumerate(values):
        constants[f"value{number}"] = value.astype(np.float32)
        nodes.append(helper.make_node("Add", [f"value{number}", "nothing"], [f"output{number}"]))
    outputs = {f"output{number}": value.shape for number, value in enumerate(values)}
    metadata = {} if names is None else {"names": str(dict(enumerate(names)))}
    return written(path, nodes, constants, outputs, metadata=metadata, **options)


def seeing(path: Path, *, shares: bool, size: tuple[int, int] = (96, 64)) -> Path:
    """Write a network that finds the box of what is dark: YOLO's numbers in pixels, or DETR's in `shares`."""
    high, wide = size
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["light"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["threshold", "light"], ["below"]),
        helper.make_node("Mul", ["below", "steep"], ["steeply"]),
        helper.make_node("Clip", ["steeply", "nought", "one"], ["dark"]),
    ]
    edges = {
        "right": np.arange(1, wide + 1).reshape(1, 1, 1, wide),
        "left": np.arange(wide, 0, -1).reshape(1, 1, 1, wide),
        "bottom": np.arange(1, high + 1).reshape(1, 1, high, 1),
        "top": np.arange(high, 0, -1).reshape(1, 1, high, 1),
    }
    for name in edges:
        nodes += [
            helper.make_node("Mul", ["dark", f"{name}_places"], [f"{name}_dark"]),
            helper.make_node("ReduceMax", [f"{name}_dark"], [f"{name}_all"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Reshape", [f"{name}_all", "single"], [f"{name}"]),
        ]
    # Centre and size are sums of the four edges and a constant: a row of weights for each.
    unit = np.array([1 / wide, 1 / high, 1 / wide, 1 / high]) if shares else np.ones(4)
    weights = np.array([[-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5], [1, 0, 1, 0], [0, 1, 0, 1]]) * unit[:, None]
    offset = np.array([wide / 2, high / 2, -wide, -high]) * unit
    nodes += [
        helper.make_node("Concat", ["left", "top", "right", "bottom"], ["edges"], axis=1),
        helper.make_node("MatMul", ["edges", "weights"], ["weighed"]),
        helper.make_node("Add", ["weighed", "offset"], ["box"]),
        helper.make_node("Concat", ["box", "scores"], ["row"], axis=1),
        helper.make_node("Reshape", ["row", "form"], ["rows"]),
        helper.make_node("Concat", ["rows", "others"], ["output0"], axis=1 if shares else 2),
    ]
    columns = 4 + len(NAMES)
    constants: dict[str, np.ndarray] = {
        **{f"{name}_places": places.astype(np.float32) for name, places in edges.items()},
        "threshold": np.float32(0.3),
        "steep": np.float32(1000),
        "nought": np.float32(0),
        "one": np.float32(1),
        "single": np.array([1, 1], np.int64),
        "weights": weights.T.astype(np.float32),
        "offset": offset.reshape(1, 4).astype(np.float32),
        "scores": np.array([[0.9, 0.01, 0.02, 0.03]], np.float32),
        "form": np.array([1, 1, columns] if shares else [1, columns, 1], np.int64),
        "others": np.zeros((1, 11, columns) if shares else (1, columns, 11), np.float32),
    }
    shape = (1, 12, columns) if shares else (1, columns, 12)
    return written(path, nodes, constants, {"output0": shape}, size=size, metadata={"names": json.dumps(NAMES)})
