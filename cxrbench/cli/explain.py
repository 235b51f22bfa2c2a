"""``cxrbench explain``: pictures of why a run's model gives images their scores."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrbench.cli.localise import Device, IouThreshold, Method
from cxrbench.cli.options import Cache, Json, Threads

if TYPE_CHECKING:
    from cxrbench.inference.explain import Written


def explain(  # noqa: PLR0913 - each argument is an option of the command
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] IMAGE…",
            help="The directory of a complete run (not with --extractor), then image files, "
            "folders, tables of paths, or image ids of --data.",
        ),
    ],
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="Which label; repeatable \\[default: the highest scores]",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="How many of the highest scores, without --label.")
    ] = 3,
    method: Method = "auto",
    extractor: Annotated[
        str | None,
        typer.Option(
            metavar="FEATURES",
            help="Draw keypoints alone, without a run: such as orb or orb:nfeatures=1000+sift.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="The cohort that knows truth and boxes of the images.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where pictures are written.")] = Path(
        "explained"
    ),
    iou_threshold: IouThreshold = 0.5,
    device: Device = "auto",
    cache: Cache = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Draw saliency maps, keypoints, visual words and boxes of images, as PNG files."""
    from cxrbench.inference.documents import print_written
    from cxrbench.inference.explain import Asked, draw_explanations, draw_extractors
    from cxrbench.output.display import RichDisplay
    from cxrbench.settings import thread_count
    from cxrbench.store.cache import cache_folder

    asked = Asked(
        labels=tuple(label or ()),
        top=top,
        method=method,
        data=data,
        output=output,
        iou_threshold=iou_threshold,
        device=device,
        cache=cache_folder(cache),
        threads=thread_count(threads),
    )
    display = RichDisplay()
    with redirect_stdout(sys.stderr):
        written: list[Written]
        if extractor is not None:
            written = draw_extractors(extractor, inputs, asked, display)
        else:
            written = draw_explanations(Path(inputs[0]), inputs[1:], asked, display)
    print_written(written, as_json=as_json)
    if not any(image.error is None for image in written):
        raise typer.Exit(1)
