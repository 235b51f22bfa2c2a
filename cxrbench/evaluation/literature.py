"""Published results on NIH ChestX-ray14: to look at beside a board, never ranked on it."""

from __future__ import annotations

from dataclasses import dataclass


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
