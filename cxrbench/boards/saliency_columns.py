"""The saliency scores of runs as measures of a board's rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.metrics.boxes import MEASURES
from cxrbench.metrics.estimate import UNDEFINED, Estimate, read_estimate
from cxrbench.metrics.intervals import METHOD, SeedScores
from cxrbench.runs.additions import saliency_replicates, stored_saliency
from cxrbench.runs.selection import Seeds

SALIENCY = tuple(f"saliency_{name}" for name in MEASURES)
"""The names of the measures in a row."""


@dataclass(frozen=True)
class RowSaliency:
    """The saliency of a row, the mean over its seeds; None and NaN where it was not scored."""

    method: str | None
    iou_threshold: float | None
    measures: Mapping[str, Estimate]


@dataclass(frozen=True)
class SaliencyReference:
    """What a map that has not looked at the image scores: ``random map`` or ``centre prior``.

    ``measures`` are macro means over the same labels and boxes as the rows'.
    """

    name: str
    measures: Mapping[str, Estimate]
    iou_threshold: float

    def to_json(self) -> dict[str, Any]:
        """The measures with their bounds, between the name and the threshold."""
        columns = [estimate.columns(name) for name, estimate in self.measures.items()]
        flat = {name: value for one in columns for name, value in one.items()}
        return {"name": self.name, **flat, "iou_threshold": self.iou_threshold}


def row_saliency(seeds: Seeds) -> RowSaliency:
    """The saliency of a row; none unless all seeds were scored, by one method and threshold."""
    stored = [scores for scores in map(stored_saliency, seeds) if scores is not None]
    conditions = {(scores["method"], scores["iou_threshold"]) for scores in stored}
    counts = {scores["bootstrap"].get("replicates") for scores in stored}
    if len(stored) < len(seeds) or len(conditions) > 1 or len(counts) > 1:
        return RowSaliency(None, None, dict.fromkeys(SALIENCY, UNDEFINED))
    estimates = [_read(scores, "map") for scores in stored]
    means = estimates[0]
    if len(seeds) > 1:
        replicates = [saliency_replicates(run, MEASURES) for run in seeds]
        patients = stored[0]["bootstrap"].get("effective_patients", math.nan)
        means = {
            name: Estimate.of(
                name,
                SeedScores(
                    np.array([one[name].value for one in estimates]),
                    np.stack([arrays[name] for arrays in replicates]),
                ),
                patients,
            )
            for name in MEASURES
        }
    (method, threshold) = conditions.pop()
    measures = {f"saliency_{name}": estimate for name, estimate in means.items()}
    return RowSaliency(method, threshold, measures)


def saliency_references(rows: Sequence[Seeds]) -> tuple[SaliencyReference, ...]:
    """The references of a board, one of each for every threshold that its rows were scored at."""
    references: dict[tuple[str, float], SaliencyReference] = {}
    for scores in (stored_saliency(run) for seeds in rows for run in seeds):
        for source, name in (("random", "random map"), ("centre", "centre prior")):
            if scores is None or (source, scores["iou_threshold"]) in references:
                continue
            threshold = scores["iou_threshold"]
            references[source, threshold] = SaliencyReference(
                name=name,
                measures=_read(scores, source),
                iou_threshold=threshold,
            )
    return tuple(references.values())


def _read(scores: Mapping[str, Any], source: str) -> dict[str, Estimate]:
    """The macro means of one source; intervals of an earlier version are left out."""
    estimates = {name: read_estimate(scores["macro"][source], name) for name in MEASURES}
    if scores["bootstrap"].get("method") == METHOD:
        return estimates
    return {name: Estimate(one.value) for name, one in estimates.items()}
