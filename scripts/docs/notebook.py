"""Make a notebook from its text, as docs/own-images.ipynb from own_images.py, by running it.

    python -m scripts.docs.notebook docs/own_images.py

The text is Python in which '# %%' begins a code cell and '# %% [markdown]' one of words (Jupytext's
percent format). The notebook is committed with its outputs. Needs ``pip install -e '.[notebook]'``.
"""

import argparse
import base64
import io
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

TEXTS = sorted((Path(__file__).parents[2] / "docs").glob("*.py"))
MAX_BYTES = 400_000
LIMIT_S = 3600
ABOUT = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_TOP = "home|root|tmp|var|usr|opt|mnt|work|Users|private"
_ABSOLUTE = re.compile(rf"(?<![\w.:/])/(?:{_TOP})\b[^\s'\"]*")


def notebook_of(text: Path) -> Path:
    """Return where the notebook of a text is."""
    return text.with_name(text.stem.replace("_", "-") + ".ipynb")


def executed(text: Path) -> dict[str, Any]:
    """Return the notebook of a text, run in a kernel that starts in the text's folder."""
    import jupytext
    import nbclient

    notebook = jupytext.read(text)
    notebook.metadata = ABOUT
    nbclient.execute(notebook, cwd=str(text.parent), timeout=LIMIT_S, coalesce_streams=True)
    for number, cell in enumerate(notebook.cells):
        cell.update(id=f"cell-{number:02d}", metadata={})  # without times
        for output in cell.get("outputs", []):
            lighten(output)
    return notebook


def lighten(output: dict[str, Any]) -> None:
    """Give an output's picture, if it is one, a quality that is enough to look at."""
    if picture := output.get("data", {}).get("image/jpeg"):
        packed = io.BytesIO()
        image = Image.open(io.BytesIO(base64.b64decode(picture)))
        image.save(packed, "JPEG", quality=55, optimize=True)
        output["data"]["image/jpeg"] = base64.b64encode(packed.getvalue()).decode("ascii")


def faults(notebook: dict[str, Any]) -> list[str]:
    """Return what must not be in a committed notebook: warnings, this machine's paths."""
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
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebook and write it; 1 if it holds what must not be committed."""
    import nbformat

    parser = argparse.ArgumentParser(description="Run a notebook and write it.")
    parser.add_argument("text", type=Path, help="such as docs/own_images.py")
    parser.add_argument("--out", type=Path, help="default: beside the text")
    given = parser.parse_args(arguments)
    notebook, out = executed(given.text), given.out or notebook_of(given.text)
    nbformat.write(notebook, out)
    found, size = faults(notebook), out.stat().st_size
    if size > MAX_BYTES:
        found.append(f"{size} bytes, more than {MAX_BYTES}")
    for line in found:
        sys.stderr.write(f"error: {line}\n")
    sys.stdout.write(f"{out.name}: {size} bytes\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
