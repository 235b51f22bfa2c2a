"""``cxrbench export``: export the model of a run for use without cxrbench."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.options import SEED_OF_RUN, Json, OneRun, takes


class ModelFormat(StrEnum):
    """The format of an exported model."""

    keras = "keras"
    onnx = "onnx"
    saved_model = "saved-model"


@takes("runs", seed=SEED_OF_RUN)
def export(
    run: OneRun,
    model_format: Annotated[
        ModelFormat, typer.Option("--format", "-f", help="Format of the model.")
    ] = ModelFormat.keras,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File or folder to write. \\[default: the run's name, in the current folder]",
        ),
    ] = None,
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Export the model of a run for use without cxrbench, and check that it works.

    A process without cxrbench runs the export. The file gets its name only if the probabilities are
    those of the run's model. A JSON file next to it lists labels, inputs and thresholds.
    """
    from cxrbench.inference import export as exporting
    from cxrbench.modeling.backend import device_scope
    from cxrbench.output.display import progress
    from cxrbench.output.show import plain
    from cxrbench.registry import load_registry
    from cxrbench.request import request_of
    from cxrbench.runs.selection import find_run

    with progress() as display, device_scope("cpu"):
        exported = exporting.export(
            find_run(run, request_of(options).runs, options.get("seed")).path,
            load_registry(),
            format=model_format.value,
            output=output,
            display=display,
        )
    if as_json:
        typer.echo(json.dumps(plain(exported), indent=2))
        return
    typer.echo(
        f"{exported.path}: runs without cxrbench; probabilities differ from the run's by at most "
        f"{exported.difference:.1e}\n{exported.description}: labels, inputs, thresholds"
    )
