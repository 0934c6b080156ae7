"""EfficientNet-Lite0 for onnxruntime, from its published torch checkpoint, without torch.

A checkpoint of the old format is five pickles (magic, version, system, state, keys) and the raw
storages, each an int64 length and its numbers.  The state is unpickled with four names allowed.
Batch norm is folded into the convolutions, and the graph is written as ONNX by hand, in memory.
Source: Tan and Le 2019 (EfficientNet), TensorFlow's efficientnet-lite; onnx.proto3 field numbers.
"""

from __future__ import annotations

import collections
import pickle
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modgate.plugin import Json

Array = NDArray[np.float32]

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
KINDS: Mapping[str, np.dtype[np.generic]] = {
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}
EPSILON = 1e-3
SIZE = 224
# repeats, kernel, stride, expansion
STAGES = (
    (1, 3, 1, 1),
    (2, 3, 2, 6),
    (2, 5, 2, 6),
    (3, 3, 2, 6),
    (3, 5, 1, 6),
    (4, 5, 2, 6),
    (1, 3, 1, 6),
)


class _Storage(NamedTuple):
    key: str
    kind: str
    size: int


class _View(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuilt(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    *rest: object,
) -> _View:
    del rest
    return _View(storage, offset, shape, stride)


class _Restricted(pickle.Unpickler):
    """Reads data only: four names exist, any other is refused."""

    names: Mapping[tuple[str, str], Json] = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuilt,
        ("torch", "FloatStorage"): "FloatStorage",
        ("torch", "LongStorage"): "LongStorage",
    }

    def find_class(self, module: str, name: str) -> Json:
        """One of the four."""
        try:
            return self.names[module, name]
        except KeyError:
            text = f"the checkpoint names {module}.{name}, which is not data"
            raise pickle.UnpicklingError(text) from None

    def persistent_load(self, pid: Json) -> _Storage:
        """A reference to a storage."""
        tag, kind, key, _, size, _ = pid
        if tag != "storage":
            raise pickle.UnpicklingError("not a storage")
        return _Storage(key, kind, size)


def _load(file: BinaryIO) -> Json:
    return _Restricted(file).load()


def read_checkpoint(path: Path) -> dict[str, Array]:
    """Weights by name; ValueError for a file that is damaged."""
    with path.open("rb") as file:
        if (_load(file), _load(file)) != (MAGIC, VERSION):
            raise ValueError("not a torch checkpoint of the old format")
        _load(file)
        state: Mapping[str, _View] = _load(file)
        keys: Sequence[str] = _load(file)
        kinds = {view.storage.key: view.storage for view in state.values()}
        stored = {key: _numbers(file, kinds[key]) for key in keys}
    return {name: _array(view, stored[view.storage.key]) for name, view in state.items()}


def _numbers(file: BinaryIO, storage: _Storage) -> Json:
    (count,) = struct.unpack("<q", file.read(8))
    if count != storage.size:
        raise ValueError("the checkpoint is damaged")
    kind = KINDS[storage.kind]
    return np.frombuffer(file.read(count * kind.itemsize), kind)


def _array(view: _View, data: Json) -> Array:
    """Most weights lie transposed in their storage; a view beyond its end is refused."""
    last = view.offset + sum((d - 1) * s for d, s in zip(view.shape, view.stride, strict=True))
    if view.offset < 0 or min(view.stride, default=0) < 0 or 0 in view.shape or last >= len(data):
        raise ValueError("the checkpoint is damaged")
    steps = [stride * data.itemsize for stride in view.stride]
    strided: Array = np.lib.stride_tricks.as_strided(data[view.offset :], view.shape, steps)
    return strided


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _int(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes(field: int, data: bytes | str) -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _ints(name: str, values: Iterable[int]) -> bytes:
    return _bytes(5, _bytes(1, name) + _int(20, 7) + b"".join(_int(8, v) for v in values))


def _one(name: str, value: int) -> bytes:
    return _bytes(5, _bytes(1, name) + _int(20, 2) + _int(3, value))


def _tensor(name: str, array: Array) -> bytes:
    raw = np.ascontiguousarray(array, "<f4").tobytes()
    dims = b"".join(_int(1, d) for d in array.shape)
    return _bytes(5, dims + _int(2, 1) + _bytes(8, name) + _bytes(9, raw))


def _value(field: int, name: str, dims: Iterable[int]) -> bytes:
    shape = b"".join(_bytes(1, _int(1, d)) for d in dims)
    kind = _bytes(2, _bytes(1, _int(1, 1) + _bytes(2, shape)))
    return _bytes(field, _bytes(1, name) + kind)


class _Graph:
    """An ONNX graph in the making."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []
        self._count = 0
        self._clip = (self.constant(np.zeros((), "f4")), self.constant(np.full((), 6.0, "f4")))

    def constant(self, array: Json) -> str:
        """A named tensor."""
        self._count += 1
        name = f"w{self._count}"
        self._tensors.append(_tensor(name, np.asarray(array, "f4")))
        return name

    def node(self, kind: str, inputs: Sequence[str], attributes: bytes = b"") -> str:
        """An operation; the answer is its output's name."""
        self._count += 1
        out = f"t{self._count}"
        named = b"".join(_bytes(1, each) for each in inputs)
        self._nodes.append(_bytes(1, named + _bytes(2, out) + _bytes(4, kind) + attributes))
        return out

    def conv(self, x: str, name: str, norm: str, stride: int = 1, clip: bool = True) -> str:
        """A convolution with its batch norm folded in, then ReLU6."""
        w = self._weights
        kernel = w[f"{name}.weight"]
        scale = w[f"{norm}.weight"] / np.sqrt(w[f"{norm}.running_var"] + EPSILON)
        bias = w[f"{norm}.bias"] - w[f"{norm}.running_mean"] * scale
        side = kernel.shape[2]
        depthwise = kernel.shape[1] == 1 and kernel.shape[0] > 1 and side > 1
        padding = max(side - stride, 0)
        low, high = padding // 2, padding - padding // 2
        attributes = _ints("kernel_shape", (side, side)) + _ints("strides", (stride, stride))
        attributes += _ints("pads", (low, low, high, high))
        attributes += _one("group", kernel.shape[0] if depthwise else 1)
        folded = self.constant(kernel * scale[:, None, None, None])
        x = self.node("Conv", [x, folded, self.constant(bias)], attributes)
        return self.node("Clip", [x, *self._clip]) if clip else x

    def model(self, out: str, classes: int) -> bytes:
        """The model's bytes."""
        graph = b"".join(self._nodes) + _bytes(2, "efficientnet_lite0") + b"".join(self._tensors)
        graph += _value(11, "image", (1, 3, SIZE, SIZE)) + _value(12, out, (1, classes))
        return _int(1, 8) + _bytes(2, "modgate") + _bytes(7, graph) + _bytes(8, _int(2, 13))


def build(weights: Mapping[str, Array]) -> bytes:
    """The network as an ONNX model: `image` 1x3x224x224 in, class probabilities out."""
    graph = _Graph(weights)
    x = graph.conv("image", "_conv_stem", "_bn0", 2)
    number = 0
    for repeats, _, stride, expansion in STAGES:
        for repeat in range(repeats):
            front = f"_blocks.{number}."
            number += 1
            skip = x
            if expansion > 1:
                x = graph.conv(x, f"{front}_expand_conv", f"{front}_bn0")
            step = stride if repeat == 0 else 1
            x = graph.conv(x, f"{front}_depthwise_conv", f"{front}_bn1", step)
            x = graph.conv(x, f"{front}_project_conv", f"{front}_bn2", clip=False)
            if repeat > 0:
                x = graph.node("Add", [x, skip])
    x = graph.conv(x, "_conv_head", "_bn1")
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    head = [graph.constant(weights["_fc.weight"]), graph.constant(weights["_fc.bias"])]
    x = graph.node("Softmax", [graph.node("Gemm", [x, *head], _one("transB", 1))])
    return graph.model(x, weights["_fc.bias"].shape[0])
