"""Draw the pictures of the gallery, by running its page: ``python docs/gallery.py``."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import scvi
from PIL import Image

DOCS = Path(__file__).parent


def blocks(page: str) -> list[tuple[str, str | None]]:
    """Code of a page, each with the picture that follows it, if any."""
    found = re.findall(r"^```python\n(.*?)^```\n(?:\n!\[[^\]]*\]\(_static/(\S+)\))?", page, re.DOTALL | re.MULTILINE)
    return [(code, picture or None) for code, picture in found]


def draw(folder: Path, *, max_epochs: int | None = None) -> list[Path]:
    """Run the page, and save what it draws; fewer epochs are enough to see that it runs."""
    drawn, names = [], {}
    scvi.settings.seed = 0
    for code, picture in blocks((DOCS / "gallery.md").read_text(encoding="utf-8")):
        options = f"max_epochs={max_epochs}, enable_progress_bar=False"
        exec(code.replace("model.train()", f"model.train({options})"), names)
        if picture is not None:
            path = folder / picture
            path.parent.mkdir(parents=True, exist_ok=True)
            plt.gcf().savefig(path, dpi=70, bbox_inches="tight")
            # A picture of few colours is as good with a palette, and a third of the size.
            Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)
            drawn.append(path)
        plt.close("all")
    return drawn


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for path in draw(DOCS / "_static"):
        sys.stdout.write(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB\n")
