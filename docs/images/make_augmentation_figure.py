"""Draw ``augmentation.png``: one film, each transform alone at its largest, and four random draws.

Run from anywhere: ``python docs/images/make_augmentation_figure.py FOLDER OUTPUT``, where FOLDER
holds NIH ChestX-ray14, or a part of it, in its published layout.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from cxrbench.builtin.nih import NIH
from cxrbench.modeling.augment import MEDICAL, PARAMETERS, augment, draw
from cxrbench.modeling.backend import load_keras
from cxrbench.store.decoding import clahe, decode, fit_image

SIDE = 384
DRAWS = 4
# Title and what is set, each to the end of its range; translation along both axes.
ALONE: dict[str, dict[str, float]] = {
    f"rotation +{MEDICAL.rotation:g}°": {"rotation": MEDICAL.rotation},
    f"translation +{MEDICAL.translation:.0%}": {
        "right": MEDICAL.translation,
        "down": MEDICAL.translation,
    },
    f"zoom +{MEDICAL.zoom:.0%}": {"zoom": MEDICAL.zoom},
    f"brightness +{MEDICAL.brightness:.0%}": {"brightness": MEDICAL.brightness},
    f"contrast +{MEDICAL.contrast:.0%}": {"contrast": MEDICAL.contrast},
    f"noise {MEDICAL.noise:.0%}": {"noise": MEDICAL.noise},
}


def main(folder: str, output: str) -> None:
    """Write the picture."""
    film = first_normal_film(folder)
    equalised = fit_image(clahe(film), SIDE, "stretch")
    film = fit_image(film, SIDE, "stretch")
    drawn = draw(MEDICAL, seed=5, epoch=0, images=DRAWS)
    pictures = {"original": film}
    pictures |= {title: varied(film, row(**values)) for title, values in ALONE.items()}
    pictures["CLAHE"] = equalised
    for number, taken in enumerate(drawn.clahe):
        title = f"draw {number + 1}, with CLAHE" if taken else f"draw {number + 1}"
        pictures[title] = varied(equalised if taken else film, drawn.parameters[number])
    figure = Figure(figsize=(9, 7.3), layout="constrained")
    for axes, (title, picture) in zip(figure.subplots(3, 4).flat, pictures.items(), strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=11)
        axes.set_axis_off()
    drawing = io.BytesIO()
    figure.savefig(drawing, dpi=100)
    # Grey alone is a third of the size.
    Image.open(drawing).convert("L").save(Path(output), optimize=True)


def first_normal_film(folder: str) -> np.ndarray:
    """The first upright film without a finding, (H, W) uint8."""
    cohort = NIH(path=folder).load()
    normal = cohort.labels[:, cohort.label_names.index("No Finding")] == 1
    upright = np.array([view == "PA" for view in cohort.views])
    source = cohort.sources[np.flatnonzero(normal & upright)[0]]
    return decode(Path(source).read_bytes(), max_pixels=10**8)


def row(**columns: float) -> np.ndarray:
    """Parameters (P,) with these columns, the others zero."""
    return np.array([columns.get(name, 0) for name in PARAMETERS], np.float32)


def varied(picture: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """One picture (S, S) after `augment`."""
    load_keras()
    result = augment(picture[None, ..., None].astype(np.float32), parameters[None])
    return np.asarray(result)[0, ..., 0]


if __name__ == "__main__":
    main(*sys.argv[1:])
