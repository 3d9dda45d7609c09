"""Runs side by side, and what a network consists of: ``python -m segjax.show RUN_FOLDER...``."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segjax.config import MOST_CHANNELS, Config, argument_of, flag_fields, names_with
from segjax.errors import ConfigError, Parser, exit_code, leave, one_line
from segjax.loss_table import spec
from segjax.runs.folder import CONFIG_FILE, RESULTS_FILE, RunFolder
from segjax.runs.seeds import summary_line
from segjax.settings import SIZE_MULTIPLE, check_value

FIGURE_FILE = "runs.png"
MOST_PIXELS = 2**16  # of a side of the image that a summary is of
# Settings that describe a network without a run.
NETWORK_SETTINGS = ("network", "unet_widths", "unet_patch", "unet_blocks",
                    "depth", "head", "upsampling", "skip_connections")  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = Parser(
        prog="segjax show",
        description="Compare runs: settings that differ, test scores, time and device.",
        epilog="Exit code 0: shown; 1: something cannot be read; 2: wrong usage.",
    )
    parser.add_argument("runs", nargs="*", help="folders of runs, or folders that hold such")
    parser.add_argument(
        "--figure", help=f"the curves, as a PNG; default with two runs: {FIGURE_FILE}"
    )
    parser.add_argument(
        "--summary", action="store_true", help="the network's layers, shapes, parameters and cost"
    )
    fields = {field.name: field for field in flag_fields()}
    for name in NETWORK_SETTINGS:
        how = argument_of(fields[name])
        parser.add_argument(f"--{name}", help="of --summary without a run", **how)
    parser.add_argument("--outputs", type=int, help="output channels; default: 5, or the run's")
    parser.add_argument("--size", type=int, help="side of the image; default: 64, or the run's")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""

    def show() -> None:
        given = make_parser().parse_args(argv)
        if not given.summary and not given.runs:
            raise ConfigError("name at least one run folder, or ask for --summary")
        print("\n".join(summary(given) if given.summary else compare(given.runs, given.figure)))

    return exit_code(show)


def compare(runs: Sequence[str], figure: str | None) -> list[str]:
    """Return the table of the runs, and draw their curves if there are several or it is asked."""
    folders = find_runs(runs)
    names = short_names([folder.path for folder in folders])
    configs = [folder.config() for folder in folders]
    lines = differences(names, configs)
    lines += ["", *table(names, [row_of(folder) for folder in folders]), *spread_lines(folders)]
    if path := figure or (FIGURE_FILE if len(folders) > 1 else None):
        from segjax import plots

        same = len({config.loss for config in configs}) == 1
        logs = {name: folder.records() for name, folder in zip(names, folders, strict=True)}
        plots.save(plots.runs_figure(logs, share_loss=same), path)
        lines += ["", f"curves: {path}"]
    return lines


def find_runs(paths: Sequence[str]) -> list[RunFolder]:
    """Return the runs at ``paths`` or directly below; ConfigError for a path without any."""
    found: dict[Path, RunFolder] = {}
    for path in map(Path, paths):
        runs = [path] if (path / CONFIG_FILE).exists() else folders_below(path)
        # A folder of several seeds stands for their runs.
        several = {run: RunFolder(run).config().seeds > 1 for run in runs}
        runs = [one for run in runs for one in (folders_below(run) if several[run] else [run])]
        if not runs:
            raise ConfigError(f"{path}: holds no run ({CONFIG_FILE} is missing)")
        for run in runs:
            found.setdefault(run.resolve(), RunFolder(run))
    return list(found.values())


def folders_below(path: Path) -> list[Path]:
    """Return the folders directly below ``path`` that hold settings."""
    return sorted(file.parent for file in path.glob(f"*/{CONFIG_FILE}"))


def spread_lines(folders: Sequence[RunFolder]) -> list[str]:
    """Return a line for each folder of seeds that the runs come from, if all have ended."""
    lines = []
    for parent in map(RunFolder, dict.fromkeys(folder.path.parent for folder in folders)):
        if not (parent.path / CONFIG_FILE).exists() or parent.config().seeds == 1:
            continue
        try:
            told = summary_line(parent.results())
        except ConfigError:
            told = "not all seeds have ended"
        except (TypeError, AttributeError, ValueError, LookupError) as error:
            raise _no_results(parent, error) from None
        lines.append(f"{parent.path.name}: {told}")
    return ["", *lines] if lines else []


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the folders' own names, with as many parents as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    counts = range(1, max(map(len, parts)) + 1)
    tried = (["/".join(part[-count:]) for part in parts] for count in counts)
    return next(names for names in tried if len(set(names)) == len(names))


def row_of(folder: RunFolder) -> dict[str, str]:
    """Return what the table says of one run; '-' where the run has not come that far.

    Raises ConfigError if its results.json is not what a run writes.
    """
    try:
        return _row_of(folder)
    except (TypeError, AttributeError, ValueError, ArithmeticError, LookupError) as error:
        if isinstance(error, ConfigError):
            raise
        raise _no_results(folder, error) from None


def _no_results(folder: RunFolder, error: Exception) -> ConfigError:
    told = f"is not what a run writes ({type(error).__name__}: {one_line(error)})"
    return ConfigError(f"{folder.path / RESULTS_FILE}: {told}")


def _row_of(folder: RunFolder) -> dict[str, str]:
    config = folder.config()
    ended = (folder.path / RESULTS_FILE).exists()
    results: Mapping[str, Any] = folder.results() if ended else {}
    test = results.get("test", {})
    half = test.get("half", {})
    mean = half.get("mean", {})
    last = ([{"step": 0}] + [record for record in folder.records() if "step" in record])[-1]
    steps = results.get("steps") or last["step"]
    cells = {
        "loss": (config.loss, ""),
        "test mIoU": (mean.get("iou"), ".4f"),
        "Dice": (mean.get("dice"), ".4f"),
        "accuracy": (half.get("pixel_accuracy"), ".4f"),
        "test loss": (test.get("loss"), ".4g"),
        "parameters": (results.get("parameters"), ","),
        "steps": (f"{steps:,}" + ("" if results else " (not ended)"), ""),
        "train s": (results.get("train_seconds", last.get("seconds")), ",.1f"),
        "device": (results.get("environment", {}).get("device", "-"), ""),
    }
    return {
        name: "-" if value is None else format(value, form) for name, (value, form) in cells.items()
    }


def differences(names: Sequence[str], configs: Sequence[Config]) -> list[str]:
    """Return a table of the settings in which the runs differ, or, of one, from the defaults."""
    alone = len(configs) == 1
    if alone:
        names, configs = ["default", *names], [Config(), *configs]
    # The loss's parameters among them; left out is where and how often, not what was trained.
    settings = [{**vars(config), **config.loss_params} for config in configs]
    left_out = {"loss_params", *names_with("compared", has=False)}
    rows = {
        f"--{key}": {
            name: str(values.get(key, "-")) for name, values in zip(names, settings, strict=True)
        }
        for key in dict.fromkeys(key for values in settings for key in values)
        if key not in left_out and len({str(values.get(key)) for values in settings}) > 1
    }
    if not rows:
        return [f"the settings are {'the defaults' if alone else 'all the same'}"]
    return table(list(rows), list(rows.values()))


def table(names: Sequence[str], rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return rows as aligned lines, each headed by its name."""
    rows = [{name: name for name in rows[0]}, *rows]
    widths = {name: max(len(row[name]) for row in rows) for name in rows[0]}
    first = max(map(len, names))
    lines = []
    for title, row in zip(["", *names], rows, strict=True):
        cells = (f"{row[name]:>{width}}" for name, width in widths.items())
        lines.append("  ".join([f"{title:{first}}", *cells]).rstrip())
    return lines


def summary(given: argparse.Namespace) -> list[str]:
    """Return the summary of each run's network, or of the one that the flags describe."""
    for name, low, high in (("size", SIZE_MULTIPLE, MOST_PIXELS), ("outputs", 1, MOST_CHANNELS)):
        if (value := getattr(given, name)) is not None:
            check_value(name, value, default=low, low=low, high=high)
    if given.size is not None and given.size % SIZE_MULTIPLE:
        raise ConfigError(f"--size={given.size}: must be a multiple of {SIZE_MULTIPLE}")
    values = {name: getattr(given, name) for name in NETWORK_SETTINGS}
    asked = {name: value for name, value in values.items() if value is not None}
    if given.runs and asked:
        raise ConfigError(f"--{next(iter(asked))} and a run exclude each other: the run says it")
    if not given.runs:
        return _network_lines(Config().replace(**asked), given.outputs or 5, given.size or 64)
    lines: list[str] = []
    for folder in find_runs(given.runs):
        config = folder.config()
        size = given.size or config.image_size or 64
        try:
            classes = len(folder.results()["classes"])
        except (ConfigError, KeyError, TypeError):
            classes = 5
        outputs = given.outputs or classes + (spec(config.loss).reads == "softmax")
        lines += ["", str(folder.path), *_network_lines(config, outputs, size)]
    return lines[1:]


def _network_lines(config: Config, outputs: int, size: int) -> list[str]:
    from segjax.networks.build import make_network
    from segjax.networks.summary import lines_of

    return lines_of(make_network(config, num_classes=outputs), size=(size, size))


if __name__ == "__main__":
    leave(main())
