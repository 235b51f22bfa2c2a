"""The chapter of single images: what the best model found, missed and saw where nothing was."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cxrbench.datasets import find_dataset, load_cohort
from cxrbench.errors import CxrbenchError
from cxrbench.evaluation.cases import KINDS, Case, choose_cases
from cxrbench.evaluation.predictions import read_predictions
from cxrbench.explain.explanation import Explanation, Wanted, explain_films
from cxrbench.explain.films import films_of_cohort, wanted_of
from cxrbench.explain.saliency import Saliency, choose_method
from cxrbench.interfaces import Cohort, Dataset, Display
from cxrbench.localise import IOU_THRESHOLD, data_of
from cxrbench.modeling.backend import choose_device, device_scope
from cxrbench.registry import load_registry
from cxrbench.report.content import Chapter, Picture
from cxrbench.reporting.figures.rows import StoredRow, row_names
from cxrbench.reporting.overlays import label_figure
from cxrbench.runs import MEASURED, StoredRun
from cxrbench.settings import resolve_settings
from cxrbench.trained import load_trained

_TOLD = {
    "found": "present, and among the highest scores",
    "missed": "present, and among the lowest scores",
    "false alarm": "absent, and among the highest scores",
}
_DPI, _QUALITY = 110, 85


@dataclass(frozen=True)
class Viewing:
    """How many cases of each kind, where the images are, and what computes."""

    cases: int
    data: str | None
    device: str
    cache: Path
    threads: int


def cases_chapter(rows: Sequence[StoredRow], viewing: Viewing, display: Display) -> Chapter:
    """Cases of the row with the highest macro AUROC that has a model, with overlays.

    Where its images are not to be had, the chapter says why, and so does ``display``.
    """
    title = "Single images"
    best = _best(rows)
    if best is None or not viewing.cases:
        why = (
            "None was asked for."
            if best is not None
            else "No row here has a model that was trained here."
        )
        return Chapter("cases", title, notes=(why,))
    row, name = rows[best], row_names(rows)[best]
    chosen = choose_cases(read_predictions(row[0]), viewing.cases)
    try:
        pictures = tuple(_pictures(row[0], chosen, viewing, display))
    except CxrbenchError as error:
        display.say(f"no single images in the report: {error}")
        told = " ".join(str(error).split())
        return Chapter("cases", title, notes=(f"The images cannot be shown: {told}",))
    notes = (
        f"Of {name}, seed {row[0].info['seed']}: for each label the images with the highest and "
        "the lowest score, one of a label and a patient. They are the extremes, not what is "
        "usual. A map shows what moved the score, which need not be where the finding is.",
    )
    return Chapter("cases", title, pictures=pictures, notes=notes)


def _best(rows: Sequence[StoredRow]) -> int | None:
    """The place of the row whose images are shown."""
    trained = [
        place
        for place, row in enumerate(rows)
        if row[0].info["origin"] == MEASURED and row[0].info["protocol"] != "none"
    ]
    return max(trained, key=lambda p: rows[p][0].metrics["macro_auroc"] or 0.0, default=None)


def _pictures(
    run: StoredRun, cases: Sequence[Case], viewing: Viewing, display: Display
) -> Iterator[Picture]:
    registry = load_registry()
    dataset = find_dataset(viewing.data or data_of(run), registry, Path.cwd())
    cohort = load_cohort(dataset, display, viewing.cache)
    device = choose_device(resolve_settings({"device": viewing.device}, {}).device)
    with device_scope(device), display.task("single images", len(cases)) as advance:
        trained = load_trained(run.path, registry)
        saliency = Saliency(trained, choose_method("auto", trained), threads=viewing.threads)
        for kind in KINDS:
            for case in cases:
                if case.kind == kind:
                    yield from _of_case(saliency, dataset, cohort, case)
                    advance(1, case.label)


def _of_case(saliency: Saliency, dataset: Dataset, cohort: Cohort, case: Case) -> Iterator[Picture]:
    preparation = wanted_of(saliency.trained)
    rows = [row for row, name in enumerate(cohort.image_ids) if name == case.image_id]
    films = films_of_cohort(dataset, cohort, rows, preparation.max_pixels)
    with closing(explain_films(saliency, films, Wanted((case.label,)), cohort)) as explained:
        for told in explained:
            if told.film.reason is None:
                yield Picture("jpeg", _jpeg(told, saliency), case.label, _caption(case))


def _caption(case: Case) -> str:
    return (
        f"{case.kind}: {case.label.replace('_', ' ')}, {_TOLD[case.kind]} (above "
        f"{case.above:.0%} of the test images)"
    )


def _jpeg(told: Explanation, saliency: Saliency) -> bytes:
    from PIL import Image

    from cxrbench.reporting.figures.style import as_bytes

    sides = {
        feature.name: feature.extractor.image_size
        for feature in saliency.trained.recipe.features
        if feature.extractor.image_size is not None
    }
    fit = wanted_of(saliency.trained).fit
    figure = label_figure(told.film, told.labels[0], sides, fit, IOU_THRESHOLD)
    out = io.BytesIO()
    with Image.open(io.BytesIO(as_bytes(figure, "png", dpi=_DPI))) as image:
        # Films are photographs: a tenth of a PNG's size.
        image.convert("RGB").save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
