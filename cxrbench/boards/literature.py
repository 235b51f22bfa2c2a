"""Published results on NIH ChestX-ray14 beside a board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxrbench.output.sections import CellTable, Column, Section, number, text_column


@dataclass(frozen=True)
class Published:
    """What a publication reports; None where it does not.

    ``split`` says which images were tested, ``labels`` how many were scored.
    """

    model: str
    macro_auroc: float | None
    micro_auroc: float | None
    labels: int
    split: str
    source: str


LITERATURE = (
    Published(
        model="ResNet50",
        macro_auroc=0.745,
        micro_auroc=None,
        labels=14,
        split="official",
        source="Wang et al., ChestX-ray8, CVPR 2017; ChestX-ray14 in arXiv 1705.02315v5",
    ),
    Published(
        model="DenseNet, multiple resolutions",
        macro_auroc=0.761,
        micro_auroc=None,
        labels=14,
        split="official",
        source="Yao et al., Weakly supervised medical diagnosis and localization from multiple "
        "resolutions, arXiv 1803.07703",
    ),
    Published(
        model="location-aware DenseNet121",
        macro_auroc=0.807,
        micro_auroc=None,
        labels=14,
        split="official",
        source="Gündel et al., Learning to recognize abnormalities in chest X-rays with "
        "location-aware dense networks, CIARP 2018, arXiv 1803.04565",
    ),
    Published(
        model="DenseNet121 (CheXNet)",
        macro_auroc=0.841,
        micro_auroc=None,
        labels=14,
        split="random, by patient, 420 test images",
        source="Rajpurkar et al., CheXNet, arXiv 1711.05225v3",
    ),
    Published(
        model="ResNet50",
        macro_auroc=0.6049,
        micro_auroc=0.8284,
        labels=15,
        split="not stated",
        source="the pipeline that cxrbench grew from",
    ),
    Published(
        model="ResNet50 and ORB, concatenated",
        macro_auroc=0.5836,
        micro_auroc=0.8167,
        labels=15,
        split="not stated",
        source="the pipeline that cxrbench grew from",
    ),
)
"""As published, of the models' best single row; macro is the mean over labels."""


def literature_section(published: Sequence[Published]) -> Section:
    """A table of published results with their source, split and number of labels."""
    columns = (
        text_column("published", 12),
        Column("macro AUROC"),
        Column("micro AUROC"),
        Column("labels"),
        text_column("split"),
        text_column("source", 20),
    )
    rows = tuple(
        (
            one.model,
            number(one.macro_auroc, ".3f"),
            number(one.micro_auroc, ".3f"),
            str(one.labels),
            one.split,
            one.source,
        )
        for one in published
    )
    return Section(
        "Published results on NIH ChestX-ray14",
        (CellTable(columns, rows),),
        (
            "As published, without intervals. Not ranked: test images, labels and splits differ "
            "from those of the boards.",
        ),
    )
