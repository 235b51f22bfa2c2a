"""One phantom image: from a line of text to anatomy, signs and boxes, and on to pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from cxrbench import Box
from cxrbench.builtin._phantom import opacities as opacities
from cxrbench.builtin._phantom import spaces as spaces
from cxrbench.builtin._phantom.anatomy import LEFT, RIGHT, Anatomy, draw_anatomy, on_film
from cxrbench.builtin._phantom.film import Appearance, Sign

if TYPE_CHECKING:
    import numpy as np


FINDINGS: Mapping[str, Appearance] = MappingProxyType(
    {
        "Atelectasis": Appearance(
            opacities.place_atelectasis, opacities.paint_atelectasis, opacities.shrink
        ),
        "Cardiomegaly": Appearance(spaces.place_cardiomegaly, reshape=spaces.widen_heart),
        "Consolidation": Appearance(opacities.place_consolidation, opacities.paint_consolidation),
        "Edema": Appearance(opacities.place_edema, opacities.paint_edema),
        "Effusion": Appearance(spaces.place_effusion, spaces.paint_effusion),
        "Emphysema": Appearance(spaces.place_emphysema, spaces.paint_emphysema, spaces.inflate),
        "Fibrosis": Appearance(
            opacities.place_fibrosis, opacities.paint_fibrosis, opacities.stiffen
        ),
        "Hernia": Appearance(spaces.place_hernia, spaces.paint_hernia),
        "Infiltration": Appearance(opacities.place_infiltration, opacities.paint_infiltration),
        "Mass": Appearance(opacities.place_mass, opacities.paint_mass),
        "Nodule": Appearance(opacities.place_nodule, opacities.paint_nodule),
        "Pleural_Thickening": Appearance(
            spaces.place_pleural_thickening, spaces.paint_pleural_thickening
        ),
        "Pneumonia": Appearance(opacities.place_pneumonia, opacities.paint_pneumonia),
        "Pneumothorax": Appearance(spaces.place_pneumothorax, spaces.paint_pneumothorax),
    }
)


_PATIENT, _VESSELS, _EXPOSURE, _LESION, _STROKES = range(5)  # streams of random numbers


@dataclass(frozen=True)
class Exam:
    """All that one film depends on. ``first_age`` is the patient's age at the first visit."""

    seed: int
    patient: int
    visit: int
    view: str
    sex: str
    first_age: int
    findings: tuple[str, ...]

    def text(self) -> str:
        """One line, the inverse of `parse`."""
        *fields, findings = astuple(self)
        return "/".join(map(str, [*fields, ",".join(findings)]))

    @classmethod
    def parse(cls, text: str) -> Exam:
        """Raise ``ValueError`` for a line that `text` has not written."""
        seed, patient, visit, view, sex, age, names = text.split("/")
        findings = tuple(name for name in names.split(",") if name)
        exam = cls(int(seed), int(patient), int(visit), view, sex, int(age), findings)
        known = set(findings) <= set(FINDINGS) and view in ("PA", "AP") and sex in ("F", "M")
        if not known or min(exam.seed, exam.patient, exam.visit, exam.first_age) < 0:
            raise ValueError(text)
        return exam

    def stream(self, kind: int, *more: int) -> np.random.Generator:
        """A generator of its own for each purpose, so that no part's draws move another's."""
        import numpy as np

        return np.random.default_rng((self.seed, self.patient, kind, *more))


@dataclass(frozen=True)
class Pose:
    """How the chest lies on the film: turned (radians), scaled and shifted about its centre."""

    turn: float
    scale: float
    shift_x: float
    shift_y: float

    def matrix(self, size: int) -> np.ndarray:
        """The (2, 3) affine matrix on pixels."""
        import numpy as np

        cos, sin = self.scale * math.cos(self.turn), self.scale * math.sin(self.turn)
        middle = (size - 1) / 2
        right = middle - cos * middle + sin * middle + self.shift_x * size
        down = middle - sin * middle - cos * middle + self.shift_y * size
        return np.array([[cos, -sin, right], [sin, cos, down]])

    def apply(self, x: float, y: float) -> tuple[float, float]:
        """Anatomical coordinates to parts of the picture's side, both from 0 to 1."""
        y -= 0.5
        cos, sin = self.scale * math.cos(self.turn), self.scale * math.sin(self.turn)
        return 0.5 + cos * x - sin * y + self.shift_x, 0.5 + sin * x + cos * y + self.shift_y


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn, with every number decided."""

    anatomy: Anatomy
    pose: Pose
    signs: tuple[tuple[str, Sign], ...]

    def boxes(self, image_id: str, size: int) -> list[Box]:
        """One box around each sign, in pixels, cut at the picture's edge."""
        boxes = []
        for label, sign in self.signs:
            corners = [
                self.pose.apply(sign.x + across * sign.width, sign.y + down * sign.height)
                for across in (-1, 1)
                for down in (-1, 1)
            ]
            xs, ys = (
                [min(max(v, 0.0), 1.0) * size for v in axis] for axis in zip(*corners, strict=True)
            )
            left, top = round(min(xs), 2), round(min(ys), 2)
            wide, high = round(max(xs) - left, 2), round(max(ys) - top, 2)
            boxes.append(Box(image_id, label, left, top, wide, high))
        return boxes


def plan(exam: Exam) -> Drawing:
    """Decide on anatomy, pose and signs; draws nothing.

    Side, size and place of a lesion are the patient's; each visit changes its amount a little.
    """
    film = exam.stream(_EXPOSURE, exam.visit, 0)
    chest = draw_anatomy(exam.stream(_PATIENT), sex=exam.sex, age=exam.first_age)
    chest = on_film(chest, film, view=exam.view)
    pose = Pose(
        float(film.normal(0, 0.022)),
        float(film.uniform(0.97, 1.12)),
        float(film.normal(0, 0.016)),
        float(film.normal(0, 0.014)),
    )
    lesions = []
    for name in exam.findings:
        own = exam.stream(_LESION, list(FINDINGS).index(name))
        side = LEFT if own.uniform() < 0.45 else RIGHT
        amount = min(max(float(own.uniform(0.0, 1.0)) + 0.1 * float(film.normal()), 0.0), 1.0)
        chest = FINDINGS[name].reshape(chest, side, amount)
        lesions.append((name, side, amount, own))
    signs = [
        (name, sign)
        for name, side, amount, own in lesions
        for sign in FINDINGS[name].place(chest, side, amount, own)
    ]
    return Drawing(chest, pose, tuple(signs))


def render(exam: Exam, size: int) -> np.ndarray:
    """The film of this exam, (size, size) uint8; the same for the same exam and size."""
    import cv2

    from cxrbench.builtin._phantom.chest import draw_chest
    from cxrbench.builtin._phantom.film import Canvas, add_marks, develop

    drawing = plan(exam)
    film = Canvas.blank(size, drawing.anatomy)
    for number, (label, sign) in enumerate(drawing.signs):
        brush = exam.stream(_STROKES, exam.visit, number)
        FINDINGS[label].paint(film, drawing.anatomy, sign, brush)
    chest = draw_chest(film, drawing.anatomy, exam.stream(_VESSELS))
    posed = cv2.warpAffine(
        chest, drawing.pose.matrix(size), (size, size), borderMode=cv2.BORDER_CONSTANT
    )
    exposure = exam.stream(_EXPOSURE, exam.visit, 1)
    add_marks(posed, exposure, view=exam.view)
    return develop(posed, exposure, view=exam.view)
