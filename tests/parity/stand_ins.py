"""Load DLStudio without the packages that mUnet never uses."""

import importlib
import sys
from types import ModuleType

UNUSED = (
    "pymsgbox",
    *("torchvision", "torchvision.transforms", "torchvision.utils"),
    *("torchmetrics", "torchmetrics.image", "torchmetrics.image.lpip"),  # since 2.5
)


class StandIn(ModuleType):
    """A module in which every name is None."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)


def load_dlstudio():
    """Return the class DLStudio, 2.3.6's or a later one's, with stand-ins for what it never uses.

    They are gone again afterwards: the other libraries of the comparisons want the real ones.
    """
    stand_ins = {name: StandIn(name) for name in UNUSED if name not in sys.modules}
    sys.modules.update(stand_ins)
    for name, module in stand_ins.items():
        parent, _, child = name.rpartition(".")
        if parent in stand_ins:
            setattr(stand_ins[parent], child, module)
    try:
        # The package's __init__ binds the class over the module of the same name.
        dlstudio = importlib.import_module("DLStudio").DLStudio
    finally:
        for name in stand_ins:
            del sys.modules[name]
    networks = dlstudio.SemanticSegmentation
    if not hasattr(networks, "mUnet"):
        networks.mUnet = networks.mUNet  # its name since 2.5
    return dlstudio
