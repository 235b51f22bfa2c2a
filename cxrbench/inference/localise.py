"""Score a complete run's saliency on its test images with boxes, and keep that with the run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench import __version__
from cxrbench.data.cohort import fingerprint
from cxrbench.data.datasets import find_dataset, load_cohort
from cxrbench.errors import DataError, SettingsError
from cxrbench.inference.films import PreparedFilm, films_of_cohort, prepare_film, wanted_of
from cxrbench.inference.predict import preparation_of
from cxrbench.inference.saliency.maps import Saliency, choose_method
from cxrbench.inference.trained import TrainedRun, load_trained
from cxrbench.interfaces import Box, Cohort, Dataset, Display
from cxrbench.metrics.boxes import CENTRE_SIGMA, Localised, localise, summarise
from cxrbench.modeling.backend import choose_device, device_scope, load_keras
from cxrbench.registry import Registry
from cxrbench.runs.additions import store_saliency, stored_saliency
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.predictions import read_predictions
from cxrbench.runs.run import Run, read_run
from cxrbench.runs.settings_file import CONFIG_FILE, read_config
from cxrbench.runs.testset import TestSet
from cxrbench.settings import resolve_settings
from cxrbench.store.decoding import unfit_map
from cxrbench.store.image_pass import in_order, quiet_single_threaded_libraries
from cxrbench.store.prepare import prepare

IOU_THRESHOLD = 0.5


@dataclass(frozen=True)
class Asked:
    """How saliency is computed and scored: what is asked of every run of a command.

    ``iou_threshold`` is a share of each map's maximum.
    """

    method: str = "auto"
    iou_threshold: float = IOU_THRESHOLD
    data: str | None = None
    device: str = "auto"
    force: bool = False


def score_saliency(
    run: Run, asked: Asked, registry: Registry, *, cache: Path, threads: int, display: Display
) -> dict[str, Any]:
    """Score the run's maps against the boxes of its test images; what ``saliency.json`` holds.

    It is written into the run directory. A run that has it already, by the same method and
    threshold, is left as it is unless it is forced.

    Raises
    ------
    SettingsError : a threshold that cannot work, or a method that the recipe does not allow.
    RunError : the run has no model, or is damaged.
    DataError : these are not the run's images, or none of its test images has a box.
    """
    if not 0 < asked.iou_threshold < 1:
        raise SettingsError(
            f"--iou-threshold cannot be {asked.iou_threshold:g}",
            expected="a share of the map's maximum, between 0 and 1",
            found=f"{asked.iou_threshold:g}",
        )
    with device_scope(choose_device(resolve_settings({"device": asked.device}, {}).device)):
        trained = load_trained(run.path, registry)
        method = choose_method(asked.method, trained)
        kept = None if asked.force else stored_saliency(run)
        if kept and (kept["method"], kept["iou_threshold"]) == (method, asked.iou_threshold):
            display.say(f"{run.name}: saliency scored already, used as it is")
            return kept
        dataset = find_dataset(asked.data or data_of(run), registry, Path.cwd())
        cohort = load_cohort(dataset, display, cache)
        boxes = _test_boxes(run, cohort)
        _require_same_images(trained, dataset, cohort, cache, threads, display)
        saliency = Saliency(trained, method, threads=threads)
        with quiet_single_threaded_libraries(), display.task("localising", len(boxes)) as advance:
            found: list[Localised] = []
            for of_image in _localised(saliency, dataset, cohort, boxes, asked.iou_threshold):
                found.extend(of_image)
                advance()
    told, replicates = _summary(run, saliency, boxes, found, asked.iou_threshold)
    store_saliency(run, told, replicates)
    return told


def score_all(
    paths: Sequence[Path], registry: Registry, *, cache: Path, threads: int, display: Display
) -> None:
    """Score the saliency of every one of these runs that has a model."""
    for run in map(read_run, paths):
        if run.kind is not RunKind.prior:
            score_saliency(run, Asked(), registry, cache=cache, threads=threads, display=display)


def require_boxes(cohort: Cohort, rows: np.ndarray) -> None:
    """Raise `DataError` unless one of the test images, at these rows of the cohort, has a box."""
    test = {cohort.image_ids[row] for row in rows.tolist()}
    if not any(box.image_id in test for box in cohort.boxes):
        raise _no_box(cohort, len(test))


def _no_box(cohort: Cohort, images: int) -> DataError:
    return DataError(
        f"none of the {images:,} test images of {cohort.name!r} has a box",
        expected="boxes of findings in the dataset, such as NIH's BBox_List_2017.csv beside "
        "its table",
        found=f"{len(cohort.boxes):,} boxes on other images" if cohort.boxes else "no box at all",
        fix="NIH's boxes are all on its official test list: --split official",
    )


def data_of(run: Run) -> str:
    """Where the run found its images, as ``--data`` spells it."""
    run.require_unchanged(CONFIG_FILE)
    return str(read_config(run.path / CONFIG_FILE)["data"])


def _test_boxes(run: Run, cohort: Cohort) -> dict[int, tuple[Box, ...]]:
    """The boxes of each test image that has any, by its row in the cohort."""
    ids = read_predictions(run).image_ids.tolist()
    rows = {name: row for row, name in enumerate(cohort.image_ids)}
    missing = [name for name in ids if name not in rows]
    tested = {rows[name] for name in ids if name in rows}
    if (
        missing
        or TestSet.of(cohort, np.array(sorted(tested), int)).board_key != run.conditions.board_key
    ):
        raise DataError(
            f"{cohort.name!r} is not what the run {run.name!r} was tested on",
            expected=f"its {len(ids):,} test images, with the same patients and labels",
            found=f"{len(missing):,} of them missing, such as {', '.join(missing[:3])}"
            if missing
            else "other labels or patients",
            fix="name the run's own data with --data",
        )
    by_row: dict[int, list[Box]] = defaultdict(list)
    for box in cohort.boxes:
        if rows[box.image_id] in tested:
            by_row[rows[box.image_id]].append(box)
    if not by_row:
        raise _no_box(cohort, len(ids))
    return {row: tuple(by_row[row]) for row in sorted(by_row)}


def _require_same_images(
    trained: TrainedRun,
    dataset: Dataset,
    cohort: Cohort,
    cache: Path,
    threads: int,
    display: Display,
) -> None:
    """The images must have the content that the run's had: by the stores in the cache, if there."""
    prepared = prepare(
        dataset,
        cohort,
        preparation_of(trained),
        max_bad=trained.run.conditions.settings["max_bad"],
        cache=cache,
        threads=threads,
        display=display,
    )
    found = fingerprint(cohort, prepared.digests)
    if found != trained.run.conditions.fingerprint:
        raise DataError(
            f"the images of {cohort.name!r} are not those of the run {trained.name!r}",
            expected=f"the fingerprint {trained.run.conditions.fingerprint}",
            found=found,
            fix="name the run's own data with --data, or run again on these images",
        )


def _localised(
    saliency: Saliency,
    dataset: Dataset,
    cohort: Cohort,
    boxes: Mapping[int, tuple[Box, ...]],
    iou_threshold: float,
) -> Iterator[list[Localised]]:
    """What each image's maps score, image by image; maps are dropped as soon as they are scored."""
    from threadpoolctl import threadpool_limits

    trained = saliency.trained
    wanted = wanted_of(trained)
    films = films_of_cohort(dataset, cohort, list(boxes), wanted.max_pixels)
    work = partial(prepare_film, wanted=wanted, trained=trained)
    with ExitStack() as stack:
        stack.enter_context(threadpool_limits(1, user_api="blas"))
        ready = stack.enter_context(closing(in_order(work, films, saliency.threads)))
        while batch := list(islice(ready, saliency.batch_size)):
            _require_readable(batch)
            names = [_labels(boxes[_row(film)]) for film in batch]
            places = [[trained.label_names.index(name) for name in told] for told in names]
            for film, told, maps in zip(batch, names, saliency.maps(batch, places), strict=True):
                row = _row(film)
                yield [
                    localise(
                        unfit_map(map_, film.size, wanted.fit),
                        [box for box in boxes[row] if box.label == label],
                        cohort.patient_ids[row],
                        iou_threshold,
                    )
                    for label, map_ in zip(told, maps, strict=True)
                ]


def _row(film: PreparedFilm) -> int:
    assert film.film.row is not None
    return film.film.row


def _labels(boxes: Sequence[Box]) -> list[str]:
    return list(dict.fromkeys(box.label for box in boxes))


def _require_readable(batch: Sequence[PreparedFilm]) -> None:
    for film in batch:
        if film.reason is not None:
            raise DataError(
                f"the image {film.film.name!r} cannot be read, and could be when the run was made",
                expected="the images of the run",
                found=film.reason,
                fix="restore the image, or name the run's own data with --data",
            )


def _summary(
    run: Run,
    saliency: Saliency,
    boxes: Mapping[int, tuple[Box, ...]],
    found: Sequence[Localised],
    iou_threshold: float,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    every = [box for told in boxes.values() for box in told]
    summary = summarise(
        found, every, saliency.trained.label_names, board_key=run.conditions.board_key
    )
    told = {
        "run": run.name,
        "recipe": run.conditions.recipe,
        "method": saliency.method,
        "occlusion": asdict(saliency.occlusion) if saliency.method == "occlusion" else None,
        "iou_threshold": iou_threshold,
        "centre_sigma": CENTRE_SIGMA,
        "images": len(boxes),
        "patients": len({one.patient for one in found}) if run.conditions.patients_known else None,
        "boxes": len(every),
        "flat_maps": sum(one.flat for one in found),
        "macro": {source: _plain(told) for source, told in summary.macro.items()},
        "labels": [
            {
                **{
                    name: getattr(label, name)
                    for name in ("label", "counted", "images", "patients", "boxes", "flat")
                },
                **{source: _plain(told) for source, told in label.measures.items()},
            }
            for label in summary.labels
        ],
        "bootstrap": {
            "replicates": len(next(iter(summary.replicates.values()))),
            "redrawn": summary.redrawn,
        },
        "backend": load_keras().backend.backend(),
        "version": __version__,
    }
    return told, summary.replicates


def _plain(measures: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, measure in measures.items():
        told[name] = measure.value
        told[f"{name}_interval"] = None if measure.low is None else [measure.low, measure.high]
    return told
