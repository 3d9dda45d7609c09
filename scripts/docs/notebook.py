"""Make docs/own-images.ipynb from its text, docs/own_images.py, by running it.

    python -m scripts.docs.notebook

The text is Python in which '# %%' begins a code cell and '# %% [markdown]' a cell of comments; the
docstring is the first cell. The notebook is committed with its outputs. Needs
``pip install -e '.[notebook]'``.
"""

import argparse
import base64
import io
import json
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
TEXT = ROOT / "docs" / "own_images.py"
NOTEBOOK = ROOT / "docs" / "own-images.ipynb"
MAX_BYTES = 400_000
LIMIT_S = 3600
_CELL = re.compile(r"^# %%( \[markdown\])?\n", re.M)
_TOP = "home|root|tmp|var|usr|opt|mnt|work|Users|private"
_ABSOLUTE = re.compile(rf"(?<![\w.:/])/(?:{_TOP})\b[^\s'\"]*")


def cells_of(text: str) -> list[tuple[str, str]]:
    """Return the kind, 'markdown' or 'code', and the source of each cell of a percent text."""
    head, *parts = _CELL.split(text)
    cells = [("markdown", head.strip().removeprefix('"""').removesuffix('"""').strip())]
    for marked, body in zip(parts[::2], parts[1::2], strict=True):
        text = re.sub("^# ?", "", body, flags=re.M) if marked else body
        cells.append(("markdown" if marked else "code", text.strip()))
    return cells


def empty_notebook(cells: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return a notebook (format 4.5) of cells that were not run."""
    about = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    not_run: dict[str, Any] = {"markdown": {}, "code": {"execution_count": None, "outputs": []}}
    made = [
        {"cell_type": kind, "id": f"cell-{number:02d}", "metadata": {}, **not_run[kind]}
        | {"source": source.splitlines(keepends=True)}
        for number, (kind, source) in enumerate(cells)
    ]
    return {"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def execute(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the cells in a kernel that starts in ``folder``; returns the notebook with outputs."""
    import nbclient
    import nbformat

    node = nbformat.reads(text_of(notebook), as_version=4)
    nbformat.validate(node)
    nbclient.execute(node, cwd=str(folder), timeout=LIMIT_S, coalesce_streams=True)
    done = json.loads(nbformat.writes(node))
    for cell, given in zip(done["cells"], notebook["cells"], strict=True):
        cell |= {"metadata": {}, "source": given["source"]}  # without times
        if cell["cell_type"] == "code":
            cell["outputs"] = [lighter(output) for output in cell["outputs"]]
    return done | {"metadata": notebook["metadata"]}


def lighter(output: dict[str, Any]) -> dict[str, Any]:
    """Return an output with its picture, if it is one, in a quality that is enough to look at."""
    picture = output.get("data", {}).get("image/jpeg")
    if picture is None:
        return output
    packed = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode("".join(picture))))
    image.save(packed, "JPEG", quality=55, optimize=True)
    text = base64.b64encode(packed.getvalue()).decode("ascii")
    return {**output, "data": {**output["data"], "image/jpeg": text}}


def faults(notebook: dict[str, Any]) -> list[str]:
    """Return what must not be in a committed notebook: warnings, this machine's paths, bulk."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            told = (output.get("text", []), output.get("data", {}).get("text/plain", []))
            texts = ["".join(lines) for lines in told]
            if output.get("name") == "stderr":
                found.append(f"{cell['id']}: writes to stderr: {texts[0][:200]}")
            for text in texts:
                found += [f"{cell['id']}: a path: {path}" for path in _ABSOLUTE.findall(text)]
                if platform.node() and platform.node() in text.split():
                    found.append(f"{cell['id']}: names this machine")
    size = len(text_of(notebook).encode())
    if size > MAX_BYTES:
        found.append(f"{size} bytes, more than {MAX_BYTES}")
    return found


def text_of(notebook: dict[str, Any]) -> str:
    """Return the file's content."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebook and writes it; 1 if it holds what must not be committed."""
    parser = argparse.ArgumentParser(description="Run docs/own-images.ipynb and write it.")
    parser.add_argument("--out", type=Path, default=NOTEBOOK, help="default: docs/own-images.ipynb")
    given = parser.parse_args(arguments)
    notebook = empty_notebook(cells_of(TEXT.read_text(encoding="utf-8")))
    notebook = execute(notebook, TEXT.parent)
    found = faults(notebook)
    for line in found:
        sys.stderr.write(f"error: {line}\n")
    given.out.write_text(text_of(notebook), encoding="utf-8")
    sys.stdout.write(f"{given.out.name}: {len(text_of(notebook).encode())} bytes\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
