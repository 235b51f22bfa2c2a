"""A phantom film: the layers that findings change, the healthy chest, and the development.

Attenuation adds up along a ray, so a film is the sum of tissue, air (which takes away) and bone;
its brightness is a film curve of that sum after scatter and noise (Beer-Lambert, in logarithms).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cxrbench.builtin._phantom_anatomy import LEFT, RIGHT, Anatomy, heart_outline, lung_outline

if TYPE_CHECKING:
    import numpy as np

_SUBPIXEL = 4  # OpenCV's fixed-point bits, so that outlines do not snap to whole pixels


@dataclass(eq=False)
class Film:
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
    def blank(cls, size: int, anatomy: Anatomy) -> Film:
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


def draw_chest(film: Film, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """The film's attenuation with everything in its layers; ``rng`` gives the patient's details."""
    import numpy as np

    tissue = _body(film, anatomy, rng)
    centre = fill(film.size, _mediastinum(anatomy), soft=0.006)
    heart = fill(film.size, heart_outline(anatomy), soft=0.005)
    solid = np.maximum(np.maximum(centre, heart), _hila(film, anatomy))
    lungs = film.both_lungs()
    depth = 0.55 + 0.45 * blurred(lungs, 0.03)
    air = lungs * depth * film.aeration * (1 - 0.86 * solid)
    markings = _vessels(film, anatomy, rng) * lungs * film.vessels * (1 - 0.7 * solid)
    chest = tissue * (1 - 0.60 * air) + 0.07 * heart * (1 - 0.5 * centre)
    return chest + 0.15 * markings + _bones(film, anatomy, rng) + film.dense


def _body(film: Film, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    wide, top = anatomy.body_width, anatomy.apex
    half = [(0.10, -0.1), (0.105, top - 0.06), (0.17, top - 0.015), (0.36, top + 0.02)]
    half += [(0.48, top + 0.08), (0.54, top + 0.2), (0.62, 1.1), (wide + 0.10, 1.1)]
    half += [(wide + 0.03, top + 0.50), (wide + 0.015, top + 0.32), (wide, top + 0.40)]
    half += [(wide, 0.75), (wide + 0.03, 1.1)]
    outline = [(x, y) for x, y in half] + [(-x, y) for x, y in reversed(half)]
    body = fill(film.size, outline, soft=0.004)
    thick = body * (0.30 + 0.70 * blurred(body, 0.05))
    belly = ((film.y - min(anatomy.domes)) / 0.10).clip(0, 1)
    thick = thick * (0.92 + 0.24 * belly)
    if anatomy.breast:
        thick = thick + _breasts(film, anatomy) * (1 - belly)
    thick = thick * (1 + 0.025 * clouds(film.size, rng, cells=5))
    return thick - _stomach(film, anatomy)


def _breasts(film: Film, anatomy: Anatomy) -> np.ndarray:
    size = 0.11 + 0.05 * anatomy.breast
    y = anatomy.dome(LEFT) - 0.06 + 0.03 * anatomy.breast
    shapes = [
        ellipse(side * 0.62 * anatomy.lung_width, y, size, size * 0.95) for side in (RIGHT, LEFT)
    ]
    fade = ((film.y - y + size) / (2 * size)).clip(0, 1)
    return (0.05 + 0.08 * anatomy.breast) * fill(film.size, *shapes, soft=0.006) * fade


def _stomach(film: Film, anatomy: Anatomy) -> np.ndarray:
    x, y = 0.5 * anatomy.lung_width, anatomy.dome(LEFT) + 0.055
    bubble = fill(
        film.size, ellipse(x, y, 0.05 + 0.04 * anatomy.stomach, 0.018 + 0.02 * anatomy.stomach)
    )
    return 0.30 * anatomy.stomach * blurred(bubble, 0.006)


def ellipse(x: float, y: float, width: float, height: float, *, turn: float = 0.0) -> np.ndarray:
    """An ellipse's outline (40, 2) from its half axes; ``turn`` in radians."""
    import numpy as np

    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    across, down = width * np.cos(angle), height * np.sin(angle)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.column_stack([x + across * cos - down * sin, y + across * sin + down * cos])


def _mediastinum(anatomy: Anatomy) -> list[tuple[float, float]]:
    half, top = 0.5 * anatomy.mediastinum, anatomy.apex
    arch, shift = top + 0.19, 0.7 * anatomy.heart_shift
    left = [(0.9 * half, top - 0.1), (0.95 * half, arch - anatomy.knob)]
    left += [(half + 0.8 * anatomy.knob, arch - 0.5 * anatomy.knob)]
    left += [(half + anatomy.knob, arch + 0.3 * anatomy.knob), (1.1 * half, arch + 0.05)]
    left += [(1.5 * half, arch + 0.09), (1.5 * half, 0.95)]
    right = [(-1.1 * half, 0.95), (-1.15 * half, arch + 0.1), (-1.0 * half, arch)]
    right += [(-0.9 * half, top - 0.1)]
    return [(x + shift, y) for x, y in left + right]


def _hila(film: Film, anatomy: Anatomy) -> np.ndarray:
    import numpy as np

    shade = np.zeros((film.size, film.size), np.float32)
    for side in (RIGHT, LEFT):
        x, y = anatomy.hilum(side)
        y -= 0.02 * (side == LEFT)
        across = np.exp(-(((film.x - x) / 0.032) ** 2))
        shade += np.exp(-(((film.y - y) / 0.055) ** 2)) * across
    return 0.5 * shade


def _vessels(film: Film, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    groups: list[tuple[Any, float, float]] = []
    for side in (RIGHT, LEFT):
        stems = _branches(anatomy, side, rng)
        groups += [*_tapering(_twigs(stems, side, rng), 0.0045), *_tapering(stems, 0.0095)]
    return layered(film.size, groups, soft=0.0016)


def _tapering(paths: np.ndarray, width: float) -> list[tuple[np.ndarray, float, float]]:
    """Groups for `layered`, the thin far ends first."""
    steps = paths.shape[1] - 1
    rests = [(step, 1 - step / steps) for step in reversed(range(steps))]
    return [
        (paths[:, step : step + 2], width * rest, (0.25 + 0.75 * rest) * (0.6 + 40 * width))
        for step, rest in rests
    ]


def _branches(anatomy: Anatomy, side: int, rng: np.random.Generator) -> np.ndarray:
    """Vessels from the hilum outwards, (n, 7, 2); those to the bases are longer, as in life."""
    import numpy as np

    directions = np.concatenate([rng.uniform(-1.4, 0.0, 8), rng.uniform(0.0, 1.35, 12)])
    x, y = anatomy.hilum(side)
    lift = rng.uniform(-0.5, 0.5, 20) * 0.07 + 0.03 * np.sin(directions)
    start = np.column_stack([x + side * rng.uniform(-0.02, 0.012, 20), y + lift])
    length = (0.32 + 0.07 * np.sin(directions)) * rng.uniform(0.5, 1.0, 20)
    return _walk(start, directions, length, side, rng)


def _twigs(stems: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    import numpy as np

    starts = stems[:, 1:6]
    flow = stems[:, 2:7] - starts
    direction = np.arctan2(flow[..., 1], side * flow[..., 0]).ravel()
    turn = rng.choice((-1.0, 1.0), len(direction)) * rng.uniform(0.3, 0.9, len(direction))
    length = rng.uniform(0.05, 0.14, len(direction))
    return _walk(starts.reshape(-1, 2), direction + turn, length, side, rng)


def _walk(
    start: np.ndarray,
    direction: np.ndarray,
    length: np.ndarray,
    side: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Paths (n, 7, 2) of a length each that wander off their direction as they go."""
    import numpy as np

    steps = 6
    angles = direction[:, None] + np.cumsum(rng.normal(0, 0.16, (len(start), steps)), axis=1)
    moves = np.stack([side * np.cos(angles), np.sin(angles)], axis=2) * length[:, None, None]
    path = start[:, None] + np.cumsum(moves / steps, axis=1)
    return np.concatenate([start[:, None], path], axis=1)


def _bones(film: Film, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    back, front = _ribs(anatomy, rng)
    # a rib is a tube: its walls, which the ray meets edge on, are brighter than its middle
    ribs = [(front, 0.024, 0.45), (back, 0.022, 1.0), (back, 0.013, 0.6)]
    cage = layered(film.size, ribs, soft=0.0014) * (0.35 + 0.65 * film.both_lungs())
    collar, blade, arm = _shoulders(anatomy)
    girdle = [(arm, 0.055, 0.5), (blade, 0.012, 0.35), (collar, 0.027, 1.0)]
    shoulder = layered(film.size, girdle, soft=0.003)
    return anatomy.calcium * (0.18 * cage + 0.19 * shoulder + _spine(film, anatomy))


def _ribs(anatomy: Anatomy, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Centre lines of the ribs' back parts, which fall outwards, and front parts, inwards."""
    import numpy as np

    back, front = [], []
    t = np.linspace(0, 1, 14)
    for side in (RIGHT, LEFT):
        for k, jitter in enumerate(rng.normal(0, 0.003, 11)):
            y = anatomy.apex - 0.015 + k * anatomy.rib_spacing + jitter
            fall = anatomy.rib_drop * (0.5 + 0.10 * k)
            if y + fall > anatomy.angle(side)[1]:
                continue
            wall = abs(anatomy.lateral(side, y + fall))
            x = 0.03 + (wall - 0.03) * np.sin(t * np.pi / 2)
            back.append(np.column_stack([side * x, y - 0.03 * np.sin(2.4 * t) + fall * t**2.4]))
            if k < 7:
                inward = wall * (0.65 - 0.03 * k) * t
                sweep = 0.115 * np.sin(1.6 * t)
                front.append(np.column_stack([side * (wall - inward), back[-1][-1, 1] + sweep]))
    return back, front


def _shoulders(anatomy: Anatomy) -> tuple[list[Any], list[Any], list[Any]]:
    y, rise = anatomy.apex + anatomy.clavicle, anatomy.clavicle_slope
    outer = 1.12 * anatomy.lung_width
    collar = [(0.045, y + 0.03), (0.12, y + 0.018), (0.24, y + 0.012 - rise * 0.6)]
    collar += [(outer, y - rise)]
    blade = [(outer, y + 0.02), (outer - 0.02, y + 0.16), (outer - 0.045, y + 0.30)]
    arm = [(outer + 0.06, y + 0.015), (outer + 0.09, y + 0.12), (outer + 0.14, 1.0)]
    collars, blades, arms = (
        [[(side * x, h) for x, h in line] for side in (RIGHT, LEFT)]
        for line in (collar, blade, arm)
    )
    return collars, blades, arms


def _spine(film: Film, anatomy: Anatomy) -> np.ndarray:
    import numpy as np

    beat = np.cos(2 * np.pi * (film.y - anatomy.apex) / (0.8 * anatomy.rib_spacing))
    body = ((0.041 + 0.002 * beat - np.abs(film.x)) / 0.010).clip(0, 1)
    windpipe = np.exp(-((film.x / 0.017) ** 4))
    end = ((anatomy.apex + 0.23 - film.y) / 0.06).clip(0, 1)
    return (0.13 + 0.03 * beat) * body - 0.20 * windpipe * end


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
