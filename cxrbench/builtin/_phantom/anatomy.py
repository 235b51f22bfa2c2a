"""A phantom patient's chest: its measures, and the outlines that follow from them.

Coordinates have the picture's side as unit: x runs from -0.5 to 0.5 (0 is the midline), y from 0
(top) to 1. As on a film that one looks at, side -1 is the patient's right, +1 the left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

RIGHT, LEFT = -1, 1
Point = tuple[float, float]


@dataclass(frozen=True)
class Anatomy:
    """Measures of one chest on one film; lengths in units of the picture's side.

    ``heart_ratio`` is the cardiothoracic ratio, ``domes`` the heights (y) of the right and the
    left diaphragm, ``angle_depth`` how far the costophrenic angle lies below its dome,
    ``aeration`` and ``vessels`` factors for the lungs' darkness and markings (1 is healthy).
    """

    lung_width: float
    apex: float
    domes: tuple[float, float]
    angle_depth: float
    mediastinum: float
    heart_ratio: float
    heart_height: float
    heart_shift: float
    knob: float
    rib_spacing: float
    rib_drop: float
    clavicle: float
    clavicle_slope: float
    body_width: float
    breast: float
    stomach: float
    calcium: float
    aeration: float = 1.0
    vessels: float = 1.0

    def dome(self, side: int) -> float:
        """Height (y) of one side's diaphragm."""
        return self.domes[0 if side == RIGHT else 1]

    def angle(self, side: int) -> Point:
        """Where one side's costophrenic angle is."""
        return side * self.lung_width, self.dome(side) + self.angle_depth

    def lateral(self, side: int, y: float) -> float:
        """The chest wall's x at this height."""
        t = self._depth(side, y)
        return side * self.lung_width * (0.42 + 0.58 * (1 - (1 - t) ** 2.2) ** 0.6)

    def medial(self, side: int, y: float) -> float:
        """The x at this height of the lung's edge beside the mediastinum (not the heart)."""
        rise = min(self._depth(side, y) / 0.16, 1.0)
        start = 0.42 * self.lung_width
        return side * (start - (start - 0.6 * self.mediastinum) * (rise * (2 - rise)) ** 0.6)

    def _depth(self, side: int, y: float) -> float:
        return min(max((y - self.apex) / (self.angle(side)[1] - self.apex), 0.0), 1.0)

    def inside(self, side: int, across: float, down: float) -> Point:
        """A point of the lung: ``across`` 0 (mediastinum) to 1 (wall), ``down`` apex to dome."""
        y = self.apex + down * (self.dome(side) - self.apex)
        inner, outer = self.medial(side, y), self.lateral(side, y)
        return inner + across * (outer - inner), y

    def hilum(self, side: int) -> Point:
        """Where the vessels of one lung spread from."""
        return side * 0.24 * self.lung_width, self.apex + 0.56 * (self.dome(side) - self.apex)

    def heart(self) -> tuple[float, float, float, float]:
        """Centre x, centre y, half width and half height of the heart."""
        half = self.heart_ratio * self.lung_width
        return 0.36 * half + self.heart_shift, self.domes[1] - 0.085, half, self.heart_height


def draw_anatomy(rng: np.random.Generator, *, sex: str, age: float) -> Anatomy:
    """A healthy chest on a PA film; the same generator state gives the same chest."""
    female, elder = sex == "F", min(max(age - 20, 0) / 60, 1.0)
    child = min(max(12 - age, 0) / 12, 1.0)
    dome = rng.uniform(0.69, 0.77) - 0.02 * female
    lung_width = rng.uniform(0.345, 0.405) - 0.012 * female
    return Anatomy(
        lung_width=lung_width,
        apex=rng.uniform(0.09, 0.15),
        domes=(dome - rng.uniform(0.0, 0.02), dome + rng.uniform(0.0, 0.025)),
        angle_depth=rng.uniform(0.085, 0.115),
        mediastinum=rng.uniform(0.085, 0.105) + 0.012 * elder,
        heart_ratio=rng.normal(0.43, 0.022) + 0.02 * elder + 0.05 * child,
        heart_height=rng.uniform(0.135, 0.16),
        heart_shift=rng.normal(0, 0.006),
        knob=rng.uniform(0.024, 0.032) + 0.010 * elder,
        rib_spacing=rng.uniform(0.062, 0.073),
        rib_drop=rng.uniform(0.05, 0.10),
        clavicle=rng.uniform(0.02, 0.05),
        clavicle_slope=rng.uniform(0.02, 0.08),
        body_width=lung_width + rng.uniform(0.045, 0.125),
        breast=female * (1 - child) * rng.uniform(0.2, 1.0),
        stomach=max(rng.uniform(-0.6, 1.0), 0.0),
        calcium=0.55 + 0.45 * rng.uniform() - 0.2 * elder,
    )


def on_film(anatomy: Anatomy, rng: np.random.Generator, *, view: str) -> Anatomy:
    """The same chest on one film: how deep the breath was, and what the view does to the heart.

    The heart lies away from the detector on an AP film, which magnifies it, and films at the
    bedside are taken at a shallower breath.
    """
    bedside = view == "AP"
    breath = rng.normal(0, 0.012) - 0.03 * bedside
    return replace(
        anatomy,
        domes=(anatomy.domes[0] + breath, anatomy.domes[1] + breath),
        heart_ratio=anatomy.heart_ratio * (1.10 if bedside else 1.0),
        mediastinum=anatomy.mediastinum * (1.08 if bedside else 1.0),
        clavicle=anatomy.clavicle - 0.02 * bedside,
    )


def lung_outline(anatomy: Anatomy, side: int) -> np.ndarray:
    """One lung's outline, (n, 2) float64: wall, costophrenic angle, diaphragm, mediastinum."""
    import numpy as np

    corner_x, corner_y = anatomy.angle(side)
    heights = anatomy.apex + (corner_y - anatomy.apex) * np.linspace(0, 1, 24) ** 1.7
    wall = [(anatomy.lateral(side, y), y) for y in heights]
    dome = anatomy.dome(side)
    centre, inner = 0.5 * corner_x, anatomy.medial(side, dome)
    base = []
    for x in np.linspace(corner_x, inner, 18)[1:]:
        outward = (x - centre) * side
        edge = abs(corner_x - centre) if outward > 0 else abs(centre - inner)
        fall = anatomy.angle_depth if outward > 0 else 0.035
        base.append((x, dome + fall * abs(outward / edge) ** 2.4))
    edge_heights = heights[(heights > anatomy.apex) & (heights < dome)][::-1]
    mediastinal = [(anatomy.medial(side, y), y) for y in edge_heights]
    return np.array(wall + base + mediastinal)


_HEART = (  # the right border, the vessels above, the left border down to the tip, the base
    *((-0.98, 0.10), (-0.93, -0.40), (-0.72, -0.85), (-0.50, -1.35), (-0.05, -1.50), (0.30, -1.25)),
    *((0.55, -0.90), (0.82, -0.45), (1.00, 0.05), (1.06, 0.50), (0.98, 0.86), (0.62, 1.02)),
    *((0.00, 1.02), (-0.60, 0.95), (-0.92, 0.60)),
)


def heart_outline(anatomy: Anatomy) -> np.ndarray:
    """The heart's outline, (n, 2) float64, corners cut twice (Chaikin's curve)."""
    import numpy as np

    x, y, half_width, half_height = anatomy.heart()
    points = np.array(_HEART)
    for _ in range(2):
        after = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], axis=1)
        points = points.reshape(-1, 2)
    return points * (half_width, half_height) + (x, y)
