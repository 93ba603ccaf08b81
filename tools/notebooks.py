"""Make the .ipynb beside each example notebook in .py form, with its outputs: ``python tools/notebooks.py [NAME...]``.

It needs ``pip install jupytext nbclient ipykernel``; ``make notebooks`` does so.
"""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def smaller(png: str) -> str:
    """Encode a picture, as base64, with 64 colours, which is what plots have: a third of the size."""
    image = Image.open(BytesIO(b64decode(png))).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    file = BytesIO()
    image.save(file, format="PNG", optimize=True)
    return b64encode(file.getvalue()).decode()


def make(source: Path) -> Path:
    """Run the notebook in its folder's place, and write it with what it prints and draws."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem}-{number}"  # the same at every run
    NotebookClient(notebook, timeout=600, record_timing=False, coalesce_streams=True, kernel_name="python3").execute()
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output["output_type"] != "stream":
                output["metadata"] = {}
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = smaller(output["data"]["image/png"])
    target = source.with_suffix(".ipynb")
    jupytext.write(notebook, target)
    return target


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.py")):
        made = make(FOLDER / f"{name}.py")
        print(f"{made.name}: {made.stat().st_size / 1024:.0f} KiB")
