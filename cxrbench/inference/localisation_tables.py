"""The scores of runs' saliency maps as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cxrbench.metrics.estimate import read_estimate
from cxrbench.output.sections import CellTable, Column, Section, interval, text_column

_MEASURES = {"hit_rate": "hit rate", "energy": "energy", "iou": "IoU"}
_REFERENCES = {"random": "random map", "centre": "centre prior"}
_METHODS = {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}


@dataclass(frozen=True)
class SaliencyScores:
    """The content of ``saliency.json`` of each run."""

    runs: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """``{"runs": […]}``."""
        return {"runs": self.runs}

    def records(self) -> list[dict[str, Any]]:
        """A record for each run, label and kind of map; macro has no label."""
        records = []
        for run in self.runs:
            about = {name: run[name] for name in ("run", "recipe", "method", "iou_threshold")}
            for scores in (*run["labels"], run["macro"]):
                for source in ("map", *_REFERENCES):
                    estimates = {name: read_estimate(scores[source], name) for name in _MEASURES}
                    records.append(
                        {
                            **about,
                            "label": scores.get("label", ""),
                            "map": {"map": "saliency", **_REFERENCES}[source],
                            "images": scores.get("images", run["images"]),
                            **{
                                column: value
                                for name, estimate in estimates.items()
                                for column, value in estimate.columns(name).items()
                            },
                        }
                    )
        return records

    def sections(self) -> tuple[Section, ...]:
        """A section for each run: its labels, macro, and the references."""
        return tuple(map(_section, self.runs))


def _section(run: Mapping[str, Any]) -> Section:
    patients = "unknown" if run["patients"] is None else f"{run['patients']:,}"
    rows = [
        (
            label["label"] if label["counted"] else f"{label['label']} *",
            *(f"{label['images']:,}", f"{label['flat']:,}"),
            *_cells(label["map"]),
        )
        for label in run["labels"]
    ]
    images = sum(label["images"] for label in run["labels"])
    macro = run["macro"]
    rows.append(("macro", f"{images:,}", f"{run['flat_maps']:,}", *_cells(macro["map"])))
    rows += [(name, "", "", *_cells(macro[source])) for source, name in _REFERENCES.items()]
    columns = (text_column("label", 12), *map(Column, ("images", "flat", *_MEASURES.values())))
    return Section(
        f"{run['recipe']} ({run['run']}): {_method(run)}, {run['images']:,} test images of "
        f"{patients} patients, {run['boxes']:,} boxes",
        (CellTable(columns, tuple(rows)),),
        tuple(_notes(run)),
    )


def _cells(measures: Mapping[str, Any]) -> Iterator[str]:
    return (interval(read_estimate(measures, name)) for name in _MEASURES)


def _method(run: Mapping[str, Any]) -> str:
    if run["occlusion"] is None:
        return _METHODS[run["method"]]
    cells, patch = run["occlusion"]["cells"], run["occlusion"]["patch"]
    return f"occlusion (patch {patch}/{cells} of the side, stride 1/{cells})"


def _notes(run: Mapping[str, Any]) -> Iterator[str]:
    unit = "images" if run["patients"] is None else "patients"
    yield (
        "Hit rate: the map's maximum is in a box of the label. Energy: share of the map inside the "
        "boxes. IoU: of the boxes and the pixels with at least "
        f"{run['iou_threshold']:g} of the map's maximum; this threshold is fixed, not tuned."
    )
    yield (
        f"[low, high]: 95 % bootstrap interval over {unit}, by Wilson's score with a t quantile. "
        "Macro: mean over the labels. Random "
        "map: expected value for independent pixels. Centre prior: a Gaussian in the middle, "
        f"standard deviation {run['centre_sigma']:g} of the side."
    )
    if any(not label["counted"] for label in run["labels"]):
        yield f"*: not counted in macro (boxes on fewer than 5 {unit})."
    if run["flat_maps"]:
        yield "Flat: maps without a maximum; all scores are set to the boxes' share of the image."
