"""Saliency maps scored against boxes: hit rate, energy inside the box, IoU; with intervals."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrbench.errors import DataError
from cxrbench.interfaces import Box
from cxrbench.metrics.estimate import Estimate
from cxrbench.metrics.intervals import SeedScores
from cxrbench.metrics.patients import MIN_PATIENTS, effective_number, effective_number_of_mean
from cxrbench.metrics.resampling import Resampler

MEASURES = ("hit_rate", "energy", "iou")
SOURCES = ("map", "random", "centre")
"""The run's maps, and what two maps score that have not looked at the image."""

CENTRE_SIGMA = 0.25
"""Standard deviation of the centre prior, as a share of each side of the image."""

# Published boxes reach over the edge of their image by up to a pixel or so.
_OVERHANG = 0.01


@dataclass(frozen=True)
class Localised:
    """One label's map on one image: (hit, energy, IoU), and the same of the references.

    ``hit`` is 1 where the maximum is inside a box, else 0; a share where several pixels tie for it.
    ``flat`` says that the map has no maximum.
    """

    image_id: str
    patient: str
    label: str
    map: tuple[float, float, float]
    random: tuple[float, float, float]
    centre: tuple[float, float, float]
    flat: bool


@dataclass(frozen=True)
class LabelLocalisation:
    """One label's means over the images that have boxes of it; ``measures`` by source and name."""

    label: str
    counted: bool
    images: int
    patients: int
    boxes: int
    flat: int
    measures: dict[str, dict[str, Estimate]]


@dataclass(frozen=True, eq=False)
class Localisation:
    """Labels, and macro: the mean over the counted ones, with replicates (B,) of its measures.

    ``effective_patients`` is the number of patients that the interval of macro takes.
    """

    labels: tuple[LabelLocalisation, ...]
    macro: dict[str, dict[str, Estimate]]
    replicates: dict[str, np.ndarray]
    redrawn: int
    effective_patients: float


def inside_boxes(boxes: Sequence[Box], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the pixels whose centre is in a box; at least one of each box.

    ``size`` is (width, height) of the image that the boxes are in pixels of.

    Raises
    ------
    DataError : a box reaches out of the image, which is then not the one it was drawn on.
    """
    width, height = size
    inside = np.zeros((height, width), bool)
    for box in boxes:
        right, bottom = box.x + box.width, box.y + box.height
        if (
            min(box.x / width, box.y / height) < -_OVERHANG
            or max(right / width, bottom / height) > 1 + _OVERHANG
        ):
            raise DataError(
                f"a box of {box.label!r} reaches out of the image {box.image_id!r}",
                expected=f"boxes in pixels of the image, which is {width} × {height}",
                found=f"x {box.x:g} to {right:g}, y {box.y:g} to {bottom:g}",
                fix="use the images at the size that the boxes were drawn at (NIH: 1024 × 1024)",
            )
        inside[_pixels(box.y, bottom, height), _pixels(box.x, right, width)] = True
    return inside


def _pixels(low: float, high: float, side: int) -> slice:
    """The pixels whose centre is in [low, high), or else the one that holds its middle."""
    first, end = max(int(np.ceil(low - 0.5)), 0), min(int(np.ceil(high - 0.5)), side)
    if first < end:
        return slice(first, end)
    middle = min(max(int((low + high) / 2), 0), side - 1)
    return slice(middle, middle + 1)


def score_map(
    saliency: np.ndarray, inside: np.ndarray, iou_threshold: float
) -> tuple[float, float, float]:
    """Hit, energy and IoU of a map (H, W), not negative, against the pixels inside boxes (H, W).

    - hit: whether the maximum is inside. Of several pixels that tie for it each is as good: the
      share of them that is inside.
    - energy: the share of the map's sum that is inside.
    - IoU: of the pixels inside with those at ``iou_threshold`` times the maximum or above.

    A flat map (all pixels equal, such as zeros) points nowhere: it has the share of the image that
    is inside, as hit, energy and IoU.

    References
    ----------
    Zhang et al., Top-down neural attention by excitation backprop, IJCV 2018 (the pointing game;
    here without a tolerance of 15 pixels). Wang et al., Score-CAM, CVPR workshops 2020 (energy).
    """
    highest = saliency.max()
    if is_flat(saliency):
        area = float(inside.mean())
        return area, area, area
    marked = saliency >= iou_threshold * highest
    both = np.count_nonzero(marked & inside)
    return (
        float(inside[saliency == highest].mean()),
        float(saliency[inside].sum(dtype=np.float64) / saliency.sum(dtype=np.float64)),
        both / (np.count_nonzero(marked) + np.count_nonzero(inside) - both),
    )


def is_flat(saliency: np.ndarray) -> bool:
    """Whether a map has no maximum."""
    return bool(saliency.max() == saliency.min())


def random_map_scores(inside: np.ndarray, iou_threshold: float) -> tuple[float, float, float]:
    """What a map of independent uniform pixels is expected to have, in closed form.

    Hit and energy are the share of the image inside. Of n pixels inside and outside alike the share
    1 - ``iou_threshold`` is marked (to 1/n: the maximum is taken as 1).
    """
    area, marked = float(inside.mean()), 1 - iou_threshold
    return area, area, marked * area / (area + marked * (1 - area))


def centre_prior(size: tuple[int, int]) -> np.ndarray:
    """A Gaussian in the middle of an image of (width, height): (H, W) float32."""
    across, down = (
        np.exp(-0.5 * (((np.arange(side) + 0.5) / side - 0.5) / CENTRE_SIGMA) ** 2) for side in size
    )
    return np.outer(down, across).astype(np.float32)


def localise(
    saliency: np.ndarray, boxes: Sequence[Box], patient: str, iou_threshold: float
) -> Localised:
    """Score one label's map (H, W) over the original's pixels, on an image with boxes of it."""
    size = (saliency.shape[1], saliency.shape[0])
    inside = inside_boxes(boxes, size)
    return Localised(
        image_id=boxes[0].image_id,
        patient=patient,
        label=boxes[0].label,
        map=score_map(saliency, inside, iou_threshold),
        random=random_map_scores(inside, iou_threshold),
        centre=score_map(centre_prior(size), inside, iou_threshold),
        flat=is_flat(saliency),
    )


def summarise(
    found: Sequence[Localised],
    boxes: Sequence[Box],
    label_names: Sequence[str],
    *,
    board_key: str,
    replicates: int = 1000,
) -> Localisation:
    """Means over images for each label with boxes, and over labels, with patient-bootstrap bounds.

    A label counts in macro with boxes on at least 5 patients. The patients with boxes are drawn
    with replacement, all their images together, and again where a counted label is lost. Replicate
    b holds the same patients for every run of a board.

    Parameters
    ----------
    found : one for each image and label with boxes.
    boxes : all of them, for their numbers.
    """
    labels = [name for name in label_names if any(one.label == name for one in found)]
    patients, owner = np.unique([one.patient for one in found], return_inverse=True)
    column = np.array([labels.index(one.label) for one in found])
    values = np.array([[getattr(one, source) for source in SOURCES] for one in found])
    images = np.zeros((len(patients), len(labels)))
    np.add.at(images, (owner, column), 1)
    sums = np.zeros((len(patients), len(labels), len(SOURCES), len(MEASURES)))
    np.add.at(sums, (owner, column), values)

    counted = (images > 0).sum(axis=0) >= MIN_PATIENTS
    digest = hashlib.sha256(f"saliency {board_key}".encode()).digest()
    resampler = Resampler(int.from_bytes(digest, "big"), images[:, counted] > 0)
    weights, redrawn = resampler.draw(0, replicates)
    drawn = _means(sums, images, weights)
    whole = _means(sums, images, np.ones((len(patients), 1)))[0]
    effective = list(map(effective_number, images.T))
    of_macro = effective_number_of_mean(
        np.array(effective)[counted].tolist(), effective_number(images.sum(axis=1))
    )
    return Localisation(
        labels=tuple(
            LabelLocalisation(
                label=label,
                counted=bool(counted[index]),
                images=int(images[:, index].sum()),
                patients=int((images[:, index] > 0).sum()),
                boxes=sum(box.label == label for box in boxes),
                flat=sum(one.flat for one in found if one.label == label),
                measures=_measures(whole[index], drawn[:, index], effective[index]),
            )
            for index, label in enumerate(labels)
        ),
        macro=_measures(_macro(whole[None], counted)[0], _macro(drawn, counted), of_macro),
        replicates={
            name: _macro(drawn, counted)[:, 0, place] for place, name in enumerate(MEASURES)
        },
        redrawn=redrawn,
        effective_patients=of_macro,
    )


def _means(sums: np.ndarray, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B, K, sources, measures); NaN for a label that a replicate lost."""
    total = np.einsum("pb,pksm->bksm", weights, sums)
    count = (weights.T @ images)[..., None, None]
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _macro(means: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(B, K, sources, measures) to (B, sources, measures); NaN where no label counts."""
    if not counted.any():
        return np.full((len(means), *means.shape[2:]), np.nan)
    return means[:, counted].mean(axis=1)


def _measures(
    whole: np.ndarray, drawn: np.ndarray, patients: float
) -> dict[str, dict[str, Estimate]]:
    """By source and measure, from (sources, measures) and (B, sources, measures)."""
    return {
        source: {
            name: Estimate.of(
                name, SeedScores.alone(whole[row, place], drawn[:, row, place]), patients
            )
            for place, name in enumerate(MEASURES)
        }
        for row, source in enumerate(SOURCES)
    }
