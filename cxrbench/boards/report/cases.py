"""Single images in the report: choose them and draw them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cxrbench.boards.figures.rows import row_names
from cxrbench.boards.report.page import Chapter, Picture
from cxrbench.errors import CxrbenchError
from cxrbench.inference.explanation import Explanation, LabelChoice, explain_images
from cxrbench.inference.images import cohort_images, run_cohort
from cxrbench.inference.localise import IOU_THRESHOLD
from cxrbench.inference.overlays import label_figure
from cxrbench.inference.saliency import Saliency, choose_method
from cxrbench.inference.trained import load_trained, on_device
from cxrbench.interfaces import Cohort, Dataset, Display
from cxrbench.registry import load_registry
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.predictions import Predictions, read_predictions
from cxrbench.runs.run import Run
from cxrbench.runs.selection import Seeds

_DESCRIPTIONS = {
    "found": "present, and among the highest scores",
    "missed": "present, and among the lowest scores",
    "false alarm": "absent, and among the highest scores",
}
_DPI, _QUALITY = 110, 85


@dataclass(frozen=True)
class Viewing:
    """The number of cases of each kind, the data, and the device that computes."""

    cases: int
    data: str | None
    device: str
    cache: Path
    threads: int


def cases_chapter(rows: Sequence[Seeds], viewing: Viewing, display: Display) -> Chapter:
    """Cases of the first row that has a model, with overlays; ``rows`` begin with the best.

    If its images cannot be read, the chapter and ``display`` say why.
    """
    title = "Single images"
    best = _best(rows)
    if best is None or not viewing.cases:
        why = (
            "Single images are switched off (--cases 0)."
            if best is not None
            else "No run of these rows was trained by cxrbench, so there is no model."
        )
        return Chapter("cases", title, notes=(why,))
    row, name = rows[best], row_names(rows)[best]
    cases = choose_cases(read_predictions(row[0]), viewing.cases)
    try:
        pictures = tuple(_pictures(row[0], cases, viewing, display))
    except CxrbenchError as error:
        display.say(f"no single images in the report: {error}")
        reason = " ".join(str(error).split())
        return Chapter("cases", title, notes=(f"The images cannot be shown: {reason}",))
    notes = (
        f"Images of {name}, seed {row[0].conditions.seed}, with extreme scores; they are not "
        "typical. Each label and each patient appears at most once per kind. A map shows which "
        "pixels changed the score, which need not be where the finding is.",
    )
    return Chapter("cases", title, pictures=pictures, notes=notes)


def _best(rows: Sequence[Seeds]) -> int | None:
    """The place of the row whose images are shown: the first that has a model."""
    trained = (place for place, row in enumerate(rows) if row[0].kind is RunKind.trained)
    return next(trained, None)


def _pictures(
    run: Run, cases: Sequence[Case], viewing: Viewing, display: Display
) -> Iterator[Picture]:
    registry = load_registry()
    dataset, cohort = run_cohort(run, viewing.data, registry, viewing.cache, display)
    with on_device(viewing.device, display), display.task("single images", len(cases)) as advance:
        trained = load_trained(run.path, registry)
        saliency = Saliency(trained, choose_method("auto", trained), threads=viewing.threads)
        for kind in KINDS:
            for case in cases:
                if case.kind == kind:
                    yield from _of_case(saliency, dataset, cohort, case)
                    advance(1, case.label)


def _of_case(saliency: Saliency, dataset: Dataset, cohort: Cohort, case: Case) -> Iterator[Picture]:
    rows = [row for row, name in enumerate(cohort.image_ids) if name == case.image_id]
    images = cohort_images(dataset, cohort, rows)
    choice = LabelChoice((case.label,), iou_threshold=IOU_THRESHOLD)
    with closing(explain_images((saliency,), images, choice, cohort)) as explanations:
        for explanation in explanations:
            if explanation.image.reason is None:
                yield Picture("jpeg", _jpeg(explanation), case.label, _caption(case))


def _caption(case: Case) -> str:
    return (
        f"{case.kind}: {case.label.replace('_', ' ')}, {_DESCRIPTIONS[case.kind]} (above "
        f"{case.above:.0%} of the test images)"
    )


def _jpeg(explanation: Explanation) -> bytes:
    from PIL import Image

    from cxrbench.output.figure_style import as_bytes

    figure = label_figure(explanation.image, explanation.labels[0], IOU_THRESHOLD)
    out = io.BytesIO()
    with Image.open(io.BytesIO(as_bytes(figure, "png", dpi=_DPI))) as image:
        # A tenth of a PNG's size, because images are photographs.
        image.convert("RGB").save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


CaseKind = Literal["found", "missed", "false alarm"]
KINDS: tuple[CaseKind, ...] = ("found", "missed", "false alarm")


@dataclass(frozen=True)
class Case:
    """One image and label; ``above`` is the share of the label's images with a lower score."""

    kind: CaseKind
    image_id: str
    patient: str
    label: str
    y_score: float
    above: float


def choose_cases(test: Predictions, number: int) -> tuple[Case, ...]:
    """The most extreme cases: at most ``number`` of each kind, no label or patient twice in one.

    Images are compared by their rank among the images of a label, because all scores of a rare
    label are low. The labels are those that count, or all if none counts.
    """
    columns = np.flatnonzero(test.counted) if test.counted.any() else range(len(test.label_names))
    candidates = [case for column in columns for case in _of_label(test, int(column))]
    cases: list[Case] = []
    for kind in KINDS:
        ordered = sorted(
            (case for case in candidates if case.kind == kind),
            key=lambda case: (case.above if kind == "missed" else -case.above, case.image_id),
        )
        cases += _different(ordered, number)
    return tuple(cases)


def _of_label(test: Predictions, column: int) -> list[Case]:
    """Every positive as found and as missed, every negative as a false alarm."""
    truth, score = test.y_true[:, column], test.y_score[:, column]
    known = np.flatnonzero((truth == 1) | (truth == 0))
    above = np.searchsorted(np.sort(score[known]), score[known]) / max(len(known), 1)
    cases = []
    for row, share in zip(known.tolist(), above.tolist(), strict=True):
        kinds: tuple[CaseKind, ...] = ("found", "missed") if truth[row] == 1 else ("false alarm",)
        cases += [
            Case(
                kind=kind,
                image_id=str(test.image_ids[row]),
                patient=str(test.patients[row]),
                label=test.label_names[column],
                y_score=float(score[row]),
                above=share,
            )
            for kind in kinds
        ]
    return cases


def _different(ordered: list[Case], number: int) -> list[Case]:
    cases: list[Case] = []
    for case in ordered:
        if len(cases) == number:
            break
        if all(case.label != c.label and case.patient != c.patient for c in cases):
            cases.append(case)
    return cases
