"""Phantom findings of the heart, the pleural space, the airspace and the hiatus."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cxrbench.builtin._phantom.anatomy import LEFT, RIGHT, Anatomy
from cxrbench.builtin._phantom.film import (
    Canvas,
    Sign,
    between,
    blob,
    ellipse,
    fill,
    opacify,
    strokes,
)

if TYPE_CHECKING:
    import numpy as np


def _sign(side: int, xs: tuple[float, float], ys: tuple[float, float], strength: float) -> Sign:
    width, height = abs(xs[1] - xs[0]) / 2, abs(ys[1] - ys[0]) / 2
    return Sign(side, sum(xs) / 2, sum(ys) / 2, width, height, strength)


def widen_heart(anatomy: Anatomy, side: int, amount: float) -> Anatomy:
    """Cardiomegaly: a cardiothoracic ratio well above one half."""
    ratio = max(anatomy.heart_ratio, 0.42) + between(0.06, 0.17, amount)
    return replace(anatomy, heart_ratio=ratio, heart_height=anatomy.heart_height * 1.08)


def place_cardiomegaly(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """The heart itself, without the great vessels above it."""
    x, y, half_width, half_height = anatomy.heart()
    return (Sign(LEFT, x, y, half_width, half_height, amount),)


def place_effusion(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """From a blunted angle to half of one side."""
    wall, bottom = anatomy.angle(side)
    depth = between(0.10, 0.36, amount**1.3)
    inner = anatomy.medial(side, bottom - depth)
    reach = between(0.55, 1.0, amount)
    xs = (wall, wall + reach * (inner - wall))
    return (_sign(side, xs, (bottom - depth, bottom), between(0.85, 0.97, amount)),)


def paint_effusion(film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator) -> None:
    """Fluid below a meniscus that climbs the chest wall."""

    wall = anatomy.angle(sign.side)[0]
    across = (film.x / wall).clip(0, 1.05)
    top, bottom = sign.y - sign.height, sign.y + sign.height
    level = bottom - (bottom - top) * (0.35 + 0.65 * across**3)
    fluid = ((film.y - level) / 0.022 + 0.5).clip(0, 1)
    fluid = sign.strength * fluid * film.lungs[sign.side]
    opacify(film, fluid, hide=1.0)
    film.dense += 0.10 * fluid


def inflate(anatomy: Anatomy, side: int, amount: float) -> Anatomy:
    """Emphysema: large dark lungs, flat low diaphragms, a narrow heart, few vessels."""
    drop = between(0.02, 0.06, amount)
    return replace(
        anatomy,
        domes=(anatomy.domes[0] + drop, anatomy.domes[1] + drop),
        angle_depth=anatomy.angle_depth * between(0.7, 0.35, amount),
        heart_ratio=anatomy.heart_ratio * between(0.95, 0.82, amount),
        rib_spacing=anatomy.rib_spacing * 1.07,
        aeration=anatomy.aeration * between(1.06, 1.16, amount),
        vessels=anatomy.vessels * between(0.8, 0.45, amount),
    )


def place_emphysema(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """Each lung as a whole."""
    signs = []
    for where in (RIGHT, LEFT):
        wall, bottom = anatomy.angle(where)
        inner = 0.6 * where * anatomy.mediastinum
        signs.append(_sign(where, (inner, wall), (anatomy.apex, bottom), amount))
    return tuple(signs)


def paint_emphysema(film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator) -> None:
    """Bullae: round places without vessels behind a hair-thin wall, more when it is severe."""
    for _ in range(round(rng.uniform(0.0, 0.5) + 2.2 * sign.strength)):
        x, y = anatomy.inside(sign.side, rng.uniform(0.45, 0.85), rng.uniform(0.1, 0.9))
        size = rng.uniform(0.03, 0.075)
        bulla = blob(film, replace(sign, x=x, y=y, width=size, height=size), hardness=5.0)
        film.aeration *= 1 + 0.06 * bulla
        film.vessels *= 1 - 0.9 * bulla
        ring = ellipse(x, y, size, size)
        film.dense += 0.05 * strokes(film.size, [ring], 0.0035) * film.lungs[sign.side]


def place_hernia(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """Behind the heart, just above the diaphragm."""
    size = between(0.065, 0.125, amount)
    x = anatomy.heart_shift + rng.uniform(0.0, 0.06)
    y = anatomy.domes[1] - rng.uniform(0.6, 0.8) * size
    return (Sign(LEFT, x, y, size, 0.85 * size, between(0.65, 1.0, amount)),)


def paint_hernia(film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator) -> None:
    """A round wall, fluid below and air above a level."""
    shape = blob(film, sign, hardness=4.5)
    level = sign.y + rng.uniform(-0.25, 0.1) * sign.height
    air = ((level - film.y) / 0.010 + 0.5).clip(0, 1)
    rim = strokes(film.size, [ellipse(sign.x, sign.y, sign.width, sign.height)], 0.007, soft=0.002)
    film.dense += sign.strength * (shape * (0.16 - 0.42 * air) + 0.08 * rim)


def place_pleural_thickening(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """A band along the wall of one side."""
    top, bottom = rng.uniform(0.12, 0.30), between(0.70, 1.0, amount)
    length = anatomy.dome(side) - anatomy.apex
    ys = (anatomy.apex + top * length, anatomy.apex + bottom * length)
    thick = between(0.022, 0.055, amount)
    xs = (anatomy.lateral(side, ys[1]), anatomy.lateral(side, ys[0]) - side * thick)
    return (_sign(side, xs, ys, between(0.65, 0.9, amount)),)


def paint_pleural_thickening(
    film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator
) -> None:
    """Wavy on the lung's side, tapering at both ends."""
    import numpy as np

    top, bottom = sign.y - sign.height, sign.y + sign.height
    heights = np.linspace(top, bottom, 16)
    wall = np.array([anatomy.lateral(sign.side, y) for y in heights])
    upper = abs(anatomy.lateral(sign.side, top))
    thick = upper - abs(sign.x - sign.side * sign.width)
    depth = thick * np.sin(np.linspace(0.25, np.pi - 0.1, 16)) ** 0.7 * rng.uniform(0.8, 1.2, 16)
    outer = np.column_stack([wall + 0.02 * sign.side, heights])
    inner = np.column_stack([wall - sign.side * depth, heights])
    band = fill(film.size, np.concatenate([outer, inner[::-1]]), soft=0.003)
    opacify(film, sign.strength * band)


def place_pneumothorax(
    anatomy: Anatomy, side: int, amount: float, rng: np.random.Generator
) -> tuple[Sign, ...]:
    """Air between wall and lung, widest at the apex."""
    gap = between(0.035, 0.15, amount)
    bottom = anatomy.apex + between(0.40, 0.85, amount) * (anatomy.dome(side) - anatomy.apex)
    xs = (anatomy.medial(side, anatomy.apex + 0.06), anatomy.lateral(side, bottom))
    return (_sign(side, xs, (anatomy.apex, bottom), gap),)


def paint_pneumothorax(
    film: Canvas, anatomy: Anatomy, sign: Sign, rng: np.random.Generator
) -> None:
    """Black beyond the fine line of the visceral pleura, no vessels there; the lung is denser."""
    import numpy as np

    gap, top = sign.strength, sign.y - sign.height
    bottom = sign.y + sign.height
    depth = np.linspace(0, 1, 24) ** 1.5
    heights = top + (bottom - top) * depth
    wall = np.array([anatomy.lateral(sign.side, y) for y in heights])
    start = sign.x - sign.side * sign.width
    offset = gap * (1 - depth**2)
    line_x = np.maximum(np.abs(wall) - offset, abs(start) + 0.01) * sign.side
    line_y = heights + 1.3 * gap * (1 - depth) ** 2
    line = np.column_stack([line_x, line_y])
    hook = [(start, top + 1.6 * gap)]
    outside = [(start, top - 0.02), *zip(wall + 0.02 * sign.side, heights, strict=True)]
    space = fill(film.size, np.concatenate([outside, line[::-1], hook]), soft=0.0015)
    film.vessels *= 1 - space
    film.aeration *= 1 + 0.16 * space
    film.aeration *= 1 - 1.3 * gap * (1 - space) * film.lungs[sign.side]
    edge = strokes(film.size, [np.concatenate([hook, line])], 0.0045, soft=0.001)
    film.dense += 0.10 * edge * film.lungs[sign.side]
