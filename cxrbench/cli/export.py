"""``cxrbench export``: a run's model as a file that needs no cxrbench."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import Json


class ModelFormat(StrEnum):
    """What can be written."""

    keras = "keras"
    onnx = "onnx"
    saved_model = "saved-model"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a complete run.")],
    model_format: Annotated[
        ModelFormat, typer.Option("--format", help="keras, onnx or saved-model.")
    ] = ModelFormat.keras,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Where to write \\[default: the run's name, in the current folder]",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the model of a run for use without cxrbench, and prove that it works.

    The file is run in a process without cxrbench and has to give the probabilities of the run's
    model before it takes its name. A JSON file beside it tells labels, inputs and thresholds.
    """
    from cxrbench.inference import export as exporting
    from cxrbench.modeling.backend import device_scope
    from cxrbench.registry import load_registry

    # Keras and plugins print at times.
    with redirect_stdout(sys.stderr), device_scope("cpu"):
        done = exporting.export(run, load_registry(), format=model_format.value, output=output)
    if as_json:
        told = {
            "path": str(done.path),
            "description": str(done.description),
            "format": done.format,
            "difference": done.difference,
        }
        typer.echo(json.dumps(told, indent=2))
        return
    typer.echo(
        f"{done.path}: runs without cxrbench, probabilities within {done.difference:.1e} of the "
        f"run's\n{done.description}: labels, inputs, thresholds"
    )
