"""Which visual words of an image moved a label's logit, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrbench.data.arrays import read_arrays
from cxrbench.explain.films import PreparedFilm
from cxrbench.explain.saliency import Saliency


@dataclass(frozen=True, eq=False)
class Words:
    """What each visual word of one feature did.

    ``of_keypoints`` (n,) int: the word of each keypoint of the image. ``effects`` (W,) float32: by
    how much the label's logit is higher than with the mean of the training images in that word's
    place. A word that the image lacks has an effect too, if others have it.
    """

    of_keypoints: np.ndarray
    effects: np.ndarray

    def strongest(self, count: int) -> tuple[int, ...]:
        """The words with keypoints in the image that moved the logit most, either way."""
        present = np.unique(self.of_keypoints)
        order = np.argsort(-np.abs(self.effects[present]), kind="stable")
        return tuple(present[order][:count].tolist())


def words_of(saliency: Saliency, film: PreparedFilm, label: int) -> dict[str, Words]:
    """The words of each feature with keypoints that is encoded by visual words, by its name.

    Each word's numbers in the feature vector are set to the training images' mean, all else stays
    as it is, and the logit is computed again: the effect is exact for the word alone, and the
    effects of several words need not add up.
    """
    trained = saliency.trained
    found = {}
    for feature in trained.recipe.features:
        encoder, local = trained.encoders[feature.name], film.local[feature.name]
        if not encoder.word_count or local.keypoints is None:
            continue
        vectors = feature.extractor.vectors(local.descriptors)
        of_keypoints = encoder.words_of(vectors) if len(vectors) else np.zeros(0, int)
        arrays = read_arrays(trained.path / "encoders" / f"{feature.name}.npz")
        changed = _each_word_at(
            film.inputs[feature.name], arrays["standardised_mean"], encoder.word_count
        )
        logits = saliency.logits_with(film, feature.name, changed)[:, label]
        found[feature.name] = Words(of_keypoints, logits[0] - logits[1:])
    return found


def _each_word_at(vector: np.ndarray, mean: np.ndarray, words: int) -> np.ndarray:
    """The vector (D,) as it is, then with each word's part at the mean: (1 + words, D)."""
    rows = np.tile(vector, (1 + words, 1)).reshape(1 + words, words, -1)
    place = np.arange(words)
    rows[1 + place, place] = mean.reshape(words, -1)
    return rows.reshape(1 + words, -1)
