"""Options that several commands of ``cxrbench perf`` share."""

from __future__ import annotations

from typing import Annotated

import typer

HotPaths = Annotated[
    list[str] | None,
    typer.Option(
        "--path",
        metavar="NAME",
        help="A hot path, such as decode, extract/orb, augment/medical, forward/resnet50 or "
        "train-step/orb; repeatable. \\[default: a selection]",
    ),
]
IMAGES_OF = "Folder or dataset of the images to use. [default: four drawn images]"
ImageSize = Annotated[
    int,
    typer.Option(metavar="N", min=32, max=4096, help="Side in pixels of the images for networks."),
]
BatchSize = Annotated[
    int,
    typer.Option("--batch-size", "-b", metavar="N", min=1, max=65_536, help="Images in a batch."),
]
