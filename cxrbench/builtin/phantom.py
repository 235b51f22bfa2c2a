"""``phantom``: synthetic chest radiographs with known findings and boxes; nothing to download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from cxrbench import Cohort, DataError, Dataset, UnreadableImage, hookimpl

if TYPE_CHECKING:
    import numpy as np

CXRBENCH_API = 1

GENERATOR = 1
"""Goes up when the same seed draws other pixels than before."""


@dataclass(frozen=True)
class Phantom(Dataset):
    """A seeded cohort of drawn frontal chest films with NIH ChestX-ray14's fifteen labels.

    How often findings occur, and together, follows NIH's table (Wang et al., *ChestX-ray8*, CVPR
    2017), but at least 6 % of the patients have each, so that a small test split has all of them.

    Parameters
    ----------
    patients : number of patients; each has 1 to 6 images, 1.3 on average.
    size : side of the square images in pixels.
    seed : another seed draws another cohort.
    """

    name: ClassVar[str] = "phantom"
    defaults: ClassVar[Mapping[str, object]] = MappingProxyType(
        {
            **{"image_size": 48, "epochs": 6, "learning_rate": 1e-3, "weights": "none"},
            # Six epochs on drawings that all lie alike: there is no pose to become robust against.
            "augment": "none",
        }
    )
    citation: ClassVar[str] = "Label proportions: Wang et al., ChestX-ray8, CVPR 2017"

    patients: int = 1000
    size: int = 320
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {"patients": (20, 1_000_000), "size": (32, 4096), "seed": (0, 2**32 - 1)}
        for field, (low, high) in limits.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise DataError(
                    f"phantom cannot be drawn with {field}={value}",
                    expected=f"{field} from {low} to {high}",
                    found=str(value),
                    fix=f"choose a value in that range, for example --data phantom:{field}={low}",
                )

    def load(self) -> Cohort:
        """The table and the boxes; draws no picture."""
        import numpy as np

        from cxrbench.builtin._phantom.cohort import draw_table
        from cxrbench.builtin._phantom.exam import FINDINGS, plan

        rows = draw_table(self.patients, self.seed)
        labels = [[name in row.exam.findings for name in FINDINGS] for row in rows]
        values = np.array(labels, np.float32)
        healthy = (values.sum(axis=1, keepdims=True) == 0).astype(np.float32)
        return Cohort(
            name=self.name,
            label_names=(*FINDINGS, "No Finding"),
            image_ids=tuple(row.image_id for row in rows),
            patient_ids=tuple(row.patient_id for row in rows),
            labels=np.concatenate([values, healthy], axis=1),
            ages=np.array([row.age for row in rows], np.float32),
            sexes=tuple(row.exam.sex for row in rows),
            views=tuple(row.exam.view for row in rows),
            sources=tuple(row.exam.text() for row in rows),
            boxes=tuple(
                box for row in rows for box in plan(row.exam).boxes(row.image_id, self.size)
            ),
            notes=("Drawn, not photographed: scores here say nothing about patients.",),
        )

    def read(self, source: str, *, max_pixels: int) -> np.ndarray:
        """Draw one film, (size, size) uint8: the same for the same source, in any thread.

        Raises `UnreadableImage` when it would have more than ``max_pixels``, or when ``source`` is
        not one of ``load``'s.
        """
        from cxrbench.builtin._phantom.exam import Exam, render

        if self.size**2 > max_pixels:
            raise UnreadableImage(
                "the phantom's images are too large",
                expected=f"at most {max_pixels} pixels",
                found=f"{self.size} x {self.size}",
                fix="lower the option size",
            )
        try:
            exam = Exam.parse(source)
        except ValueError as error:
            raise UnreadableImage(
                "not a phantom image",
                expected="a source that load() returned",
                found=repr(source),
                fix="take sources from the cohort of the dataset phantom",
            ) from error
        return render(exam, self.size)

    def signature(self, source: str) -> str:
        """All that decides on the pixels: the generator's version, the size and the source."""
        return f"phantom generator {GENERATOR}, size {self.size}, {source}"


@hookimpl
def cxrbench_datasets() -> list[type[Dataset]]:
    """The synthetic cohort."""
    return [Phantom]
