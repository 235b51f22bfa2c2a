"""``cxrbench predict``: predict new images with the model of a run."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrbench.cli.options import SEED_OF_RUN, AcceptUnknown, RunOrRecipe, takes

if TYPE_CHECKING:
    from cxrbench.inference.images import ImageCount, ImageSource
    from cxrbench.inference.trained import TrainedRun
    from cxrbench.interfaces import Display


PredictionFormat = StrEnum(
    "PredictionFormat", ["table", "csv", "json", "parquet", "markdown", "html", "latex"]
)
_SUFFIXES = {
    ".csv": PredictionFormat.csv,
    ".json": PredictionFormat.json,
    ".parquet": PredictionFormat.parquet,
    ".md": PredictionFormat.markdown,
    ".html": PredictionFormat.html,
    ".tex": PredictionFormat.latex,
}


@takes(
    *("threads", "device", "cache", "runs"),
    engine="Software that computes the model. [default: auto]",
    seed=SEED_OF_RUN,
)
def predict(  # noqa: PLR0913 - each argument is an option of the command
    run: RunOrRecipe,
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
            "--output", "-o", metavar="FILE", help="File to write. \\[default: standard output]"
        ),
    ] = None,
    output_format: Annotated[
        PredictionFormat | None,
        typer.Option(
            "--format",
            "-f",
            metavar="|".join(PredictionFormat),
            help="Format of the predictions. \\[default: by the ending of FILE, else csv]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
    threshold: Annotated[
        bool,
        typer.Option(
            "--threshold",
            help="Also write decisions, at thresholds chosen on the validation split.",
        ),
    ] = False,
    image_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column of paths in a table. \\[default: recognised]",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the relative paths in a table. \\[default: the table's folder]",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, max=65_536, help="Images per batch.")
    ] = 32,
    accept_unknown: AcceptUnknown = False,
    **options: Any,
) -> None:
    """Predict the labels of new images with the model of a complete run.

    For a recipe with several seeds, probabilities are the mean over the seeds.
    """
    from cxrbench.inference.images import ImageSource, count_images, readers_of
    from cxrbench.inference.predict import (
        WRITERS,
        PredictionColumns,
        Tally,
        predict_images,
        whole_file,
    )
    from cxrbench.inference.seeds import load_seeds, mean_name, thresholds_of
    from cxrbench.inference.trained import example_inputs, report_unused_gpu
    from cxrbench.modeling.backend import choose_device, device_scope
    from cxrbench.modeling.engines import choose_engine, predictor
    from cxrbench.output.display import SilentDisplay, progress
    from cxrbench.registry import load_registry
    from cxrbench.request import request_of
    from cxrbench.runs.selection import find_seeds
    from cxrbench.settings import resolve_settings

    kind = _format(output, PredictionFormat.json if as_json else output_format)
    request, stdout, tally = request_of(options), sys.stdout, Tally()
    with progress() as display, ExitStack() as stack:
        registry = load_registry()
        readers = readers_of(registry, accept_unknown=accept_unknown)
        source = ImageSource(tuple(inputs), readers, image_column, images)
        _keep_inputs(output, source)
        settings = resolve_settings(request.settings, {})
        seeds = find_seeds(run, request.runs, options.get("seed"))
        several = len(seeds) > 1
        count = count_images(source)
        if several:
            display.say(f"{mean_name(seeds)} (--seed N uses one seed)")
        display.say(f"loading the model{'s' if several else ''}…")
        report_unused_gpu(settings.device, display)
        place = choose_device(settings.device)
        stack.enter_context(device_scope(place))
        models = load_seeds(seeds, registry)
        trained = models[0]
        computed_by = choose_engine(
            settings.engine,
            lambda: (trained.model, example_inputs(trained, batch_size)),
            device=place,
            precision="float32",
            images=count.images,
            cache=request.cache,
            display=display,
        )
        computes = [
            predictor(model.model, computed_by, example_inputs(model, batch_size))
            for model in models
        ]
        _report_unknown_records(trained, count, display)
        columns = PredictionColumns(
            mean_name(seeds) if several else trained.name,
            trained.label_names,
            thresholds_of(models) if threshold else None,
            {one.run.conditions.seed: one.name for one in models if several},
        )
        out = (
            stdout
            if output is None
            else stack.enter_context(whole_file(output, binary=kind is PredictionFormat.parquet))
        )
        # On a terminal the rows themselves show progress, and a bar between them would be noise.
        bars = SilentDisplay() if output is None and stdout.isatty() else display
        advance = stack.enter_context(bars.task("predicting", count.images))
        batches = predict_images(
            models,
            source,
            batch_size=batch_size,
            threads=request.thread_count,
            predict=computes,
        )
        WRITERS[kind.value](tally.over(batches, advance), columns, out)
    if tally.failed:
        display.say(
            f"{tally.failed:,} of {tally.images:,} images could not be scored; the first is "
            f"{tally.first}"
        )
    if tally.unknown and not accept_unknown:
        display.say(
            f"{tally.unknown:,} of them do not say what they show. Use --accept-unknown if you are "
            "sure that they are frontal chest radiographs."
        )
    if tally.failed == tally.images:
        raise typer.Exit(1)


def _format(output: Path | None, option: PredictionFormat | None) -> PredictionFormat:
    from cxrbench.errors import SettingsError

    if output is None:
        if option is PredictionFormat.parquet:
            raise SettingsError(
                "--format parquet needs a file",
                expected="--output FILE, because Parquet is a binary format",
                found="no --output",
            )
        return option or PredictionFormat.csv
    suffix = _SUFFIXES.get(output.suffix.lower())
    if option is None and suffix is None:
        raise SettingsError(
            f"the format of --output {output} is unknown",
            expected=f"a name that ends in {', '.join(_SUFFIXES)}, or --format",
            found=repr(output.suffix),
        )
    return option or suffix or PredictionFormat.csv


def _keep_inputs(output: Path | None, source: ImageSource) -> None:
    """Refuse to overwrite an input."""
    from cxrbench.errors import SettingsError

    if output is None or not output.exists():
        return
    for path in source.inputs:
        if path.exists() and path.samefile(output):
            raise SettingsError(
                f"--output {output} would replace an input",
                expected="a file that is not an input",
                found=str(path),
                fix="choose another --output",
            )


def _report_unknown_records(trained: TrainedRun, count: ImageCount, display: Display) -> None:
    names = [f.name for f in trained.recipe.features if f.extractor.image_size is None]
    if names and count.without_record:
        display.say(
            f"{', '.join(names)} uses age, sex and view, which are unknown for "
            f"{count.without_record:,} of {count.images:,} images; a table can provide them"
        )
