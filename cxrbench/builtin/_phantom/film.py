"""A phantom image while it is drawn: its layers, tools to draw on one, and the exposure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cxrbench.builtin._phantom.anatomy import LEFT, RIGHT, Anatomy, lung_outline

if TYPE_CHECKING:
    import numpy as np


_SUBPIXEL = 4  # OpenCV's fixed-point bits, so that outlines do not snap to whole pixels


@dataclass(eq=False)
class Canvas:
    """Layers of one film while it is drawn, all (size, size) float32.

    ``lungs`` holds 0 to 1 per side (where that lung is), ``aeration`` how much of the lung is air
    (0 is opaque), ``vessels`` how visible its markings are, ``dense`` what is added at the end.
    ``x`` (1, size) and ``y`` (size, 1) are coordinates as in `Anatomy`.
    """

    size: int
    x: np.ndarray
    y: np.ndarray
    lungs: dict[int, np.ndarray]
    aeration: np.ndarray
    vessels: np.ndarray
    dense: np.ndarray

    @classmethod
    def blank(cls, size: int, anatomy: Anatomy) -> Canvas:
        """The two lungs, healthy, and nothing else yet."""
        import numpy as np

        axis = (np.arange(size, dtype=np.float32) + 0.5) / size
        lungs = {
            side: fill(size, lung_outline(anatomy, side), soft=0.004) for side in (RIGHT, LEFT)
        }
        plain = np.full((size, size), anatomy.aeration, np.float32)
        marked = np.full((size, size), anatomy.vessels, np.float32)
        dense = np.zeros((size, size), np.float32)
        return cls(size, axis[None, :] - 0.5, axis[:, None], lungs, plain, marked, dense)

    def both_lungs(self) -> np.ndarray:
        """Where any lung is, 0 to 1."""
        import numpy as np

        return np.maximum(self.lungs[RIGHT], self.lungs[LEFT])


def pixels(size: int, points: Any) -> np.ndarray:
    """Coordinates (..., 2) as in `Anatomy` to OpenCV's fixed-point pixels, int32."""
    import numpy as np

    scaled = (np.asarray(points, np.float64) + np.array((0.5, 0.0))) * size - 0.5
    return np.rint(scaled * (1 << _SUBPIXEL)).astype(np.int32)


def blurred(layer: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; ``sigma`` in units of the picture's side. Wide ones run at a quarter size."""
    import cv2

    size = layer.shape[0]
    if sigma * size < 6:
        return cv2.GaussianBlur(layer, (0, 0), max(sigma * size, 0.3))
    small = cv2.resize(layer, (size // 4, size // 4), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma * size / 4)
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)


def fill(size: int, *outlines: Any, soft: float = 0.0) -> np.ndarray:
    """Filled outlines, 0 to 1 float32, with an edge blurred by ``soft``."""
    import cv2
    import numpy as np

    canvas = np.zeros((size, size), np.uint8)
    for outline in outlines:
        cv2.fillPoly(canvas, [pixels(size, outline)], 255, cv2.LINE_AA, _SUBPIXEL)
    return _softened(canvas, soft)


def strokes(size: int, lines: Any, width: float, *, soft: float = 0.0) -> np.ndarray:
    """Lines (n, points, 2), or n such, as one float32 layer, 0 to 1; crossings do not add up."""
    return layered(size, [(lines, width, 1.0)], soft=soft)


def layered(
    size: int, groups: Sequence[tuple[Any, float, float]], *, soft: float = 0.0
) -> np.ndarray:
    """Groups of (lines, width, shade 0 to 1), each painted over those before it; as `strokes`."""
    import cv2
    import numpy as np

    canvas = np.zeros((size, size), np.uint8)
    for lines, width, strength in groups:
        thickness = max(round(width * size), 1)
        # below one pixel a line cannot get thinner, so it gets fainter
        shade = round(255 * strength * min(width * size / thickness, 1.0))
        whole = isinstance(lines, np.ndarray)  # lines of one length: all at once is 20x faster
        paths = list(pixels(size, lines)) if whole else [pixels(size, line) for line in lines]
        cv2.polylines(canvas, paths, False, shade, thickness, cv2.LINE_AA, _SUBPIXEL)
    return _softened(canvas, soft)


def _softened(canvas: np.ndarray, soft: float) -> np.ndarray:
    import numpy as np

    layer = blurred(canvas, soft) if soft else canvas
    return layer.astype(np.float32) * np.float32(1 / 255)


def clouds(size: int, rng: np.random.Generator, *, cells: int, octaves: int = 3) -> np.ndarray:
    """Smooth noise of about zero mean and unit spread: random grids of ``cells`` and finer."""
    import cv2
    import numpy as np

    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal((cells << octave, cells << octave), dtype=np.float32)
        fine = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        total += fine * 0.6**octave
    return total


def ellipse(x: float, y: float, width: float, height: float, *, turn: float = 0.0) -> np.ndarray:
    """An ellipse's outline (40, 2) from its half axes; ``turn`` in radians."""
    import numpy as np

    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    across, down = width * np.cos(angle), height * np.sin(angle)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.column_stack([x + across * cos - down * sin, y + across * sin + down * cos])


def add_marks(attenuation: np.ndarray, rng: np.random.Generator, *, view: str) -> None:
    """The side marker, and on most AP films the wires of a bedside monitor; changes its input."""
    import cv2
    import numpy as np

    size = attenuation.shape[0]
    place = (round(rng.uniform(0.86, 0.93) * size), round(rng.uniform(0.06, 0.14) * size))
    marker = np.zeros((size, size), np.uint8)
    font, width = cv2.FONT_HERSHEY_DUPLEX, max(size // 160, 1)
    cv2.putText(marker, "L", place, font, size / 440, 255, width, cv2.LINE_AA)
    attenuation += 1.2 * (marker.astype(np.float32) / 255)
    if view == "AP" and rng.uniform() < 0.7:
        attenuation += 0.16 * _wires(size, rng)


def _wires(size: int, rng: np.random.Generator) -> np.ndarray:
    import numpy as np

    t = np.linspace(0, 1, 20)
    wires, pads = [], []
    for side in (RIGHT, LEFT, LEFT):
        x, y = side * rng.uniform(0.18, 0.34), rng.uniform(0.15, 0.6)
        bend, end = rng.uniform(-0.12, 0.12, 2), side * rng.uniform(0.25, 0.5)
        path_x = x + (end - x) * t + bend[0] * np.sin(np.pi * t)
        wires.append(
            np.column_stack([path_x, y + (1.02 - y) * t + bend[1] * np.sin(2 * np.pi * t)])
        )
        pads.append(ellipse(x, y, 0.010, 0.012))
    return strokes(size, wires, 0.006) + strokes(size, pads, 0.009)


def develop(attenuation: np.ndarray, rng: np.random.Generator, *, view: str) -> np.ndarray:
    """Scatter, noise and the film curve of one exposure: (size, size) uint8."""
    import numpy as np

    size = attenuation.shape[0]
    bedside = view == "AP"
    scatter = rng.uniform(0.05, 0.20) + 0.06 * bedside
    mixed = (1 - scatter) * attenuation + scatter * blurred(attenuation, 0.08)
    # digital systems sharpen what they show
    mixed += rng.uniform(0.1, 0.7) * (mixed - blurred(mixed, 0.006))
    grain = rng.standard_normal((size, size), dtype=np.float32)
    noise = rng.uniform(0.004, 0.010)
    mixed += noise * (0.6 + 0.6 * mixed) * blurred(grain, 0.8 / size)
    middle, slope = rng.normal(0.69, 0.07), rng.uniform(3.3, 4.6)
    floor = 1 / (1 + np.exp(slope * middle))
    shown = (1 / (1 + np.exp(-slope * (mixed - middle))) - floor) / (1 - floor)
    return (shown * rng.uniform(235, 262)).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Sign:
    """One visible place of a finding: centre and half extents as in `Anatomy`, strength 0 to 1."""

    side: int
    x: float
    y: float
    width: float
    height: float
    strength: float


Reshape = Callable[[Anatomy, int, float], Anatomy]
Place = Callable[[Anatomy, int, float, "np.random.Generator"], tuple[Sign, ...]]
Paint = Callable[[Canvas, Anatomy, Sign, "np.random.Generator"], None]


def unchanged(anatomy: Anatomy, side: int, amount: float) -> Anatomy:
    """The chest keeps its shape."""
    return anatomy


def nothing(film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator) -> None:
    """The chest's shape is the whole sign."""


@dataclass(frozen=True)
class Appearance:
    """How one finding changes the chest, where its signs lie, and how each is painted.

    All three get the finding's side and amount (0 faint to 1 gross) in their turn; ``place`` draws
    from a generator that is the patient's, so that a sign stays where it is from film to film.
    """

    place: Place
    paint: Paint = nothing
    reshape: Reshape = unchanged


def blob(film: Canvas, sign: Sign, *, hardness: float = 1.5) -> np.ndarray:
    """An elliptic spot, 0 to 1, that is 0.5 at the sign's extents.

    A ``hardness`` of 1 is a Gaussian; the larger, the flatter the middle and the sharper the edge.
    """
    import numpy as np

    steep = np.log(2 * hardness)
    across = np.exp(-steep * ((film.x - sign.x) / sign.width) ** 2)
    down = np.exp(-steep * ((film.y - sign.y) / sign.height) ** 2)
    return np.minimum(hardness * across * down, 1.0).astype(np.float32)


def opacify(film: Canvas, shade: np.ndarray, *, hide: float = 0.8) -> None:
    """Replace air by fluid where ``shade`` (0 to 1) says; vessels in it lose their contrast."""
    film.aeration *= 1 - shade
    film.vessels *= 1 - hide * shade


def between(low: float, high: float, amount: float) -> float:
    """The value that lies ``amount`` of the way from ``low`` to ``high``."""
    return low + (high - low) * amount
