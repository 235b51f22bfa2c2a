"""``cxrbench perf record``: measure one side, and store its samples in a history."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from cxrbench.cli import perf_options as of
from cxrbench.cli.options import Cache, Format, Json, OutputFormat, chosen_format

HISTORY = Path("perf-history.jsonl")


def record(  # noqa: PLR0913 - each argument is an option of the command
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
    data: of.ImagesOf = None,
    quick: Annotated[bool, typer.Option("--quick", help="Time only paths without Keras.")] = False,
    image_size: of.ImageSize = 64,
    batch_size: of.BatchSize = 8,
    cache: Cache = None,
    output: OutputFormat = Format.table,
    as_json: Json = False,
) -> None:
    """Measure the hot paths of one version of the code, and add the result to a history file."""
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import show
    from cxrbench.perf.history import NewRecording
    from cxrbench.perf.process import Work
    from cxrbench.perf.recordings import append_recording, record_side, require_history
    from cxrbench.perf.sides import find_side
    from cxrbench.perf.workload import chosen_paths, write_films_of
    from cxrbench.store.cache import cache_folder

    require_history(history)
    display, folder = RichDisplay(), cache_folder(cache)
    with ExitStack() as stack:
        films = Path(stack.enter_context(TemporaryDirectory()))
        write_films_of(data, films, folder, display)
        environment = find_side(side, Path.cwd(), folder, stack)
        work = Work(films, network_size=image_size, batch_size=batch_size)
        recording = record_side(environment, chosen_paths(path or (), quick=quick), work, display)
    append_recording(recording, history)
    show(NewRecording(recording, history), chosen_format(output, as_json).value)
