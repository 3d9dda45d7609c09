"""The README of an exported folder: what is in it and how to run it, without segjax.

Its words are in ``card.md``: the beginning, then a section for each format, after its name.
"""

import re
from importlib import resources
from string import Template
from typing import Any

MEANING = {
    "values": "the output over the class's mask value",
    "sigmoid": "the class's probability, by itself",
    "softmax": "the class's probability, one of background and classes",
}


def readme(about: dict[str, Any]) -> str:
    """Return the text for an export.json's content."""
    words = resources.files(__package__).joinpath("card.md").read_text(encoding="utf-8")
    beginning, *sections = re.split(r"\n<!-- (\w+) -->\n", words)
    section = dict(zip(sections[::2], sections[1::2], strict=True))
    height, width = about["image_size"]
    values = {
        "names": ", ".join(f"{index} {name}" for index, name in enumerate(about["classes"], 1)),
        "count": len(about["classes"]),
        "meaning": MEANING[about["scores"]],
        "height": height,
        "width": width,
        **{name: about[name] for name in ("run", "network", "depth")},
    }
    text = Template(beginning).substitute(values)
    for name, check in about["formats"].items():
        text += Template(section[name]).substitute(values, file=check["file"])
    return text
