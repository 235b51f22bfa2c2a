"""Score a run's saliency maps on its test images with boxes, and store the scores with the run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench import __version__
from cxrbench.data.cohort import fingerprint, no_box
from cxrbench.errors import DataError, SettingsError
from cxrbench.inference.images import cohort_images, run_cohort
from cxrbench.inference.inputs import ReadyImage, ready_batches
from cxrbench.inference.saliency import Saliency, choose_method, uses_pixels
from cxrbench.inference.trained import TrainedRun, load_trained, on_device
from cxrbench.interfaces import Box, Cohort, Dataset, Display
from cxrbench.metrics.boxes import CENTRE_SIGMA, Localised, localise, summarise
from cxrbench.metrics.estimate import Estimate
from cxrbench.metrics.intervals import METHOD
from cxrbench.modeling.backend import load_keras
from cxrbench.options import options_of
from cxrbench.recipe import parse_recipe
from cxrbench.registry import Registry
from cxrbench.runs.additions import store_saliency, stored_saliency
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.predictions import test_rows
from cxrbench.runs.run import Run, read_run
from cxrbench.settings import Settings
from cxrbench.store.prepare import prepare

IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class LocaliseOptions:
    """How saliency is computed and scored, for each run of a command.

    ``iou_threshold`` is a share of each map's maximum.
    """

    method: str = "auto"
    iou_threshold: float = IOU_THRESHOLD
    data: str | None = None
    device: str = "auto"
    force: bool = False


def score_saliency(
    run: Run,
    options: LocaliseOptions,
    registry: Registry,
    *,
    cache: Path,
    threads: int,
    display: Display,
) -> dict[str, Any]:
    """Score the run's maps against the boxes of its test images, and return ``saliency.json``.

    The scores are stored in the run directory. Stored scores of the same method and threshold are
    returned, unless ``options.force``.

    Raises
    ------
    SettingsError : the threshold is not valid, or the recipe does not allow the method.
    RunError : the run has no model, or is damaged.
    DataError : these are not the run's images, or none of its test images has a box.
    """
    if not 0 < options.iou_threshold < 1:
        raise SettingsError(
            f"--iou-threshold cannot be {options.iou_threshold:g}",
            expected="a share of the map's maximum, between 0 and 1",
            found=f"{options.iou_threshold:g}",
        )
    if run.conditions.limit is not None:
        raise SettingsError(
            f"the run {run.name!r} is a smoke test (--limit {run.conditions.limit})",
            expected="a run on all images",
            found="a sample of the images",
            fix="run again without --limit",
        )
    with on_device(options.device, display):
        trained = load_trained(run.path, registry)
        method = choose_method(options.method, trained)
        stored = None if options.force else stored_saliency(run)
        same = (method, options.iou_threshold)
        if stored and (stored["method"], stored["iou_threshold"]) == same:
            display.say(f"{run.name}: uses the stored saliency scores")
            return stored
        dataset, cohort = run_cohort(run, options.data, registry, cache, display)
        boxes = _test_boxes(run, cohort)
        _require_same_images(trained, dataset, cohort, cache, threads, display)
        saliency = Saliency(trained, method, threads=threads)
        with display.task(f"localising {run.conditions.recipe}", len(boxes)) as advance:
            scores: list[Localised] = []
            for of_image in _localised(saliency, dataset, cohort, boxes, options.iou_threshold):
                scores.extend(of_image)
                advance()
    values, replicates = _summary(run, saliency, boxes, scores, options.iou_threshold)
    store_saliency(run, values, replicates)
    return values


def score_all(
    paths: Sequence[Path],
    data: str | None,
    registry: Registry,
    *,
    device: str,
    cache: Path,
    threads: int,
    display: Display,
) -> None:
    """Score the saliency of each of these runs of ``data`` whose model looks at pixels."""
    options = LocaliseOptions(data=data, device=device)
    for run in map(read_run, paths):
        if run.kind is RunKind.prior:
            continue
        if not uses_pixels(parse_recipe(run.conditions.recipe, registry)):
            display.say(f"{run.name}: no saliency scores, because the recipe uses no pixels")
        else:
            score_saliency(run, options, registry, cache=cache, threads=threads, display=display)


def _test_boxes(run: Run, cohort: Cohort) -> dict[int, tuple[Box, ...]]:
    """The boxes of each test image that has any, by its row in the cohort."""
    tested = set(test_rows(run, cohort).tolist())
    rows = {name: row for row, name in enumerate(cohort.image_ids)}
    by_row: dict[int, list[Box]] = defaultdict(list)
    for box in cohort.boxes:
        row = rows[box.image_id]
        if row in tested:
            by_row[row].append(box)
    if not by_row:
        raise no_box(cohort, len(tested))
    return {row: tuple(by_row[row]) for row in sorted(by_row)}


def _require_same_images(
    trained: TrainedRun,
    dataset: Dataset,
    cohort: Cohort,
    cache: Path,
    threads: int,
    display: Display,
) -> None:
    """Compare the content of the images with the run's, by the stores in the cache if any."""
    prepared = prepare(
        dataset,
        cohort,
        trained.preparation,
        max_bad=options_of(Settings)["max_bad"].check(
            trained.run.conditions.settings.get("max_bad", Settings.max_bad)
        ),
        cache=cache,
        threads=threads,
        display=display,
    )
    content = fingerprint(cohort, prepared.digests)
    if content != trained.run.conditions.fingerprint:
        raise DataError(
            f"the images of {cohort.name!r} are not those of the run {trained.name!r}",
            expected=f"the fingerprint {trained.run.conditions.fingerprint}",
            found=content,
            fix="name the run's data with --data, or run again on these images",
        )


def _localised(
    saliency: Saliency,
    dataset: Dataset,
    cohort: Cohort,
    boxes: Mapping[int, tuple[Box, ...]],
    iou_threshold: float,
) -> Iterator[list[Localised]]:
    """The scores of each image's maps, image by image; scored maps are dropped at once."""
    trained = saliency.trained
    batches = ready_batches(
        cohort_images(dataset, cohort, list(boxes)),
        trained.preparation,
        (trained,),
        batch_size=saliency.batch_size,
        threads=saliency.threads,
    )
    with closing(batches):
        for batch in batches:
            _require_readable(batch)
            names = [_labels(boxes[_row(image)]) for image in batch]
            places = [[trained.label_names.index(n) for n in labels] for labels in names]
            for image, labels, maps in zip(batch, names, saliency.maps(batch, places), strict=True):
                row = _row(image)
                yield [
                    localise(
                        image.unfit(map_),
                        [box for box in boxes[row] if box.label == label],
                        cohort.patient_ids[row],
                        iou_threshold,
                    )
                    for label, map_ in zip(labels, maps, strict=True)
                ]


def _row(image: ReadyImage) -> int:
    assert image.image.row is not None
    return image.image.row


def _labels(boxes: Sequence[Box]) -> list[str]:
    return list(dict.fromkeys(box.label for box in boxes))


def _require_readable(batch: Sequence[ReadyImage]) -> None:
    for image in batch:
        if image.reason is not None:
            raise DataError(
                f"the image {image.name!r} cannot be read, but could be when the run was made",
                expected="the images of the run",
                found=image.reason,
                fix="restore the image, or name the run's data with --data",
            )


def _summary(
    run: Run,
    saliency: Saliency,
    boxes: Mapping[int, tuple[Box, ...]],
    scores: Sequence[Localised],
    iou_threshold: float,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    every = [box for of_image in boxes.values() for box in of_image]
    summary = summarise(
        scores, every, saliency.trained.label_names, board_key=run.conditions.board_key
    )
    patients = len({score.patient for score in scores})
    counts = ("label", "counted", "images", "patients", "boxes", "flat")
    values = {
        "run": run.name,
        "recipe": run.conditions.recipe,
        "method": saliency.method,
        "occlusion": asdict(saliency.occlusion) if saliency.method == "occlusion" else None,
        "iou_threshold": iou_threshold,
        "centre_sigma": CENTRE_SIGMA,
        "images": len(boxes),
        "patients": patients if run.conditions.patients_known else None,
        "boxes": len(every),
        "flat_maps": sum(score.flat for score in scores),
        "macro": {source: _values(measures) for source, measures in summary.macro.items()},
        "labels": [
            {name: getattr(label, name) for name in counts}
            | {source: _values(measures) for source, measures in label.measures.items()}
            for label in summary.labels
        ],
        "bootstrap": {
            "replicates": len(next(iter(summary.replicates.values()))),
            "redrawn": summary.redrawn,
            "method": METHOD,
            "effective_patients": summary.effective_patients,
        },
        "backend": load_keras().backend.backend(),
        "version": __version__,
    }
    return values, summary.replicates


def _values(measures: Mapping[str, Estimate]) -> dict[str, Any]:
    keys = [estimate.to_json(name) for name, estimate in measures.items()]
    return {name: value for one in keys for name, value in one.items()}
