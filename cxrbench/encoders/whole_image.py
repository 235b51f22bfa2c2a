"""The encoding of extractors that give one feature vector for the whole image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from cxrbench import CxrbenchError, Encoder, FittedEncoder

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class FittedIdentity(FittedEncoder):
    """Knows how long the vectors are, for an image that has none."""

    size: int

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """The one row of (1, D), or D zeros for (0, D)."""
        import numpy as np

        if len(vectors) > 1 or vectors.shape[1] != self.size:
            raise CxrbenchError(
                "identity: an image has features that are not one vector",
                expected=f"an array of shape (1, {self.size}), or (0, {self.size}) for none",
                found=f"an array of shape {vectors.shape}",
                fix="return one row from extract, or encode with BagOfWords or VLAD",
            )
        return vectors[0] if len(vectors) else np.zeros(self.size, np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """The length of the vectors."""
        import numpy as np

        return {"size": np.array(self.size)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from what ``arrays`` returned."""
        return cls(int(arrays["size"]))


@dataclass(frozen=True)
class Identity(Encoder):
    """No encoding: the extractor's one vector (1, D) is the feature vector."""

    fitted: ClassVar[type[FittedEncoder]] = FittedIdentity

    def fit(
        self, images: Iterable[np.ndarray], *, distance: Literal["l2", "hamming"], seed: int
    ) -> FittedIdentity:
        """Take the length of the first vector; nothing else is learnt."""
        for vectors in images:
            return FittedIdentity(vectors.shape[1])
        raise CxrbenchError(
            "identity: there are no training images",
            expected="at least one image",
            found="none",
            fix="use a larger training split",
        )
