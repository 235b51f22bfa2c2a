"""Phantom findings in the lung's substance: what takes the place of air."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cxrbench.builtin._phantom.anatomy import LEFT, RIGHT, Anatomy
from cxrbench.builtin._phantom.film import (
    Canvas,
    Sign,
    between,
    blob,
    clouds,
    ellipse,
    opacify,
    strokes,
)

if TYPE_CHECKING:
    import numpy as np


def shrink(anatomy: Anatomy, side: int, amount: float) -> Anatomy:
    """Atelectasis: the collapsed part pulls the diaphragm up and the heart over."""
    lift = between(0.01, 0.05, amount)
    right, left = anatomy.domes
    domes = (right - lift, left) if side == RIGHT else (right, left - lift)
    shift = anatomy.heart_shift + side * between(0.002, 0.018, amount)
    return replace(anatomy, domes=domes, heart_shift=shift)


def place_atelectasis(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """A band or wedge above the diaphragm."""
    x, y = anatomy.inside(side, rng.uniform(0.40, 0.55), rng.uniform(0.76, 0.90))
    width, height = between(0.07, 0.12, amount), between(0.025, 0.06, amount)
    return (Sign(side, x, y, width, height, between(0.45, 0.9, amount)),)


def paint_atelectasis(film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator) -> None:
    """Bowed plates that taper off; gross ones fill the wedge between them and the diaphragm."""
    import numpy as np

    t = np.linspace(-1, 1, 9)
    slope, bow = rng.uniform(-0.4, 0.4), rng.uniform(-0.5, 0.5)
    line = np.column_stack(
        [sign.x + sign.width * t, sign.y + sign.height * (slope * t + bow * (t**2 - 0.5) - 0.2)]
    )
    shade = strokes(film.size, [line], 0.014 + 0.25 * sign.height, soft=0.004)
    if sign.height > 0.035:
        lower = line + np.array((0.3 * sign.width, 0.7 * sign.height))
        shade = np.maximum(shade, 0.8 * strokes(film.size, [lower], 0.012, soft=0.004))
    taper = blob(film, replace(sign, height=3 * sign.height), hardness=2.0)
    haze = 0.55 * blob(film, replace(sign, y=sign.y + 0.2 * sign.height), hardness=1.5)
    opacify(film, sign.strength * np.maximum(shade * taper, haze))


def place_consolidation(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """One lobe or segment, anywhere."""
    x, y = anatomy.inside(side, rng.uniform(0.40, 0.65), rng.uniform(0.25, 0.85))
    width, height = between(0.06, 0.11, amount), between(0.05, 0.12, amount)
    return (Sign(side, x, y, width, height, between(0.5, 0.9, amount)),)


def paint_consolidation(
    film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator
) -> None:
    """Dense and even, with a straight edge at a fissure and air-filled bronchi in it."""
    import numpy as np

    slope, edge = rng.uniform(-0.6, 0.6), sign.y + 0.7 * sign.height
    fissure = ((edge + slope * (film.x - sign.x) - film.y) / 0.012).clip(0, 1)
    uneven = 1 + 0.25 * clouds(film.size, rng, cells=10)
    start = np.array((sign.x - sign.side * 0.7 * sign.width, sign.y - 0.3 * sign.height))
    angles = rng.uniform(-0.3, 1.0, 4)
    reach = np.column_stack([sign.side * np.cos(angles) * sign.width, np.sin(angles) * sign.height])
    bends = 0.6 * reach + rng.normal(0, 0.008, reach.shape)
    bronchi = [
        [start, start + bend, start + 1.3 * end] for bend, end in zip(bends, reach, strict=True)
    ]
    shade = (blob(film, sign, hardness=2.6) * fissure * uneven).clip(0, 1)
    opacify(
        film, sign.strength * shade * (1 - 0.30 * strokes(film.size, bronchi, 0.006, soft=0.002))
    )


def place_pneumonia(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """A patch in the middle or lower zone, often with a smaller one beside it."""
    x, y = anatomy.inside(side, rng.uniform(0.35, 0.65), rng.uniform(0.55, 0.85))
    size = between(0.07, 0.12, amount)
    main = Sign(side, x, y, size, size * rng.uniform(0.8, 1.2), between(0.4, 0.8, amount))
    x, y = anatomy.inside(side, rng.uniform(0.3, 0.7), rng.uniform(0.35, 0.55))
    small = Sign(side, x, y, 0.5 * size, 0.5 * size, 0.7 * main.strength)
    return (main, small) if rng.uniform() < 0.5 else (main,)


def paint_pneumonia(film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator) -> None:
    """Uneven and soft-edged, denser in the middle."""
    uneven = 1 + 0.35 * clouds(film.size, rng, cells=14)
    opacify(film, sign.strength * (blob(film, sign, hardness=1.7) * uneven).clip(0, 1))


def place_infiltration(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """Broad and ill-defined, in one lung or in both."""
    sides = (side, -side) if rng.uniform() < 0.4 else (side,)
    signs = []
    for where in sides:
        x, y = anatomy.inside(where, rng.uniform(0.30, 0.60), rng.uniform(0.50, 0.80))
        width, height = rng.uniform(0.08, 0.11), between(0.09, 0.15, amount)
        signs.append(Sign(where, x, y, width, height, between(0.28, 0.6, amount)))
    return tuple(signs)


def paint_infiltration(
    film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator
) -> None:
    """Streaks and spots through a faint haze; vessels stay visible."""
    streaks = (0.55 + 0.45 * clouds(film.size, rng, cells=28, octaves=2)).clip(0, 1.4)
    opacify(film, (sign.strength * blob(film, sign, hardness=1.1) * streaks).clip(0, 0.9), hide=0.3)


def place_edema(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """Around both hila, like the wings of a bat."""
    signs = []
    for where in (RIGHT, LEFT):
        x, y = anatomy.hilum(where)
        width, height = between(0.11, 0.15, amount), between(0.14, 0.20, amount)
        strength = between(0.24, 0.58, amount) * rng.uniform(0.85, 1.1)
        signs.append(Sign(where, x + where * 0.06, y + 0.05, width, height, strength))
    return tuple(signs)


def paint_edema(film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator) -> None:
    """Haze that spares the periphery, and Kerley's B lines at the wall."""
    uneven = 1 + 0.18 * clouds(film.size, rng, cells=16)
    opacify(film, sign.strength * (blob(film, sign, hardness=1.2) * uneven).clip(0, 1), hide=0.5)
    lines = []
    for down in 0.80 + 0.045 * rng.uniform(0, 5, 6):
        wall, y = anatomy.inside(sign.side, 0.985, down)
        lines.append([(wall, y), (wall - sign.side * 0.035, y + 0.002)])
    film.dense += 0.09 * sign.strength * strokes(film.size, lines, 0.004) * film.lungs[sign.side]


def stiffen(anatomy: Anatomy, side: int, amount: float) -> Anatomy:
    """Fibrosis: stiff lungs that do not fill."""
    lift = between(0.005, 0.03, amount)
    return replace(anatomy, domes=(anatomy.domes[0] - lift, anatomy.domes[1] - lift))


def place_fibrosis(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """The outer bases of both lungs."""
    signs = []
    for where in (RIGHT, LEFT):
        x, y = anatomy.inside(where, rng.uniform(0.60, 0.70), rng.uniform(0.78, 0.88))
        width, height = between(0.07, 0.10, amount), between(0.08, 0.14, amount)
        signs.append(Sign(where, x, y, width, height, between(0.40, 0.95, amount)))
    return tuple(signs)


def paint_fibrosis(film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator) -> None:
    """A net of fine rings (honeycomb) in a slight haze."""
    import numpy as np

    offsets = rng.normal(0, 0.55, (70, 2)) * (sign.width, sign.height)
    sizes = rng.uniform(0.006, 0.014, 70)
    rings = [
        ellipse(sign.x + dx, sign.y + dy, size, 0.8 * size)
        for (dx, dy), size in zip(offsets, sizes, strict=True)
    ]
    net = strokes(film.size, np.array(rings), 0.0042, soft=0.0015) * film.lungs[sign.side]
    film.dense += 0.17 * sign.strength * net
    opacify(film, 0.30 * sign.strength * blob(film, sign, hardness=1.2))


def place_mass(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """One, wider than 3 cm (a chest is about 30 cm wide), anywhere in a lung."""
    x, y = anatomy.inside(side, rng.uniform(0.30, 0.75), rng.uniform(0.22, 0.80))
    size = between(0.042, 0.085, amount)
    return (Sign(side, x, y, size, size * rng.uniform(0.85, 1.2), between(0.55, 0.9, amount)),)


def paint_mass(film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator) -> None:
    """Lobulated, soft-edged, with short spicules."""
    import numpy as np

    shade = blob(film, sign, hardness=3.5)
    for angle in rng.uniform(0, 2 * np.pi, 3):
        x, y = sign.x + 0.5 * sign.width * np.cos(angle), sign.y + 0.5 * sign.height * np.sin(angle)
        lobe = replace(sign, x=x, y=y, width=0.6 * sign.width, height=0.6 * sign.height)
        shade = np.maximum(shade, blob(film, lobe, hardness=3.0))
    angle = rng.uniform(0, 2 * np.pi, 9)
    rays = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (sign.width, sign.height)
    spicules = (sign.x, sign.y) + rays[:, None] * np.array([[0.8], [1.35]])
    shade = np.maximum(shade, 0.45 * strokes(film.size, spicules, 0.004, soft=0.0015))
    opacify(film, sign.strength * shade)


def place_nodule(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """One to three, under 3 cm."""
    signs = []
    for _ in range(int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15)))):
        x, y = anatomy.inside(side, rng.uniform(0.30, 0.85), rng.uniform(0.18, 0.88))
        size = between(0.016, 0.036, amount) * rng.uniform(0.85, 1.15)
        signs.append(Sign(side, x, y, size, size, between(0.6, 0.95, amount)))
        side = int(rng.choice((RIGHT, LEFT)))
    return tuple(signs)


def paint_nodule(film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator) -> None:
    """A small round spot with a clear edge."""
    opacify(film, sign.strength * blob(film, sign, hardness=5.0))
