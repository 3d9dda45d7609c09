"""``python -m segjax.dlstudio``: DLStudio's saved_model into a run folder and back, and its layer.

The layer, or any other transposed convolution: which pixels it writes, and what that costs.
"""

import argparse
import contextlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segjax.errors import CheckpointError, ConfigError, Parser, exit_code, leave

if TYPE_CHECKING:
    from segjax.dlstudio.weights import Imported

AnyPath = str | os.PathLike[str]

EXTRA_FILE = "dlstudio_extra.npz"  # the tensors that DLStudio constructs and segjax does not hold


def import_run(
    saved_model: AnyPath, run_folder: AnyPath, *, skip_connections: bool | None = None
) -> "Imported":
    """Make a run folder at step 0 of DLStudio's recipe from weights that DLStudio saved.

    The folder is one that training resumes from and prediction reads. Tensors that segjax does not
    hold are kept in it for ``export_run``. Weights become float32.

    Raises CheckpointError as ``dlstudio.from_state_dict`` does, and ConfigError if the folder
    already holds a run or cannot be written.
    """
    import jax
    import numpy as np

    from segjax.config import Config
    from segjax.dlstudio import weights as dlstudio
    from segjax.runs.checkpoints import Checkpoints
    from segjax.runs.claim import open_run
    from segjax.runs.folder import CONFIG_FILE, RunFolder
    from segjax.training.optim import make_optimizer
    from segjax.training.step import STEP_STREAM, TrainState, stream

    imported = dlstudio.from_state_dict(saved_model, skip_connections=skip_connections)
    folder = RunFolder(Path(run_folder))
    if (folder.path / CONFIG_FILE).exists() or folder.checkpoints.exists():
        raise ConfigError(f"{folder.path}: already holds a run; name another folder")
    names = ("depth", "head", "upsampling", "skip_connections")
    settings = {name: getattr(imported, name) for name in names}
    config = Config(**settings, run_dir=os.fspath(folder.path))
    variables = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), imported.variables)
    state = TrainState(
        **variables,
        step=jax.numpy.zeros((), np.int32),
        opt_state=make_optimizer(config, 1).init(variables["params"]),
        key=stream(config.seed, STEP_STREAM),
    )
    open_run(folder, config)
    np.savez(folder.path / EXTRA_FILE, **imported.extra)  # type: ignore[arg-type]
    meta = {"progress": {}, "imported": os.fspath(saved_model), **config.telling()}
    Checkpoints(folder.checkpoints).save(0, state, meta)
    return imported


def export_run(run_folder: AnyPath, saved_model: AnyPath, *, which: Any = "best") -> None:
    """Write a run's weights as the file that DLStudio's test pass loads.

    Args:
      run_folder: as a run or ``import_run`` left it.
      saved_model: the file to write; it must not exist yet.
      which: 'best' (the newest where no step has a score), 'newest' or a step.

    Raises CheckpointError if there is no good checkpoint or the file exists or cannot be written.
    """
    import numpy as np

    from segjax.dlstudio import weights as dlstudio
    from segjax.dlstudio.torchfile import write_torch_file
    from segjax.runs.checkpoints import load_params
    from segjax.runs.folder import RunFolder

    folder, target = RunFolder(Path(run_folder)), Path(saved_model)
    if target.exists():
        raise CheckpointError(f"{target}: exists already; remove it or name another file")
    params, batch_stats, _ = load_params(folder.checkpoints, which=which)
    variables = {"params": params, "batch_stats": batch_stats}
    extra, kept = {}, folder.path / EXTRA_FILE
    try:
        with contextlib.suppress(FileNotFoundError), np.load(kept, allow_pickle=False) as stored:
            extra = dict(stored)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{kept}: cannot be read: {error}") from None
    write_torch_file(target, dlstudio.to_arrays(variables, extra=extra))


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    about = "Exchange the weights of DLStudio's mUnet; look at transposed convolutions."
    parser = Parser(prog="segjax dlstudio", description=about)
    commands = parser.add_subparsers(dest="command", required=True)
    inward = commands.add_parser("import", help="saved_model of DLStudio to a run folder")
    inward.add_argument("saved_model")
    inward.add_argument("run_folder")
    inward.add_argument(
        "--skip_connections",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="say it for weights that were never trained; else it is read off them",
    )
    outward = commands.add_parser("export", help="run folder to a saved_model for DLStudio")
    outward.add_argument("run_folder")
    outward.add_argument("saved_model")
    outward.add_argument("--step", type=int, help="a step instead of the best or newest")
    layer = commands.add_parser("layer", help="what a transposed convolution can write")
    line = "nn.ConvTranspose2d(64, 5, 3, stride=2, dilation=2, output_padding=1, padding=2)"
    layer.add_argument("line", nargs="?", default=line, help=f"a line of PyTorch; default: {line}")
    layer.add_argument("--input", type=int, default=32, metavar="N", help="NxN pixels; default: 32")
    layer.add_argument("--masks", metavar="FILE", help="a PurdueShapes .gz to score it on")
    return parser


def about_layer(line: str, size: int, masks_file: str | None) -> Iterator[str]:
    """Yield what there is to say of a layer, and its best scores on the masks of a data set."""
    from segjax.dlstudio.floors import layer_floors
    from segjax.dlstudio.transposed import parse_torch

    layer = parse_torch(line)
    taps = layer.taps((size, size))
    height, width = taps.shape
    yield f"{size}x{size} become {height}x{width} pixels"
    steps = f"{layer.rows.stride} and {layer.columns.stride}"
    yield f"taps that reach a pixel, by its row and its column modulo {steps}:"
    for row in layer.pattern((size, size)):
        yield "  " + " ".join(f"{count:3}" for count in row)
    missing = int((taps == 0).sum())
    yield f"never written: {missing:,} of {taps.size:,} pixels, {missing / taps.size:.1%}"
    yield f"written: by {taps[taps > 0].min(initial=taps.max())} to {taps.max()} taps"
    if masks_file is None:
        return
    from segjax.data import load

    data = load(masks_file)
    floors = layer_floors(data.masks, layer.written(data.masks.shape[1:3]))
    yield f"the most that any network before it can score on the {len(data):,} images:"
    yield f"  {'':12}{'IoU':>8}{'Dice':>8}"
    for name, iou in zip(data.class_names, floors.iou, strict=True):
        yield f"  {name:12}{iou:8.3f}{2 * iou / (1 + iou):8.3f}"
    yield f"  lowest mean squared error {floors.mse:.4g} (all zero: {floors.mse_all_zero:.4g}),"
    yield f"  lowest Dice loss {floors.dice:.3f}, at {floors.dice_amplitude:.2f} times the masks"


def exchange(given: argparse.Namespace) -> None:
    """Do what the arguments ask for."""
    if given.command == "import":
        skip = given.skip_connections
        found = import_run(given.saved_model, given.run_folder, skip_connections=skip)
        network = f"mUnet of depth {found.depth}, head {found.head}"
        skips = "with" if found.skip_connections else "without"
        print(f"{given.run_folder}: {network}, {skips} skip connections")
    elif given.command == "layer":
        for line in about_layer(given.line, given.input, given.masks):
            print(line)
    else:
        which = "best" if given.step is None else given.step
        export_run(given.run_folder, given.saved_model, which=which)
        print(f"{given.saved_model}: written; DLStudio's net.load_state_dict takes it")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 1 for what cannot be done."""
    return exit_code(
        lambda: exchange(make_parser().parse_args(argv)),
        prefix="error",
        told={ConfigError: (1, "{error}")},
    )


if __name__ == "__main__":
    leave(main())
