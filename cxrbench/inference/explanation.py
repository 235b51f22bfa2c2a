"""The explanation of one image: scores, saliency, keypoints, visual words."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.inference.films import Film, PreparedFilm, prepare_film, wanted_of
from cxrbench.inference.saliency.maps import Saliency
from cxrbench.inference.trained import TrainedRun
from cxrbench.interfaces import Box, Cohort
from cxrbench.metrics.boxes import inside_boxes, is_flat, score_map
from cxrbench.output.files import read_arrays
from cxrbench.parameters import nearest
from cxrbench.store.decoding import unfit_map
from cxrbench.store.image_pass import in_order, quiet_single_threaded_libraries


@dataclass(frozen=True, eq=False)
class LabelExplanation:
    """One label of one film.

    ``map`` (H, W) float32 is over the original's pixels, not negative; ``flat`` where it has no
    maximum. ``truth`` is 1, 0, or None where unknown. ``boxes`` are the label's, and ``hit``,
    ``energy`` and ``iou`` what the map scores against them, None without boxes. ``words`` by
    feature.
    """

    label: str
    probability: float
    threshold: float | None
    truth: int | None
    map: np.ndarray
    flat: bool
    boxes: tuple[Box, ...] = ()
    hit: float | None = None
    energy: float | None = None
    iou: float | None = None
    words: Mapping[str, Words] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Explanation:
    """One film with what was explained of it; nothing where ``film.reason`` says why not."""

    film: PreparedFilm
    labels: tuple[LabelExplanation, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """Which labels: those that are named, else the ``top`` with the highest probability."""

    labels: tuple[str, ...] = ()
    top: int = 3
    iou_threshold: float = 0.5

    def places(self, trained: TrainedRun, y_score: np.ndarray) -> list[int]:
        """The places of the labels for a film with these probabilities (L,)."""
        if self.labels:
            return [trained.label_names.index(label) for label in self.labels]
        order: list[int] = np.argsort(-y_score, kind="stable")[: self.top].tolist()
        return order


def require_labels(labels: Sequence[str], trained: TrainedRun) -> tuple[str, ...]:
    """The labels as the run spells them, each once.

    Raises
    ------
    SettingsError : the run has no such label.
    """
    spelt = {name.lower(): name for name in trained.label_names}
    for label in labels:
        if label.lower() not in spelt:
            raise SettingsError(
                f"the run {trained.name!r} has no label {label!r}",
                expected=", ".join(trained.label_names),
                found=repr(label),
                fix=nearest(label, trained.label_names) or None,
            )
    return tuple(dict.fromkeys(spelt[label.lower()] for label in labels))


def explain_films(
    saliency: Saliency, films: Iterable[Film], wanted: Wanted, cohort: Cohort | None = None
) -> Generator[Explanation, None, None]:
    """Explain films in their order; memory holds a few of them.

    ``cohort`` tells truth and boxes of the films that have a row in it.
    """
    from threadpoolctl import threadpool_limits

    trained = saliency.trained
    work = partial(prepare_film, wanted=wanted_of(trained), trained=trained)
    with ExitStack() as stack:
        stack.enter_context(quiet_single_threaded_libraries())
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        ready = stack.enter_context(closing(in_order(work, films, saliency.threads)))
        while batch := list(islice(ready, saliency.batch_size)):
            usable = [film for film in batch if film.reason is None]
            explained = iter(_explained(saliency, usable, wanted, cohort) if usable else ())
            for film in batch:
                yield Explanation(film) if film.reason is not None else next(explained)


def _explained(
    saliency: Saliency, films: Sequence[PreparedFilm], wanted: Wanted, cohort: Cohort | None
) -> Iterator[Explanation]:
    trained = saliency.trained
    y_score = saliency.scores(films)
    places = [wanted.places(trained, scores) for scores in y_score]
    fit = wanted_of(trained).fit
    maps = saliency.maps(films, places)
    for film, scores, chosen, found in zip(films, y_score, places, maps, strict=True):
        labels = []
        for place, map_ in zip(chosen, found, strict=True):
            name, fitted = trained.label_names[place], unfit_map(map_, film.size, fit)
            boxes = _boxes(cohort, film, name)
            explained = LabelExplanation(
                name,
                float(scores[place]),
                trained.thresholds[place],
                _truth(cohort, film, name),
                fitted,
                is_flat(fitted),
                words=words_of(saliency, film, place),
            )
            labels.append(_with_boxes(explained, boxes, film, wanted.iou_threshold))
        yield Explanation(film, tuple(labels))


def _with_boxes(
    label: LabelExplanation, boxes: tuple[Box, ...], film: PreparedFilm, iou_threshold: float
) -> LabelExplanation:
    if not boxes:
        return label
    hit, energy, iou = score_map(label.map, inside_boxes(boxes, film.size), iou_threshold)
    return replace(label, boxes=boxes, hit=hit, energy=energy, iou=iou)


def _boxes(cohort: Cohort | None, film: PreparedFilm, label: str) -> tuple[Box, ...]:
    if cohort is None or film.film.row is None:
        return ()
    name = cohort.image_ids[film.film.row]
    return tuple(box for box in cohort.boxes if (box.image_id, box.label) == (name, label))


def _truth(cohort: Cohort | None, film: PreparedFilm, label: str) -> int | None:
    if cohort is None or film.film.row is None or label not in cohort.label_names:
        return None
    value = float(cohort.labels[film.film.row, cohort.label_names.index(label)])
    return None if value != value else int(value)


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
