"""``cxrbench export``: export the model of a run for use without cxrbench."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.options import SEED_OF_RUN, Json, RunOrRecipe, takes


class ModelFormat(StrEnum):
    """The format of an exported model."""

    keras = "keras"
    onnx = "onnx"
    saved_model = "saved-model"


@takes("runs", seed=SEED_OF_RUN)
def export(
    run: RunOrRecipe,
    model_format: Annotated[
        ModelFormat,
        typer.Option("--format", "-f", metavar="|".join(ModelFormat), help="Format of the model."),
    ] = ModelFormat.keras,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="File or folder to write; of several seeds, with the seed in its name. "
            "\\[default: the run's name, in the current folder]",
        ),
    ] = None,
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Export the model of a run for use without cxrbench, and check that it works.

    A process without cxrbench runs the export. The file gets its name only if the probabilities are
    those of the run's model. A JSON file next to it lists labels, inputs and thresholds.

    For a recipe with several seeds, each seed is exported.
    """
    from cxrbench.inference.seeds import export_seeds
    from cxrbench.modeling.backend import device_scope
    from cxrbench.output.display import progress
    from cxrbench.output.show import plain
    from cxrbench.registry import load_registry
    from cxrbench.request import request_of
    from cxrbench.runs.selection import find_seeds

    with progress() as display, device_scope("cpu"):
        exports = export_seeds(
            find_seeds(run, request_of(options).runs, options.get("seed")),
            load_registry(),
            format=model_format.value,
            output=output,
            display=display,
        )
    if as_json:
        result = exports[0] if len(exports) == 1 else {"exports": exports}
        typer.echo(json.dumps(plain(result), indent=2))
        return
    for exported in exports:
        typer.echo(
            f"{exported.path}: runs without cxrbench; probabilities differ from the run's by at "
            f"most {exported.difference:.1e}\n{exported.description}: labels, inputs, thresholds"
        )
