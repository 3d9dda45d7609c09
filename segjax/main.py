"""The command line: ``python -m segjax.main --loss=combo --dice_scale=400``.

The only module that knows absl flags. It turns them into a ``Config`` and hands that to
``segjax.training.run``; jax is imported only once the flags are known to be good.
"""

import ast
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from segjax.config import Config, check_given, flag_fields, names_with
from segjax.errors import ConfigError, SegjaxError, exit_code, leave
from segjax.loss_table import PARAMETERS
from segjax.runs.folder import CONFIG_FILE, RunFolder
from segjax.runs.stopping import leave_on_signals
from segjax.settings import GROUPS

USAGE = """Train a network, by default DLStudio's mUnet on its data, and measure it on test images.

  segjax train --loss=combo --dice_scale=400      DLStudio's recipe; hours on a CPU
  segjax train --config=quick                     minutes on a CPU, mean IoU 0.94
  segjax train --config=list                      the presets
  segjax train --data=synthetic --epochs=1        no download

Settings come from the defaults, then --config, then the flags given by hand. Every run leaves a
folder under runs/ with its settings, log, figures, checkpoints and results.json.
"""


def define_flags(values: flags.FlagValues) -> None:
    """Declare one flag per setting; unset flags are None, so that a config file can fill them."""
    text = "A preset's name, such as quick, or a Python file with get_config() -> Config."
    flags.DEFINE_string("config", None, text, flag_values=values)
    kinds: dict[type, Callable[..., Any]] = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    rows = [
        (field.name, field.default, field.metadata["choices"], field.metadata["help"])
        for field in flag_fields()
    ]
    rows += [
        (name, about.default, about.choices, f"Of the loss: {about.help}.")
        for name, about in PARAMETERS.items()
    ]
    for name, default, choices, text in rows:
        shown = f"{text} Default: {'empty' if default == '' else default}."
        if choices:
            flags.DEFINE_enum(name, None, list(choices), shown, flag_values=values)
        else:
            kinds[type(default)](name, None, shown, flag_values=values)


def config_from_flags(values: flags.FlagValues) -> Config:
    """Return the defaults, overlaid by the config file or the resumed run's, then by the flags."""

    def given(names: Iterable[str]) -> dict[str, Any]:
        return {name: values[name].value for name in names if values[name].value is not None}

    settings, parameters = given(field.name for field in flag_fields()), given(PARAMETERS)
    base = Config()
    if values["config"].value is not None:
        base = load_config(values["config"].value)
    elif settings.get("resume") and (Path(settings.get("run_dir", "")) / CONFIG_FILE).exists():
        # A run that goes on keeps its own settings; flags given by hand are checked against them.
        base = RunFolder(settings["run_dir"]).config().replace(resume=False, overwrite=False)
    kept = base.loss_params if settings.get("loss", base.loss) == base.loss else {}
    config = base.replace(loss_params={**kept, **parameters}, **settings)
    check_given(config, settings)
    return config


def presets() -> dict[str, Path]:
    """Return the files of the presets by name: configs/ of a checkout, or what was installed."""
    package = Path(__file__).parent
    folders = (package / "configs", package.parent / "configs")
    folder = next((folder for folder in folders if (folder / "quick.py").is_file()), package)
    return {file.stem: file for file in sorted(folder.glob("[a-z]*.py"))}


def preset_lines() -> Iterator[str]:
    """Yield a line for each preset: its name, and what the first line of its file says."""
    for name, file in presets().items():
        about = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        yield f"  --config={name:10} {about.partition(chr(10))[0]}"


def load_config(path: str) -> Config:
    """Run a config file, or a preset's by its name, and return what its get_config() gives."""
    if not Path(path).is_file():
        if path not in presets():
            known = ", ".join(presets())
            raise ConfigError(f"--config={path}: no such file, and no preset ({known})")
        path = str(presets()[path])
    if Path(path).suffix != ".py":
        raise ConfigError(f"--config={path}: is no preset and no .py file with get_config()")
    try:
        # Not an import: no __pycache__ beside the file, and what was just edited is what counts.
        names = runpy.run_path(path)
        if "get_config" not in names:
            raise ConfigError("needs a get_config()")
        config = names["get_config"]()
    except SegjaxError as error:
        raise ConfigError(f"--config={path}: {error}") from None
    except Exception as error:
        raise ConfigError(f"--config={path}: {type(error).__name__}: {error}") from None
    if not isinstance(config, Config):
        raise ConfigError(f"--config={path}: get_config() gave a {type(config).__name__}")
    return config


def help_text(values: flags.FlagValues) -> str:
    """Return the page that --help prints: the usage, then the flags, under headings."""
    sections = {"The flags that matter first": ["config", *names_with("first")]}
    for group, heading in GROUPS.items():
        sections[heading] = [
            field.name
            for field in flag_fields()
            if field.metadata["group"] == group and not field.metadata["first"]
        ]
    sections[GROUPS["loss"]] += PARAMETERS
    lines = [USAGE]
    for heading, names in sections.items():
        lines.append(f"{heading}:")
        for name in names:
            lines += [f"  --{name}", flags.text_wrap(values[name].help, indent="      ")]
        lines.append("")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 1 failed, 2 wrong flags or settings."""
    arguments = list(sys.argv if argv is None else ["segjax.main", *argv])
    told: dict[type[BaseException], tuple[int, str]] = {
        flags.Error: (2, "{error}"),
        MemoryError: (1, "out of memory: try a smaller --batch_size or --train_images"),
    }
    with leave_on_signals():
        return exit_code(lambda: train(arguments), told=told)


def train(arguments: Sequence[str]) -> int:
    """Do what the flags ask for: print the help, or train; return the exit code."""
    values = flags.FlagValues()
    define_flags(values)
    if any(argument in ("--help", "-h", "-help", "--helpfull", "-?") for argument in arguments):
        print(help_text(values))
        return 0
    try:
        rest = values(arguments)[1:]
    except flags.IllegalFlagValueError as error:
        what = "invalid literal for int() with base 10:", "must be a whole number, not"
        raise ConfigError(str(error).replace(*what)) from None
    if rest:
        like = f"--config={rest[0]}" if rest[0] in presets() else "--loss=combo"
        raise ConfigError(f"{rest[0]!r} is not a flag; flags look like {like}")
    if values["config"].value == "list":
        print("\n".join(preset_lines()))
        return 0
    config = config_from_flags(values)
    from segjax.training.run import run  # jax loads here, after the flags are known to be good

    return 0 if run(config).finished else 130


if __name__ == "__main__":
    leave(main())
