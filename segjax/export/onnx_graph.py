"""A network as an ONNX graph, written layer by layer; any batch, height and width.

Written here because jax2onnx, the known converter, pins orbax-checkpoint below 0.11.37, older than
segjax's, and fixes height and width.
The layers all have an ONNX operator of their own, so the graphs are small and readable here; they
repeat ``MUnet.__call__`` and ``UNet.__call__``, and the export compares the two on the spot.
"""

import functools
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segjax.networks.layers import BATCH_NORM_EPSILON
from segjax.predict.trained import Trained

OPSET = 17
IR_VERSION = 8  # as old as the opset, so that older runtimes read the file


class _Graph:
    """Nodes and weights so far; a value is named by the node that makes it."""

    def __init__(self, variables: Mapping[str, Any], onnx: Any) -> None:
        self.params, self.stats = variables["params"], variables["batch_stats"]
        self.helper, self.numpy_helper = onnx.helper, onnx.numpy_helper
        self.nodes: list[Any] = []
        self.weights: dict[str, Any] = {}

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def weight(self, name: str, value: Any) -> str:
        if name not in self.weights:
            self.weights[name] = self.numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def leaf(self, tree: Mapping[str, Any], path: str) -> np.ndarray:
        return np.asarray(functools.reduce(operator.getitem, path.split("/"), tree), np.float32)

    def kernel_and_bias(self, path: str, *axes: int, flip: bool = False) -> tuple[str, str]:
        kernel = self.leaf(self.params, f"{path}/kernel")
        kernel = kernel[::-1, ::-1] if flip else kernel
        bias = self.leaf(self.params, f"{path}/bias")
        weight = self.weight(f"{path}.weight", kernel.transpose(axes))
        return weight, self.weight(f"{path}.bias", bias)

    def conv(self, x: str, path: str, *, stride: int = 1) -> str:
        pad = self.leaf(self.params, f"{path}/kernel").shape[0] // 2
        weights = self.kernel_and_bias(path, 3, 2, 0, 1)
        return self.node("Conv", x, *weights, pads=[pad] * 4, strides=[stride] * 2)

    def transposed(self, x: str, path: str, *, flip: bool = False, **attributes: Any) -> str:
        """segjax keeps the kernel of the convolution that it amounts to, turned by 180 degrees."""
        weights = self.kernel_and_bias(path, 2, 3, 0, 1, flip=flip)
        return self.node("ConvTranspose", x, *weights, strides=[2, 2], **attributes)

    def norm(self, x: str, path: str) -> str:
        parts = (
            self.weight(f"{path}.{name}", self.leaf(tree, f"{path}/{name}"))
            for tree, names in ((self.params, ("scale", "bias")), (self.stats, ("mean", "var")))
            for name in names
        )
        return self.node("BatchNormalization", x, *parts, epsilon=BATCH_NORM_EPSILON)

    def relu_norm(self, x: str, path: str) -> str:
        return self.node("Relu", self.norm(x, path))

    def channels(self, x: str, first: int, end: int) -> str:
        ends = (self.weight(f"index_{n}", np.array([n], np.int64)) for n in (first, end, 1))
        return self.node("Slice", x, *ends)

    def join(self, *parts: str) -> str:
        return self.node("Concat", *parts, axis=1)


def write_onnx(trained: Trained, path: Path, _: tuple[int, int]) -> None:
    """Write the network as (images) -> scores, labels, with running batch-norm statistics.

    ``images`` is float32 [batch, height, width, 3], 0..255, height and width multiples of 8;
    ``scores`` float32 [batch, height, width, C]; ``labels`` uint8 [batch, height, width], 0 for
    background, else channel + 1.
    """
    import onnx

    graph = _Graph(trained.variables, onnx)
    network = _unet if trained.config.network == "unet" else _munet
    _heads(graph, trained, network(graph, trained))
    helper, kind = onnx.helper, onnx.TensorProto
    images, scores, labels = (
        helper.make_tensor_value_info(name, number, ["batch", "height", "width", *channels])
        for name, number, channels in (
            ("images", kind.FLOAT, [3]),
            ("scores", kind.FLOAT, [len(trained.class_names)]),
            ("labels", kind.UINT8, []),
        )
    )
    weights = list(graph.weights.values())
    made = helper.make_graph(graph.nodes, "segmentation", [images], [scores, labels], weights)
    versions = {"opset_imports": [helper.make_opsetid("", OPSET)], "ir_version": IR_VERSION}
    model = helper.make_model(made, producer_name="segjax", **versions)
    model.metadata_props.add(key="classes", value=",".join(trained.class_names))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _munet(graph: _Graph, trained: Trained) -> str:
    """Add the nodes of mUnet; the order of ``MUnet.__call__``."""
    model = trained.model
    half, early = model.depth // 2, model.depth // 2 // 4
    doubled: dict[str, Any] = {"output_padding": [1, 1]} if model.upsampling == "dlstudio" else {}

    def block(x: str, name: str, features: int, *, down: bool, resample: bool = False) -> str:
        stem = "convo" if down else "convoT"
        inputs = graph.leaf(graph.params, f"{name}/{stem}1/kernel").shape[2]
        out = x
        for number in (1, 2) if inputs == features else (1,):
            out = graph.relu_norm(graph.conv(out, f"{name}/{stem}{number}"), f"{name}/bn{number}")
        if resample and down:
            out, x = (graph.conv(value, f"{name}/downsampler", stride=2) for value in (out, x))
        elif resample:
            out, x = (graph.transposed(v, f"{name}/upsampler", **doubled) for v in (out, x))
        if not model.skip_connections:
            return out
        if inputs < features:
            x = graph.join(x, x)
        elif inputs > features:
            x = graph.channels(x, inputs - features, inputs)
        return graph.node("Add", out, x)

    def row(x: str, name: str, features: int, first: int, end: int, *, down: bool) -> str:
        for number in range(first, end):
            x = block(x, f"{name}_{number}", features, down=down)
        return x

    x = _inputs(graph, model.input_scale)
    x = graph.node("Relu", graph.conv(x, "conv_in"))
    x = graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = row(x, "skip64DN_arr", 64, 0, early, down=True)
    saved1 = graph.channels(x, 0, 32)
    x = block(x, "skip64dsDN", 64, down=True, resample=True)
    x = row(x, "skip64DN_arr", 64, early, half, down=True)
    x = graph.norm(x, "bn1DN")
    saved2 = graph.channels(x, 0, 32)
    x = block(x, "skip64to128DN", 128, down=True)
    x = row(x, "skip128DN_arr", 128, 0, early, down=True)
    x = graph.norm(x, "bn2DN")
    saved3 = graph.channels(x, 0, 64)
    x = row(x, "skip128DN_arr", 128, early, half, down=True)
    x = block(x, "skip128dsDN", 128, down=True, resample=True)

    x = block(x, "skip128usUP", 128, down=False, resample=True)
    x = row(x, "skip128UP_arr", 128, 0, early, down=False)
    x = graph.norm(graph.join(saved3, graph.channels(x, 64, 128)), "bn1UP")
    x = row(x, "skip128UP_arr", 128, 0, early, down=False)
    x = block(x, "skip128to64UP", 64, down=False)
    x = row(x, "skip64UP_arr", 64, early, half, down=False)
    x = graph.norm(graph.join(saved2, graph.channels(x, 32, 64)), "bn2UP")
    x = block(x, "skip64usUP", 64, down=False, resample=True)
    x = row(x, "skip64UP_arr", 64, 0, early, down=False)
    x = graph.join(saved1, graph.channels(x, 32, 64))
    if model.head == "dense":
        return graph.transposed(x, "conv_out")
    dotted: dict[str, Any] = {"dilations": [2, 2], "pads": [2, 2, 2, 2], "output_padding": [1, 1]}
    return graph.transposed(x, "conv_out", flip=True, **dotted)


def _unet(graph: _Graph, trained: Trained) -> str:
    """Add the nodes of the small U-Net; the order of ``UNet.__call__``."""
    model = trained.model

    def to_depth(x: str, size: int) -> str:
        return graph.node("SpaceToDepth", x, blocksize=size)

    def to_space(x: str, size: int) -> str:
        return graph.node("DepthToSpace", x, blocksize=size, mode="DCR")

    def block(x: str, name: str, *, residual: bool = True) -> str:
        out = graph.relu_norm(graph.conv(x, f"{name}/conv"), f"{name}/bn")
        return graph.node("Add", x, out) if residual else out

    def row(x: str, name: str, count: int) -> str:
        for number in range(count):
            x = block(x, f"{name}_{number}")
        return x

    levels = len(model.widths) - 1
    x = to_depth(_inputs(graph, model.input_scale), model.patch)
    x = block(x, "stem", residual=False)
    skips = []
    for level in range(levels):
        x = row(x, f"down{level}", model.blocks)
        skips.append(x)
        x = graph.relu_norm(graph.conv(to_depth(x, 2), f"halve{level}"), f"halve{level}_bn")
    x = row(x, "bottom", 2 * model.blocks)
    for level in reversed(range(levels)):
        x = to_space(graph.conv(x, f"double{level}"), 2)
        x = graph.norm(graph.node("Add", skips[level], x), f"double{level}_bn")
        x = row(x, f"up{level}", model.blocks)
    return to_space(graph.conv(x, "conv_out"), model.patch)


def _inputs(graph: _Graph, scale: float) -> str:
    """Add the nodes that bring images into the networks' layout and range."""
    x = graph.node("Transpose", "images", perm=[0, 3, 1, 2])
    if scale != 1.0:
        x = graph.node("Mul", x, graph.weight("input_scale", np.float32(scale)))
    return x


def _heads(graph: _Graph, trained: Trained, outputs: str) -> None:
    """Add scores and labels, as ``Objective.scores`` and ``trained.strongest`` define them."""
    objective = trained.objective
    classes = len(trained.class_names)
    if objective.reads == "sigmoid":
        scores = graph.node("Sigmoid", outputs)
    elif objective.reads == "softmax":
        scores = graph.channels(graph.node("Softmax", outputs, axis=1), 1, classes + 1)
    elif objective.unit_targets:
        scores = outputs
    else:
        values = np.array(objective.class_values, np.float32).reshape(1, -1, 1, 1)
        scores = graph.node("Div", outputs, graph.weight("class_values", values))
    graph.node("Transpose", scores, perm=[0, 2, 3, 1], name="scores")
    top = graph.node("ReduceMax", scores, axes=[1], keepdims=0)
    best = graph.node("ArgMax", scores, axis=1, keepdims=0)
    one = graph.weight("one", np.int64(1))
    floor = graph.weight("one_half", np.float32(0.5))
    if objective.reads == "softmax":
        axis = graph.weight("axis_1", np.array([1], np.int64))
        total = graph.node("ReduceSum", scores, axis, keepdims=0)
        floor = graph.node("Sub", graph.weight("unit", np.float32(1)), total)
    on = graph.node("Greater", top, floor)
    named = graph.node("Add", best, one)
    chosen = graph.node("Where", on, named, graph.weight("zero", np.int64(0)))
    graph.node("Cast", chosen, to=2, name="labels")  # 2 is UINT8
