"""Lets the oracle libraries import with a CPU build of PyTorch."""

import contextlib
import importlib.util

if importlib.util.find_spec("torch") and importlib.util.find_spec("torchvision"):
    import torch

    # segmentation_models_pytorch needs torchvision only to be imported. Beside a CPU build of
    # torch, PyPI's torchvision (built for CUDA) lacks its compiled operators and stops at those
    # that it describes. Declaring them lets the import go on; where they exist, nothing happens.
    _LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for _name in ("nms", "qnms"):
            with contextlib.suppress(RuntimeError):
                _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
