"""``cxrbench export``: export the model of a run for use without cxrbench."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import Json, OneRun, Runs, RunSeed


class ModelFormat(StrEnum):
    """The format of an exported model."""

    keras = "keras"
    onnx = "onnx"
    saved_model = "saved-model"


def export(
    run: OneRun,
    model_format: Annotated[
        ModelFormat, typer.Option("--format", help="Format of the model.")
    ] = ModelFormat.keras,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="File or folder to write. \\[default: the run's name, in the current folder]",
            show_default=False,
        ),
    ] = None,
    runs: Runs = Path("runs"),
    seed: RunSeed = None,
    as_json: Json = False,
) -> None:
    """Export the model of a run for use without cxrbench, and check that it works.

    A process without cxrbench runs the export. The file gets its name only if the probabilities are
    those of the run's model. A JSON file next to it lists labels, inputs and thresholds.
    """
    from cxrbench.inference import export as exporting
    from cxrbench.modeling.backend import device_scope
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import plain
    from cxrbench.registry import load_registry
    from cxrbench.runs.selection import find_run

    # Keras and plugins print at times.
    with redirect_stdout(sys.stderr), device_scope("cpu"):
        exported = exporting.export(
            find_run(run, runs, seed).path,
            load_registry(),
            format=model_format.value,
            output=output,
            display=RichDisplay(),
        )
    if as_json:
        typer.echo(json.dumps(plain(exported), indent=2))
        return
    typer.echo(
        f"{exported.path}: runs without cxrbench; probabilities differ from the run's by at most "
        f"{exported.difference:.1e}\n{exported.description}: labels, inputs, thresholds"
    )
