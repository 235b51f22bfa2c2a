"""``cxrbench perf record``: measure one side, and store its samples in a history."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from cxrbench.cli import perf_options as of
from cxrbench.cli.options import Format, takes

HISTORY = Path("perf-history.jsonl")


@takes("cache", data=of.IMAGES_OF)
def record(
    side: Annotated[
        str,
        typer.Argument(
            metavar="SIDE",
            help="The version to measure: a revision, folder or environment, as for perf compare.",
        ),
    ] = "HEAD",
    history: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The file to add the recording to: .jsonl or .json."),
    ] = HISTORY,
    path: of.HotPaths = None,
    quick: Annotated[bool, typer.Option("--quick", help="Time only paths without Keras.")] = False,
    image_size: of.ImageSize = 64,
    batch_size: of.BatchSize = 8,
    *,
    output_format: Format,
    **options: Any,
) -> None:
    """Measure the hot paths of one version of the code, and add the result to a history file."""
    from cxrbench.output.display import new_display
    from cxrbench.output.show import show
    from cxrbench.perf.history import NewRecording
    from cxrbench.perf.process import Work
    from cxrbench.perf.recordings import append_recording, record_side, require_history
    from cxrbench.perf.sides import find_side
    from cxrbench.perf.workload import chosen_paths, write_films_of
    from cxrbench.request import request_of

    require_history(history)
    display, request = new_display(), request_of(options)
    with ExitStack() as stack:
        films = Path(stack.enter_context(TemporaryDirectory()))
        write_films_of(request.data, films, request.cache, display)
        environment = find_side(side, Path.cwd(), request.cache, stack)
        work = Work(films, network_size=image_size, batch_size=batch_size)
        recording = record_side(environment, chosen_paths(path or (), quick=quick), work, display)
    append_recording(recording, history)
    show(NewRecording(recording, history), output_format)
