"""``cxrbench predict``: a finished run's scores for new images."""

from __future__ import annotations

import sys
from contextlib import ExitStack, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrbench.cli.options import Cache, Json, Threads

if TYPE_CHECKING:
    from cxrbench.inference.sources import Source, Survey
    from cxrbench.inference.trained import TrainedRun
    from cxrbench.interfaces import Display


class Format(StrEnum):
    """How predictions are written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


_SUFFIXES = {".csv": Format.csv, ".json": Format.json, ".parquet": Format.parquet}


def predict(  # noqa: PLR0913 - each argument is an option of the command
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a complete run.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT…",
            help="Image files, folders of images, or tables (.csv, .tsv) of paths.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where to write \\[default: standard output]", show_default=False
        ),
    ] = None,
    output_format: Annotated[
        Format | None,
        typer.Option("--format", help="\\[default: as FILE ends, else csv]", show_default=False),
    ] = None,
    as_json: Json = False,
    threshold: Annotated[
        bool,
        typer.Option("--threshold", help="Also y_pred, at the thresholds that the run chose."),
    ] = False,
    image_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column of paths in a table \\[default: image, Image Index or path]",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where a table's relative paths start \\[default: the table's folder]",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images that are predicted at once.")] = 32,
    threads: Threads = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu or gpu \\[default: auto]", show_default=False),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="auto, keras or openvino \\[default: auto: the fastest for many images]",
            show_default=False,
        ),
    ] = None,
    cache: Cache = None,
) -> None:
    """Predict new images with the model of a complete run, in the order in which they are named."""
    from cxrbench.inference.predict import Tally, predict_images
    from cxrbench.inference.prediction_files import WRITERS, Columns, whole_file
    from cxrbench.inference.sources import Source, readers_of, survey
    from cxrbench.inference.trained import example_inputs, load_trained
    from cxrbench.modeling.backend import choose_device, device_scope
    from cxrbench.modeling.engines import choose_engine, predictor
    from cxrbench.output.display import RichDisplay, SilentDisplay
    from cxrbench.registry import load_registry
    from cxrbench.settings import resolve_settings, thread_count
    from cxrbench.store.cache import cache_folder

    chosen = _format(output, Format.json if as_json else output_format)
    with redirect_stdout(sys.stderr):
        registry = load_registry()
    readers = readers_of(registry)
    source = Source(tuple(inputs), image_column, images, tuple(readers))
    _keep_inputs(output, source)
    wanted = resolve_settings({"device": device, "engine": engine}, {})
    stdout, display, tally = sys.stdout, RichDisplay(), Tally()
    # On a terminal the rows themselves show progress, and a bar between them would be noise.
    bars = SilentDisplay() if output is None and stdout.isatty() else display
    # Keras and plugins print at times; standard output carries the predictions alone.
    with redirect_stdout(sys.stderr):
        found = survey(source)
        with ExitStack() as stack:
            used = choose_device(wanted.device)
            stack.enter_context(device_scope(used))
            trained = load_trained(run, registry)
            computed_by = choose_engine(
                wanted.engine,
                lambda: (trained.model, example_inputs(trained, batch_size)),
                device=used,
                precision="float32",
                images=found.images,
                cache=cache_folder(cache),
                display=display,
            )
            compute = predictor(trained.model, computed_by, example_inputs(trained, batch_size))
            _tell_unknown_records(trained, found, display)
            out = (
                stdout
                if output is None
                else stack.enter_context(whole_file(output, binary=chosen is Format.parquet))
            )
            advance = stack.enter_context(bars.task("predicting", found.images))
            batches = predict_images(
                trained,
                source,
                batch_size=batch_size,
                threads=thread_count(threads),
                predict=compute,
                readers=readers,
            )
            cuts = trained.thresholds if threshold else None
            columns = Columns(trained.name, trained.label_names, cuts)
            WRITERS[chosen.value](tally.over(batches, advance), columns, out)
    if tally.failed:
        display.say(
            f"{tally.failed:,} of {tally.images:,} images have no scores but the reason in their "
            f"place; the first is {tally.first}"
        )
    if tally.failed == tally.images:
        raise typer.Exit(1)


def _format(output: Path | None, given: Format | None) -> Format:
    from cxrbench.errors import SettingsError

    if output is None:
        if given is Format.parquet:
            raise SettingsError(
                "--format parquet needs a file",
                expected="--output FILE, since Parquet is not text",
                found="no --output",
            )
        return given or Format.csv
    suffix = _SUFFIXES.get(output.suffix.lower())
    if given is None and suffix is None:
        raise SettingsError(
            f"--output {output} does not say in which format",
            expected=f"a name that ends in {', '.join(_SUFFIXES)}, or --format",
            found=repr(output.suffix),
        )
    return given or suffix or Format.csv


def _keep_inputs(output: Path | None, source: Source) -> None:
    """Refuse to write over what is to be read."""
    from cxrbench.errors import SettingsError

    if output is None or not output.exists():
        return
    for path in source.inputs:
        if path.exists() and path.samefile(output):
            raise SettingsError(
                f"--output {output} would replace an input",
                expected="another file than those that are read",
                found=str(path),
                fix="choose another --output",
            )


def _tell_unknown_records(trained: TrainedRun, found: Survey, display: Display) -> None:
    names = [f.name for f in trained.recipe.features if f.extractor.image_size is None]
    if names and found.without_record:
        display.say(
            f"age, sex and view of {found.without_record:,} of {found.images:,} images are unknown "
            f"to {', '.join(names)}; a table with such columns would tell them"
        )
