"""Explanations and localisation scores as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from cxrbench.output.show import plain_console

if TYPE_CHECKING:
    from cxrbench.inference.explain import Picture, Written


def print_written(written: Sequence[Written], *, as_json: bool) -> None:
    """Print the pictures with what they tell; JSON is ``{"images": […]}``."""
    console = plain_console()
    if as_json:
        told = {"images": [asdict(image) for image in written]}
        # Not through rich, which folds lines.
        console.file.write(json.dumps(told, indent=2, allow_nan=False) + "\n")
        return
    scored = any(picture.hit is not None for image in written for picture in image.pictures)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("label", no_wrap=True)
    for name in ("probability", "threshold", "truth", *(("hit", "energy", "IoU") * scored)):
        table.add_column(name, justify="right", no_wrap=True)
    for image in written:
        for picture in image.pictures:
            table.add_row(Path(picture.file).name, picture.label or "", *_numbers(picture, scored))
    if table.row_count:
        console.print(table)
        console.print()
        folders = {str(Path(picture.file).parent) for one in written for picture in one.pictures}
        console.print(f"written to {', '.join(sorted(folders))}", soft_wrap=True)
    for image in written:
        if image.error is not None:
            console.print(f"{image.image}: {image.error}", soft_wrap=True)


def _numbers(picture: Picture, scored: bool) -> list[str]:
    values = [picture.probability, picture.threshold]
    told = ["" if value is None else f"{value:.3f}" for value in values]
    told.append({1: "present", 0: "absent", None: ""}[picture.truth])
    if scored:
        scores = [picture.hit, picture.energy, picture.iou]
        told += ["" if value is None else f"{value:.3f}" for value in scores]
    return told


_MEASURES = {"hit_rate": "hit rate", "energy": "energy", "iou": "IoU"}
_REFERENCES = {"random": "random map", "centre": "centre prior"}


def print_localisations(found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print what ``saliency.json`` of each run holds; JSON is ``{"runs": […]}``."""
    console = plain_console()
    if as_json:
        # Not through rich, which folds lines.
        console.file.write(json.dumps({"runs": list(found)}, indent=2, allow_nan=False) + "\n")
        return
    for index, told in enumerate(found):
        if index:
            console.print()
        patients = "unknown" if told["patients"] is None else f"{told['patients']:,}"
        console.print(
            f"{told['recipe']} ({told['run']}): {_method(told)} on {told['images']:,} test images "
            f"of {patients} patients with {told['boxes']:,} boxes"
        )
        console.print()
        console.print(_table(told))
        console.print()
        for note in _notes(told):
            console.print(note)


def _table(told: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("label", overflow="fold", min_width=12)
    for name in ("images", "flat", *_MEASURES.values()):
        table.add_column(name, justify="right", no_wrap=True)
    for label in told["labels"]:
        name = label["label"] if label["counted"] else f"{label['label']} *"
        counts = (f"{label['images']:,}", f"{label['flat']:,}")
        table.add_row(name, *counts, *_cells(label["map"]))
    table.add_section()
    images = sum(label["images"] for label in told["labels"])
    table.add_row("macro", f"{images:,}", f"{told['flat_maps']:,}", *_cells(told["macro"]["map"]))
    for source, name in _REFERENCES.items():
        table.add_row(name, "", "", *_cells(told["macro"][source]))
    return table


def _cells(measures: Mapping[str, Any]) -> list[str]:
    cells = []
    for name in _MEASURES:
        value, interval = measures[name], measures[f"{name}_interval"]
        bounds = "" if interval is None else " [{:.3f}, {:.3f}]".format(*interval)
        cells.append("–" if value is None else f"{value:.3f}{bounds}")
    return cells


def _method(told: Mapping[str, Any]) -> str:
    if told["occlusion"] is None:
        return {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}[told["method"]]
    cells, patch = told["occlusion"]["cells"], told["occlusion"]["patch"]
    return f"occlusion (patch {patch}/{cells} of the side, stride 1/{cells})"


def _notes(told: Mapping[str, Any]) -> list[str]:
    unit = "images" if told["patients"] is None else "patients"
    notes = [
        "hit rate: the map's maximum is in a box of the label. energy: share of the map inside. "
        f"IoU: of the boxes with what is at least {told['iou_threshold']:g} of the maximum "
        "(fixed).",
        f"[low, high]: 95 % over {unit}. macro: mean over the labels. random map: expected of "
        f"independent pixels. centre prior: a Gaussian, sd {told['centre_sigma']:g} of the side.",
    ]
    if any(not label["counted"] for label in told["labels"]):
        notes.append(f"*: not counted in macro (boxes on fewer than 5 {unit})")
    if told["flat_maps"]:
        notes.append(
            "flat: maps that point nowhere; they count as what chance gives, the boxes' share of "
            "the image"
        )
    return notes
