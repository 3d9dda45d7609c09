"""Write a run's network in formats that do without segjax, each checked on the spot."""

import argparse
from collections.abc import Sequence

from segjax.errors import ConfigError, Parser, exit_code, leave
from segjax.settings import SIZE_MULTIPLE

FORMATS = ("jax", "onnx", "safetensors", "dlstudio")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = Parser(
        prog="segjax export",
        description="Write a trained run's network as a folder that does without segjax.",
        epilog="Exit code 0: written and checked; 1: a format failed; 2: wrong usage.",
    )
    parser.add_argument("run_folder", help="folder of a run")
    parser.add_argument("out", help="folder to write; it must not exist or be empty")
    parser.add_argument(
        "--format",
        default="jax",
        help=f"comma-separated: {', '.join(FORMATS)}; default: jax. onnx needs segjax[onnx], "
        "safetensors needs segjax[safetensors]",
    )
    parser.add_argument(
        "--which", default="best", help="checkpoint: best (default), newest or a step's number"
    )
    parser.add_argument(
        "--size",
        help="HEIGHTxWIDTH of the jax program's images, multiples of 8; default: the training's",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    return exit_code(
        lambda: export(make_parser().parse_args(argv)),
        told={KeyboardInterrupt: (130, "stopped; the folder is not complete")},
    )


def export(given: argparse.Namespace) -> None:
    """Write the folder that the arguments ask for."""
    formats = list(dict.fromkeys(filter(None, map(str.strip, given.format.split(",")))))
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"--format={name}: choose from {', '.join(FORMATS)}")
    if not formats:
        raise ConfigError(f"--format={given.format}: name at least one of {', '.join(FORMATS)}")
    size = None
    if given.size is not None:
        sides = given.size.lower().partition("x")[::2]
        height, width = (int(side) if side.isdecimal() else 0 for side in sides)
        size = height, width
        if not height * width or height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
            raise ConfigError(
                f"--size={given.size}: give HEIGHTxWIDTH, both multiples of 8, such as 256x256"
            )
    from segjax.export.folder import export_run
    from segjax.predict.trained import which_of

    which = which_of(given.which)
    export_run(given.run_folder, given.out, formats=formats, size=size, which=which)


if __name__ == "__main__":
    leave(main())
