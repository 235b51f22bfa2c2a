"""The phantom's chest: tissue, lungs, vessels, bones, heart and mediastinum along the rays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cxrbench.builtin._phantom.anatomy import LEFT, RIGHT, Anatomy, heart_outline
from cxrbench.builtin._phantom.film import Canvas, blurred, clouds, ellipse, fill, layered

if TYPE_CHECKING:
    import numpy as np


def draw_chest(film: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """The film's attenuation with everything in its layers; ``rng`` gives the patient's details."""
    import numpy as np

    tissue = _body(film, anatomy, rng)
    centre = fill(film.size, _mediastinum(anatomy), soft=0.006)
    heart = fill(film.size, heart_outline(anatomy), soft=0.005)
    solid = np.maximum(np.maximum(centre, heart), _hila(film, anatomy))
    lungs = film.both_lungs()
    depth = 0.55 + 0.45 * blurred(lungs, 0.03)
    air = lungs * depth * film.aeration * (1 - 0.86 * solid)
    markings = vessels(film, anatomy, rng) * lungs * film.vessels * (1 - 0.7 * solid)
    chest = tissue * (1 - 0.60 * air) + 0.07 * heart * (1 - 0.5 * centre)
    return chest + 0.15 * markings + bones(film, anatomy, rng) + film.dense


def _body(film: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
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


def _breasts(film: Canvas, anatomy: Anatomy) -> np.ndarray:
    size = 0.11 + 0.05 * anatomy.breast
    y = anatomy.dome(LEFT) - 0.06 + 0.03 * anatomy.breast
    shapes = [
        ellipse(side * 0.62 * anatomy.lung_width, y, size, size * 0.95) for side in (RIGHT, LEFT)
    ]
    fade = ((film.y - y + size) / (2 * size)).clip(0, 1)
    return (0.05 + 0.08 * anatomy.breast) * fill(film.size, *shapes, soft=0.006) * fade


def _stomach(film: Canvas, anatomy: Anatomy) -> np.ndarray:
    x, y = 0.5 * anatomy.lung_width, anatomy.dome(LEFT) + 0.055
    bubble = fill(
        film.size, ellipse(x, y, 0.05 + 0.04 * anatomy.stomach, 0.018 + 0.02 * anatomy.stomach)
    )
    return 0.30 * anatomy.stomach * blurred(bubble, 0.006)


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


def _hila(film: Canvas, anatomy: Anatomy) -> np.ndarray:
    import numpy as np

    shade = np.zeros((film.size, film.size), np.float32)
    for side in (RIGHT, LEFT):
        x, y = anatomy.hilum(side)
        y -= 0.02 * (side == LEFT)
        across = np.exp(-(((film.x - x) / 0.032) ** 2))
        shade += np.exp(-(((film.y - y) / 0.055) ** 2)) * across
    return 0.5 * shade


def vessels(film: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """The lungs' vessels, 0 to 1; the same generator state gives the same tree."""
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


def bones(film: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """What bone adds to the attenuation, less the windpipe before the spine."""
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


def _spine(film: Canvas, anatomy: Anatomy) -> np.ndarray:
    import numpy as np

    beat = np.cos(2 * np.pi * (film.y - anatomy.apex) / (0.8 * anatomy.rib_spacing))
    body = ((0.041 + 0.002 * beat - np.abs(film.x)) / 0.010).clip(0, 1)
    windpipe = np.exp(-((film.x / 0.017) ** 4))
    end = ((anatomy.apex + 0.23 - film.y) / 0.06).clip(0, 1)
    return (0.13 + 0.03 * beat) * body - 0.20 * windpipe * end
