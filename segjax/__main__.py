"""``segjax COMMAND ...`` and ``python -m segjax COMMAND ...``: every command by one name.

Each is a module of its own that works alone as well, as in ``python -m segjax.predict``.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from segjax import __version__
from segjax.errors import ConfigError, exit_code, leave
from segjax.settings import close_to

COMMANDS = {
    "train": ("segjax.main", "--config=quick", "train a network and test it"),
    "evaluate": ("segjax.evaluate.__main__", "RUN [DATA]", "measure a run on labelled images"),
    "predict": ("segjax.predict.__main__", "RUN IMAGE ...", "masks for your own pictures"),
    "export": ("segjax.export.__main__", "RUN FOLDER", "files for JAX, ONNX and safetensors"),
    "show": ("segjax.show", "RUN ...", "runs side by side"),
    "check": ("segjax.data.check.__main__", "DATA", "look at data before any training"),
    "fetch": ("segjax.data.fetch", "", "download PurdueShapes5MultiObject"),
    "dlstudio": (
        "segjax.dlstudio.__main__",
        "WHAT",
        "import, export: weights; layer: what one writes",
    ),
}


def usage() -> str:
    """Return the screen that says what there is."""
    calls = [f"segjax {name} {arguments}" for name, (_, arguments, _) in COMMANDS.items()]
    lines = [f"segjax {__version__}: semantic segmentation in JAX", ""]
    lines += [
        f"  {call:30}{what}" for call, (_, _, what) in zip(calls, COMMANDS.values(), strict=True)
    ]
    more = {"segjax COMMAND --help": "its flags", "segjax train --config=list": "the presets"}
    return "\n".join([*lines, "", *(f"  {call:30}{what}" for call, what in more.items())])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code, 0 for help and 2 for what is no command."""
    name, *arguments = [*(sys.argv[1:] if argv is None else argv)] or ["--help"]
    if name in COMMANDS:
        module = importlib.import_module(COMMANDS[name][0])
        code: int = module.main(arguments)
        return code

    def tell() -> None:
        if name in ("--version", "-V"):
            print(f"segjax {__version__}")
        elif name in ("--help", "-h", "help"):
            print(usage())
        else:
            raise ConfigError(f"{name!r} is no command;{close_to(name, COMMANDS)} (segjax --help)")

    return exit_code(tell)


def command() -> NoReturn:
    """Run a command and end the process, as ``segjax`` does."""
    leave(main())


if __name__ == "__main__":
    command()
