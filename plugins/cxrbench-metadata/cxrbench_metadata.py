"""Age, sex and view as a feature vector, without the pixels of the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from cxrbench import (
    CxrbenchError,
    Encoder,
    FeatureExtractor,
    FittedEncoder,
    LocalFeatures,
    Record,
    hookimpl,
)

if TYPE_CHECKING:
    import numpy as np

CXRBENCH_API = 1

_COLUMNS = 3  # age, female, AP; then, in the same order, whether each is missing


@dataclass(frozen=True, eq=False)
class FittedScaler(FittedEncoder):
    """Mean and deviation of each column, (3,) float64, over the training images that have it."""

    mean: np.ndarray
    deviation: np.ndarray

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """(1, 6) to (6,): the columns standardised, 0 where missing, and the indicators.

        (0, 6), of an image that was left out, gives the vector of three missing columns.
        """
        import numpy as np

        if not len(vectors):
            return np.repeat(np.array([0, 1], np.float32), _COLUMNS)
        values, missing = vectors[0, :_COLUMNS], vectors[0, _COLUMNS:]
        scaled = np.where(missing == 1, 0.0, (values - self.mean) / self.deviation)
        return np.concatenate([scaled, missing]).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """Both."""
        return {"mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from what ``arrays`` returned."""
        return cls(arrays["mean"], arrays["deviation"])


@dataclass(frozen=True)
class Scaler(Encoder):
    """Standardise known values; missing values are replaced by the mean."""

    fitted: ClassVar[type[FittedEncoder]] = FittedScaler

    def fit(
        self, images: Iterable[np.ndarray], *, distance: Literal["l2", "hamming"], seed: int
    ) -> FittedScaler:
        """Fit on the vectors (1, 6) of the training images.

        A column that no training image has, or that is constant, is always 0.
        """
        import numpy as np

        rows = list(images)
        if not rows:
            raise CxrbenchError(
                "metadata: there are no training images",
                expected="at least one image",
                found="none",
                fix="use a larger training split",
            )
        table = np.concatenate(rows).astype(np.float64)
        known = table[:, _COLUMNS:] == 0
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, table[:, :_COLUMNS], 0).sum(axis=0) / count
        variance = np.where(known, (table[:, :_COLUMNS] - mean) ** 2, 0).sum(axis=0) / count
        deviation = np.where(variance > 0, np.sqrt(variance), np.inf)
        return FittedScaler(mean, deviation)


@dataclass(frozen=True)
class Metadata(FeatureExtractor):
    """Age, sex and view of an image's record; no pixels."""

    name = "metadata"
    image_size = None
    encodings: ClassVar[Mapping[str, type[Encoder]]] = {"scaled": Scaler}

    def extract(self, image: np.ndarray | None, record: Record) -> LocalFeatures:
        """One row (1, 6) float32: age in years, 1 for F, 1 for AP; then 1 for each missing."""
        import numpy as np

        columns = (
            record.age,
            None if record.sex is None else record.sex == "F",
            None if record.view is None else record.view == "AP",
        )
        values = [0.0 if value is None else float(value) for value in columns]
        missing = [float(value is None) for value in columns]
        return LocalFeatures(np.array([values + missing], np.float32))


@hookimpl
def cxrbench_feature_extractors() -> list[type[FeatureExtractor]]:
    """Metadata alone."""
    return [Metadata]
