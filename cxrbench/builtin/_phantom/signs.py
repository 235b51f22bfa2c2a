"""What a finding is to the phantom: signs that lie somewhere, and helpers to paint them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrbench.builtin._phantom.anatomy import Anatomy
from cxrbench.builtin._phantom.film import Canvas

if TYPE_CHECKING:
    import numpy as np


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
