"""Load DLStudio without the packages that mUnet never uses."""

import importlib
import sys
from types import ModuleType


def load_dlstudio():
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
