"""The phantom's chest: tissue, lungs, heart and mediastinum summed up along the rays.

Attenuation adds up along a ray (Beer-Lambert, in logarithms), so a film is the sum of tissue, air
(which takes away), vessels and bone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrbench.builtin._phantom.anatomy import LEFT, RIGHT, Anatomy, heart_outline
from cxrbench.builtin._phantom.film import Film, blurred, clouds, ellipse, fill
from cxrbench.builtin._phantom.lines import bones, vessels

if TYPE_CHECKING:
    import numpy as np


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
    markings = vessels(film, anatomy, rng) * lungs * film.vessels * (1 - 0.7 * solid)
    chest = tissue * (1 - 0.60 * air) + 0.07 * heart * (1 - 0.5 * centre)
    return chest + 0.15 * markings + bones(film, anatomy, rng) + film.dense


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
