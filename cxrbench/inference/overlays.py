"""Figures of explanations: an image, its saliency map, its keypoints and its visual words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrbench.output.files import replacing
from cxrbench.store.decoding import unfit_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrbench.inference.explanation import LabelExplanation, Words
    from cxrbench.inference.inputs import ReadyImage
    from cxrbench.interfaces import Box

COLOUR_MAP = "plasma"
"""Perceptually uniform, and read alike with any colour vision."""

DRAWN_WHOLE = 40
"""Keypoints drawn with size and orientation, the first ones; the others are dots."""

DRAWN_WORDS = 6

# Inches: a panel's width, the space above and below its image, above all panels, between them.
_PANEL, _ABOVE, _BELOW, _HEAD, _GAP = 4.4, 0.28, 0.72, 0.62, 0.12
_COLUMNS = 3
_DPI = 150
# Okabe and Ito, Color universal design, 2008: told apart with any colour vision.
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7")
_OPAQUE = 0.7  # at the map's maximum; where the map is 0 the image is unchanged

Panel = Callable[["Figure", "Axes"], None]


def label_figure(image: ReadyImage, label: LabelExplanation, iou_threshold: float) -> Figure:
    """One label: the image, its map, and the keypoints and words of each feature."""
    panels: list[Panel] = [
        lambda figure, axes: _draw_boxes(axes, image, label.boxes),
        lambda figure, axes: _draw_map(figure, axes, image, label, iou_threshold),
        *_keypoint_panels(image, label.words),
    ]
    return _figure(image, panels, f"{_short(image)}\n{_label_title(label)}")


def keypoints_figure(image: ReadyImage) -> Figure | None:
    """The keypoints of each extractor; None if no extractor finds any places."""
    panels = list(_keypoint_panels(image, {}))
    return _figure(image, panels, _short(image)) if panels else None


def _keypoint_panels(image: ReadyImage, words: Mapping[str, Words]) -> Iterator[Panel]:
    for name, side in image.sides.items():
        points = _in_original(image, name, side)
        if points is not None:
            yield _keypoints_panel(image, name, points)
            if name in words:
                yield _words_panel(image, name, points, words[name])


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, in one piece."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=_DPI, format="png")


def _figure(image: ReadyImage, panels: Sequence[Panel], title: str) -> Figure:
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False}):  # dollars in names are no formulas
        return _drawn(image, panels, title)


def _drawn(image: ReadyImage, panels: Sequence[Panel], title: str) -> Figure:
    from matplotlib.figure import Figure

    columns = 2 if len(panels) == 4 else min(len(panels), _COLUMNS)
    tall = _PANEL * image.size[1] / image.size[0]
    cell = (_PANEL + _GAP, _ABOVE + tall + _BELOW)
    width, height = columns * cell[0] + _GAP, -(-len(panels) // columns) * cell[1] + _HEAD
    figure = Figure(figsize=(width, height))
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        left, top = _GAP + column * cell[0], _HEAD + row * cell[1] + _ABOVE
        axes = figure.add_axes(
            (left / width, 1 - (top + tall) / height, _PANEL / width, tall / height)
        )
        axes.set_axis_off()
        panel(figure, axes)
    figure.suptitle(title, fontsize=11, y=1 - 0.1 / height, va="top")
    return figure


def _short(image: ReadyImage) -> str:
    """The image's name without folders, which may be long."""
    return image.name.replace("\\", "/").rpartition("/")[2]


def _label_title(label: LabelExplanation) -> str:
    of_seed = "" if label.seed is None else f", seed {label.seed}"
    title = f"{label.label}{of_seed}: probability {label.probability:.3f}"
    if label.threshold is not None:
        above = label.probability >= label.threshold
        title += f", {'at or above' if above else 'below'} its threshold {label.threshold:.3f}"
    if label.truth is not None:
        title += f" · truth: {'present' if label.truth else 'absent'}"
    return title


def _show(axes: Axes, image: ReadyImage, title: str) -> None:
    axes.imshow(image.grey, cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=9)
    # Later drawings must not move the image's edges.
    axes.set_xlim(-0.5, image.size[0] - 0.5)
    axes.set_ylim(image.size[1] - 0.5, -0.5)


def _draw_boxes(axes: Axes, image: ReadyImage, boxes: Sequence[Box]) -> None:
    _show(axes, image, f"image, {_count(len(boxes), 'box', 'boxes')}" if boxes else "image")
    _add_boxes(axes, boxes)


def _add_boxes(axes: Axes, boxes: Sequence[Box]) -> None:
    from matplotlib.patches import Rectangle

    for box in boxes:
        # White on black: seen on a bright and on a dark ground.
        for colour, width in (("black", 3.0), ("white", 1.4)):
            corner = (box.x - 0.5, box.y - 0.5)
            axes.add_patch(
                Rectangle(corner, box.width, box.height, fill=False, color=colour, lw=width)
            )


def _draw_map(
    figure: Figure, axes: Axes, image: ReadyImage, label: LabelExplanation, threshold: float
) -> None:
    if label.flat:
        _show(axes, image, "map: flat, no evidence for the label")
        _add_boxes(axes, label.boxes)
        return
    shares = label.map / label.map.max()
    scored = ""
    if label.hit is not None:
        scored = f": hit {label.hit:.2g}, energy {label.energy:.2f}, IoU {label.iou:.2f}"
    _show(axes, image, f"map{scored}")
    axes.imshow(shares, cmap=COLOUR_MAP, vmin=0, vmax=1, alpha=_OPAQUE * shares**0.5)
    for colour, width in (("black", 2.0), ("white", 1.0)):
        axes.contour(shares, levels=[threshold], colors=colour, linewidths=width)
    _add_boxes(axes, label.boxes)
    _add_legend(figure, axes, threshold)


def _add_legend(figure: Figure, axes: Axes, threshold: float) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap

    shares = np.linspace(0, 1, 256)
    opaque = (_OPAQUE * shares**0.5)[:, None]
    # As they look over middle grey.
    colours = colormaps[COLOUR_MAP](shares)[:, :3] * opaque + 0.5 * (1 - opaque)
    place, height = axes.get_position(), figure.get_figheight()
    strip = figure.add_axes(
        (place.x0 + 0.1 * place.width, place.y0 - 0.22 / height, 0.8 * place.width, 0.12 / height)
    )
    figure.colorbar(
        ScalarMappable(cmap=ListedColormap(colours)), cax=strip, orientation="horizontal"
    )
    strip.axvline(threshold, color="white", lw=1.5)
    strip.set_xlabel(f"share of the maximum (line: {threshold:g})", fontsize=8, labelpad=1)
    strip.tick_params(labelsize=7, pad=1, length=2)


def _in_original(image: ReadyImage, name: str, side: int) -> np.ndarray | None:
    """Keypoints (n, 4) in pixels of the original, None for features without a place."""
    keypoints = image.local[name].keypoints
    if keypoints is None:
        return None
    points = keypoints.astype(np.float64)
    fit = image.preparation.fit
    # OpenCV counts from the centre of the first pixel, `unfit_points` from its edge.
    points[:, :2] = unfit_points(points[:, :2] + 0.5, image.size, side, fit) - 0.5
    points[:, 2] *= max(image.size) / side
    return points


def _keypoints_panel(image: ReadyImage, name: str, points: np.ndarray) -> Panel:
    def draw(figure: Figure, axes: Axes) -> None:
        title = f"{name}: {_count(len(points), 'keypoint', 'keypoints')}"
        if len(points) > DRAWN_WHOLE:
            title += f", size and angle of {DRAWN_WHOLE}"
        _show(axes, image, title)
        _add_keypoints(axes, points[:DRAWN_WHOLE], _COLOURS[0])
        rest = points[DRAWN_WHOLE:]
        axes.scatter(rest[:, 0], rest[:, 1], s=3, color=_COLOURS[1], linewidths=0)

    return draw


def _add_keypoints(axes: Axes, points: np.ndarray, colour: str) -> None:
    from matplotlib.collections import EllipseCollection, LineCollection

    places, radius = points[:, :2], points[:, 2] / 2
    turned = np.radians(points[:, 3])
    ends: Any = places + radius[:, None] * np.column_stack([np.cos(turned), np.sin(turned)])
    circles: Any = {"units": "xy", "offsets": places, "offset_transform": axes.transData}
    axes.add_collection(
        EllipseCollection(
            points[:, 2],
            points[:, 2],
            np.zeros(len(points)),
            facecolors="none",
            edgecolors=colour,
            linewidths=0.8,
            alpha=0.9,
            **circles,
        )
    )
    axes.add_collection(
        LineCollection(
            list(np.stack([places, ends], axis=1)), colors=colour, linewidths=0.8, alpha=0.9
        )
    )


def _words_panel(image: ReadyImage, name: str, points: np.ndarray, words: Words) -> Panel:
    def draw(figure: Figure, axes: Axes) -> None:
        strongest = words.strongest(DRAWN_WORDS)
        _show(axes, image, f"{name}: strongest {_count(len(strongest), 'word', 'words')}")
        for word, colour in zip(strongest, _COLOURS, strict=False):
            places = points[words.of_keypoints == word]
            effect = float(words.effects[word])
            axes.scatter(
                places[:, 0],
                places[:, 1],
                s=42,
                marker="^" if effect > 0 else "v",
                color=colour,
                edgecolors="black",
                linewidths=0.5,
                label=f"{word}: {effect:+.2f} (×{len(places)})",
            )
        if strongest:
            axes.legend(
                loc="upper center",
                bbox_to_anchor=(0.5, 0.0),
                borderaxespad=0.2,
                ncols=3,
                fontsize=7,
                title="word: change of the logit (keypoints); ▲ raises it, ▼ lowers it",
                title_fontsize=7,
                frameon=False,
                handletextpad=0.1,
                columnspacing=1.0,
            )

    return draw


def _count(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
