"""The explanation of one image: scores, saliency, keypoints, visual words."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.inference.images import InputImage
from cxrbench.inference.inputs import ReadyImage, ready_batches
from cxrbench.inference.saliency import Saliency
from cxrbench.inference.trained import TrainedRun
from cxrbench.interfaces import Box, Cohort
from cxrbench.metrics.boxes import inside_boxes, is_flat, score_map
from cxrbench.output.files import read_arrays
from cxrbench.parameters import nearest


@dataclass(frozen=True, eq=False)
class LabelExplanation:
    """One label of one image.

    ``map`` (H, W) float32 is over the original's pixels, not negative; ``flat`` if it has no
    maximum. ``truth`` is 1, 0, or None if unknown. ``boxes`` are the label's; ``hit``, ``energy``
    and ``iou`` are the map's scores against them, None without boxes. ``words`` by feature.
    ``seed`` says whose model it is where several seeds are explained, else None.
    """

    label: str
    probability: float
    threshold: float | None
    truth: int | None
    map: np.ndarray
    flat: bool
    boxes: tuple[Box, ...]
    hit: float | None
    energy: float | None
    iou: float | None
    words: Mapping[str, Words]
    seed: int | None = None


@dataclass(frozen=True, eq=False)
class Explanation:
    """One image and the explanations of its labels; none if ``image.reason`` says why not."""

    image: ReadyImage
    labels: tuple[LabelExplanation, ...] = ()


@dataclass(frozen=True)
class LabelChoice:
    """The labels that are named, else the ``top`` ones with the highest mean probability.

    Their maps are scored with ``iou_threshold``, a share of the map's maximum.
    """

    labels: tuple[str, ...] = ()
    top: int = 3
    iou_threshold: float = 0.5

    def places(self, trained: TrainedRun, y_score: np.ndarray) -> list[int]:
        """The places of the labels for an image with these probabilities (L,)."""
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


def explain_images(
    saliencies: Sequence[Saliency],
    images: Iterable[InputImage],
    choice: LabelChoice,
    cohort: Cohort | None = None,
) -> Generator[Explanation, None, None]:
    """Explain images in their order; memory holds a few of them.

    Several ``saliencies`` are of the seeds of a recipe: each explains the same labels.
    ``cohort`` has the truth and the boxes of the images that have a row in it.
    """
    first = saliencies[0]
    batches = ready_batches(
        images,
        first.trained.preparation,
        [saliency.trained for saliency in saliencies],
        batch_size=first.batch_size,
        threads=first.threads,
    )
    known = _Known(cohort)
    with closing(batches):
        for batch in batches:
            usable = [image for image in batch if image.reason is None]
            explained = iter(_explained(saliencies, usable, choice, known) if usable else ())
            for image in batch:
                yield Explanation(image) if image.reason is not None else next(explained)


def _explained(
    saliencies: Sequence[Saliency],
    images: Sequence[ReadyImage],
    choice: LabelChoice,
    known: _Known,
) -> Iterator[Explanation]:
    of_models = [
        [replace(image, of_models=(image.of_models[model],)) for image in images]
        for model in range(len(saliencies))
    ]
    pairs = list(zip(saliencies, of_models, strict=True))
    y_score = np.stack([saliency.scores(own) for saliency, own in pairs])
    mean = y_score.mean(axis=0)
    places = [choice.places(saliencies[0].trained, scores) for scores in mean]
    maps = [saliency.maps(own, places) for saliency, own in pairs]
    for row, image in enumerate(images):
        labels = []
        for at, place in enumerate(places[row]):
            name = saliencies[0].trained.label_names[place]
            boxes, truth = known.boxes(image, name), known.truth(image, name)
            inside = inside_boxes(boxes, image.size)
            for model, (saliency, own) in enumerate(pairs):
                fitted = image.unfit(maps[model][row][at])
                hit, energy, iou = (
                    score_map(fitted, inside, choice.iou_threshold) if boxes else (None, None, None)
                )
                labels.append(
                    LabelExplanation(
                        label=name,
                        probability=float(y_score[model, row, place]),
                        threshold=saliency.trained.thresholds[place],
                        truth=truth,
                        map=fitted,
                        flat=is_flat(fitted),
                        boxes=boxes,
                        hit=hit,
                        energy=energy,
                        iou=iou,
                        words=words_of(saliency, own[row], place),
                        seed=saliency.trained.run.conditions.seed if len(pairs) > 1 else None,
                    )
                )
        yield Explanation(image, tuple(labels))


class _Known:
    """What a cohort knows of images that have a row in it: boxes and truth of their labels."""

    def __init__(self, cohort: Cohort | None) -> None:
        self._cohort = cohort
        self._boxes: dict[tuple[str, str], tuple[Box, ...]] = {}
        for box in () if cohort is None else cohort.boxes:
            key = box.image_id, box.label
            self._boxes[key] = (*self._boxes.get(key, ()), box)

    def boxes(self, image: ReadyImage, label: str) -> tuple[Box, ...]:
        if self._cohort is None or image.image.row is None:
            return ()
        return self._boxes.get((self._cohort.image_ids[image.image.row], label), ())

    def truth(self, image: ReadyImage, label: str) -> int | None:
        cohort, row = self._cohort, image.image.row
        if cohort is None or row is None or label not in cohort.label_names:
            return None
        value = float(cohort.labels[row, cohort.label_names.index(label)])
        return None if value != value else int(value)


@dataclass(frozen=True, eq=False)
class Words:
    """The visual words of one feature, and their effects on one label.

    ``of_keypoints`` (n,) int: the word of each keypoint of the image. ``effects`` (W,) float32: by
    how much the label's logit is higher than with the mean of the training images in that word's
    place. A word that the image lacks has an effect too, if others have it.
    """

    of_keypoints: np.ndarray
    effects: np.ndarray

    def strongest(self, count: int) -> tuple[int, ...]:
        """The words with keypoints in the image that changed the logit most, either way."""
        present = np.unique(self.of_keypoints)
        order = np.argsort(-np.abs(self.effects[present]), kind="stable")
        return tuple(present[order][:count].tolist())


def words_of(saliency: Saliency, image: ReadyImage, label: int) -> dict[str, Words]:
    """The words of each feature with keypoints that is encoded by visual words, by its name.

    Each word's numbers in the feature vector are set to the training images' mean, all else stays
    as it is, and the logit is computed again: the effect is exact for the word alone, and the
    effects of several words need not add up.
    """
    trained = saliency.trained
    words = {}
    for feature in trained.recipe.features:
        encoder, local = trained.encoders[feature.name], image.local[feature.name]
        if not encoder.word_count or local.keypoints is None:
            continue
        vectors = feature.extractor.vectors(local.descriptors)
        of_keypoints = encoder.words_of(vectors) if len(vectors) else np.zeros(0, int)
        arrays = read_arrays(trained.path / "encoders" / f"{feature.name}.npz")
        changed = _each_word_at(
            image.inputs[feature.name], arrays["standardised_mean"], encoder.word_count
        )
        logits = saliency.logits_with(image, feature.name, changed)[:, label]
        words[feature.name] = Words(of_keypoints, logits[0] - logits[1:])
    return words


def _each_word_at(vector: np.ndarray, mean: np.ndarray, words: int) -> np.ndarray:
    """The vector (D,) as it is, then with each word's part at the mean: (1 + words, D)."""
    rows = np.tile(vector, (1 + words, 1)).reshape(1 + words, words, -1)
    place = np.arange(words)
    rows[1 + place, place] = mean.reshape(words, -1)
    return rows.reshape(1 + words, -1)
