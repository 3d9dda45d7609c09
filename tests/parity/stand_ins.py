"""Load DLStudio without the packages that mUnet never uses."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock


def load_dlstudio() -> Any:
    """Return the class DLStudio, with empty modules in place of torchvision and pymsgbox.

    They are gone again afterwards: the other libraries of the comparisons want the real ones.
    """
    names = ("torchvision", "torchvision.transforms", "torchvision.utils", "pymsgbox")
    stand_ins = {name: ModuleType(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    for name, module in stand_ins.items():
        if "." in name:
            setattr(sys.modules["torchvision"], name.partition(".")[2], module)
    try:
        # The package's __init__ binds the class over the module of the same name.
        return importlib.import_module("DLStudio").DLStudio
    finally:
        for name in stand_ins:
            del sys.modules[name]


@contextlib.contextmanager
def relu_out_of_place() -> Iterator[None]:
    """Give every relu's result its own memory while the context lasts; it computes the same.

    mUnet writes the saved channels into its input in place. Without skip connections that input is
    a relu's result, which its gradient reads, and PyTorch refuses the backward pass.
    """
    import torch

    original = torch.nn.functional.relu

    def relu(values: Any, inplace: bool = False) -> Any:
        return original(values, inplace=inplace).clone()

    with mock.patch.object(torch.nn.functional, "relu", relu):
        yield
