"""Scored saliency as it stands in run directories, and as columns of a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.metrics.bootstrap import mean_over_seeds, percentile_interval
from cxrbench.metrics.boxes import MEASURES
from cxrbench.metrics.resampling import seed_variance, widened
from cxrbench.runs.additions import saliency_replicates, stored_saliency
from cxrbench.runs.run import Run

_COLUMNS = (
    *("saliency_method", "saliency_iou_threshold"),
    *(f"saliency_{name}{end}" for name in MEASURES for end in ("", "_low", "_high")),
)


@dataclass(frozen=True)
class SaliencyReference:
    """What a map that has not looked at the image scores: ``random map`` or ``centre prior``.

    Macro means over the same labels and boxes as the rows', with their 95 % intervals.
    """

    name: str
    hit_rate: float | None
    hit_rate_low: float | None
    hit_rate_high: float | None
    energy: float | None
    energy_low: float | None
    energy_high: float | None
    iou: float | None
    iou_low: float | None
    iou_high: float | None
    iou_threshold: float


def saliency_columns(seeds: Sequence[Run]) -> dict[str, Any]:
    """A row's saliency, the mean over its seeds, by the names of the board's columns.

    All None unless all seeds were scored, by one method and threshold.
    """
    stored = [told for told in (stored_saliency(run) for run in seeds) if told is not None]
    conditions = {(told["method"], told["iou_threshold"]) for told in stored}
    if len(stored) < len(seeds) or len(conditions) > 1:
        return dict.fromkeys(_COLUMNS)
    columns: dict[str, Any] = {
        "saliency_method": stored[0]["method"],
        "saliency_iou_threshold": stored[0]["iou_threshold"],
    }
    replicates = [saliency_replicates(run, MEASURES) for run in seeds] if len(seeds) > 1 else []
    for name in MEASURES:
        values = [told["macro"]["map"][name] for told in stored]
        bounds = stored[0]["macro"]["map"][f"{name}_interval"]
        mean = None if None in values else float(np.mean(values))
        if replicates and mean is not None:
            joined = percentile_interval(mean_over_seeds([arrays[name] for arrays in replicates]))
            bounds = widened(mean, joined, seed_variance(values))
        columns |= _bounded(f"saliency_{name}", mean, bounds)
    return columns


def saliency_references(rows: Sequence[Sequence[Run]]) -> tuple[SaliencyReference, ...]:
    """The references of a board, one of each for every threshold that its rows were scored at."""
    found: dict[tuple[str, float], SaliencyReference] = {}
    for run in (run for seeds in rows for run in seeds):
        told = stored_saliency(run)
        for source, name in (("random", "random map"), ("centre", "centre prior")):
            if told is None or (source, told["iou_threshold"]) in found:
                continue
            macro = told["macro"][source]
            columns: dict[str, float | None] = {}
            for measure in MEASURES:
                columns |= _bounded(measure, macro[measure], macro[f"{measure}_interval"])
            threshold = told["iou_threshold"]
            found[source, threshold] = SaliencyReference(
                name=name, iou_threshold=threshold, **columns
            )
    return tuple(found.values())


def _bounded(
    name: str, value: float | None, bounds: Sequence[float] | None
) -> Mapping[str, float | None]:
    low, high = bounds or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
