"""The README of an exported folder: what is in it and how to run it, without segjax."""

from typing import Any

MEANING = {
    "values": "the output over the class's mask value",
    "sigmoid": "the class's probability, by itself",
    "softmax": "the class's probability, one of background and classes",
}

SNIPPETS = {
    "jax": """```python
from pathlib import Path

import jax
import numpy as np
from jax import export

program = export.deserialize(bytearray(Path("network.jaxexport").read_bytes()))
images = np.zeros((3, {height}, {width}, 3), np.uint8)  # yours: any number of RGB images, 0..255
result = program.call(images)
labels, scores = np.asarray(result["labels"]), np.asarray(result["scores"])
```""",
    "onnx": """```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("network.onnx", providers=["CPUExecutionProvider"])
images = np.zeros((3, {height}, {width}, 3), np.float32)  # yours: RGB, 0..255
labels, scores = session.run(["labels", "scores"], {{"images": images}})
```""",
    "safetensors": """```python
from safetensors.numpy import load_file

weights = load_file("weights.safetensors")
kernel = weights["params/conv_out/kernel"]  # height, width, input channels, output channels
```""",
    "dlstudio": """```python
# with PyTorch; in DLStudio: net.load_state_dict(torch.load("saved_model"))
import torch

weights = torch.load("saved_model", weights_only=True)
kernel = weights["conv_in.weight"]
```""",
}

ABOUT = {
    "jax": "A compiled program with its weights, for JAX on a CPU, GPU or TPU. Any batch size; "
    "images of {height}x{width}. Needs jax alone.",
    "onnx": "For onnxruntime and other ONNX runtimes. Any batch size; height and width any "
    "multiples of 8.",
    "safetensors": "The parameters and running statistics alone, as segjax names and lays them out "
    "(channels last).",
    "dlstudio": "The state_dict of DLStudio's mUnet, depth {depth}. DLStudio normalises by batch "
    "statistics at test time, so its outputs differ from the running ones here. Layers that "
    "DLStudio constructs and never runs have initial values.",
}


def readme(about: dict[str, Any]) -> str:
    """Return the text for an export.json's content."""
    height, width = about["image_size"]
    names = ", ".join(f"{index} {name}" for index, name in enumerate(about["classes"], 1))
    lines = [
        f"# {about['run']}: {about['network']}\n",
        f"`labels` are uint8 [batch, height, width]: 0 background, {names}.\n",
        f"`scores` are float32 [batch, height, width, {len(about['classes'])}], "
        f"{MEANING[about['scores']]}; above 0.5 a class counts, and the strongest names the pixel.",
        "Batch norm uses the running statistics: an image's result does not depend on its batch.",
        "`export.json` has the settings and how far each file was from the run's own network.",
    ]
    for name, check in about["formats"].items():
        text = ABOUT[name].format(height=height, width=width, depth=about["depth"])
        snippet = SNIPPETS[name].format(height=height, width=width)
        lines += ["", f"## {check['file']}", "", text, "", snippet]
    return "\n".join(lines) + "\n"
