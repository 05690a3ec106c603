"""A network as an ONNX graph, written node by node: the file format is stable, exporters and what they need are not.

Inputs: image (N, 3, H, W) uint8; where (N, RAYS, g, f) float32. Output: maps (N, outputs, g, f) float32. N, H and W are free.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perception.detectors.network import RAYS, Block, Network, trace

__all__ = ["IR_VERSION", "OPSET", "onnx_graph"]

OPSET, IR_VERSION = 17, 8  # of 2022: every runtime from onnxruntime 1.12 on reads them


def onnx_graph(network: Network) -> bytes:
    """The folded `network` as a serialised ONNX model. Raises ValueError if it is not folded, ModuleNotFoundError without onnx."""
    from onnx import TensorProto, helper  # type: ignore[import-untyped,unused-ignore]

    if any(isinstance(module, Block) and module.norm is not None for module in network.modules()):
        raise ValueError("only a folded network is exported: call fold() first")
    ops = _OnnxOps()
    ops.node("Cast", ["image"], to=TensorProto.FLOAT, output="pixels")
    scale = ops.constant(np.array(1.0 / 255.0, np.float32))
    x = ops.node("Mul", ["pixels", scale])
    result = trace(network, x, "where", ops)
    ops.node("Identity", [result], output="maps")
    graph = helper.make_graph(
        ops.nodes,
        "detector",
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 3, "H", "W"]),
            helper.make_tensor_value_info("where", TensorProto.FLOAT, ["N", RAYS, "g", "f"]),
        ],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["N", network.spec.outputs, "g", "f"])],
        ops.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="closedloop")
    data: bytes = model.SerializeToString()
    return data


class _OnnxOps:
    """Each operation appends its nodes and returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.scales = self.constant(np.array([1.0, 1.0, 2.0, 2.0], np.float32))

    def constant(self, value: NDArray[np.float32]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], *, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{kind}_{len(self.nodes)}", **attributes))
        return name

    def block(self, block: Block, x: str) -> str:
        conv = block.conv
        assert conv.bias is not None and isinstance(conv.padding, tuple)
        weight, bias = (self.constant(p.detach().float().cpu().numpy()) for p in (conv.weight, conv.bias))
        padding = [*conv.padding, *conv.padding]
        x = self.node("Conv", [x, weight, bias], kernel_shape=list(conv.kernel_size), strides=list(conv.stride), pads=padding)
        return self.relu(x) if block.active else x

    def add(self, x: str, y: str) -> str:
        return self.node("Add", [x, y])

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def double(self, x: str) -> str:
        return self.node("Resize", [x, "", self.scales], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
