"""The pages of the documentation, and the commands and the Python on them."""

import re
from pathlib import Path

from absl import flags

from segjax.main import config_from_flags, define_flags

ROOT = Path(__file__).parents[2]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def python(text):
    return re.findall(r"```python\n(.*?)```", text, re.S)


def commands(text):
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    return [line for block in blocks for line in block.splitlines() if line]


def run(code, name):
    scope = {}
    exec(compile(code, name, "exec"), scope)
    return scope


def config_of(arguments):
    """The settings of a run with these arguments, none of which is left over."""
    values = flags.FlagValues()
    define_flags(values)
    assert values(["segjax.main", *arguments])[1:] == []
    return config_from_flags(values)
