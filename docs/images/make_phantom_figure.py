"""Draw ``phantom.png``: one phantom film for each label, with its boxes.

Run from anywhere: ``python docs/images/make_phantom_figure.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cxrbench import Box, Cohort
from cxrbench.builtin.phantom import Phantom


def main() -> None:
    """Write the picture beside this script."""
    dataset = Phantom()
    cohort = dataset.load()
    alone = cohort.labels.sum(axis=1) == 1
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    for axes, (column, label) in zip(
        figure.subplots(3, 5).flat, enumerate(cohort.label_names), strict=True
    ):
        rows = np.flatnonzero(alone & (cohort.labels[:, column] == 1))
        row = max(rows[:40], key=lambda r: sum(box.width * box.height for box in boxes(cohort, r)))
        axes.imshow(dataset.read(cohort.sources[row], max_pixels=10**7), cmap="gray")
        for box in boxes(cohort, row):
            axes.add_patch(
                Rectangle((box.x, box.y), box.width, box.height, fill=False, color="orange")
            )
        axes.set_title(label.replace("_", " "), fontsize=10)
        axes.set_axis_off()
    figure.savefig(Path(__file__).with_name("phantom.png"), dpi=75)


def boxes(cohort: Cohort, row: int) -> list[Box]:
    """The boxes of one image."""
    return [box for box in cohort.boxes if box.image_id == cohort.image_ids[row]]


if __name__ == "__main__":
    main()
