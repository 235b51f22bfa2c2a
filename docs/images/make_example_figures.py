"""Draw ``figure-roc.png`` and ``figure-reliability.png`` from runs on the phantom.

``cxrbench run orb sift orb+sift --seeds 2``, then ``python docs/images/make_example_figures.py``.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from cxrbench.boards.figures import all_figures
from cxrbench.boards.figures.rows import choose_rows, whole_board
from cxrbench.output.figure_style import as_bytes

LABELS = ("Cardiomegaly", "Effusion", "Infiltration", "No Finding")
DRAWN = {"roc": ("sift", "orb+sift", "prior"), "reliability": ("orb+sift",)}


def main(runs: Path) -> None:
    """Write the pictures beside this script."""
    for kind, recipes in DRAWN.items():
        rows = choose_rows(recipes, runs)
        ((_, figure),) = all_figures(rows, whole_board(rows, runs), only=[kind], labels=LABELS)
        picture = Image.open(io.BytesIO(as_bytes(figure, "png"))).convert("RGB")
        # A few colours are all that lines and letters need, in a third of the bytes.
        few = picture.quantize(64, dither=Image.Dither.NONE)
        few.save(Path(__file__).with_name(f"figure-{kind}.png"), optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs"))
