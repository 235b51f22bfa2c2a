"""``cxrbench run``: train and score recipes, then print their leaderboard."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from typing import Any

from cxrbench.cli.options import (
    Config,
    Format,
    Json,
    OutputFormat,
    PerLabel,
    chosen_format,
    config_options,
    takes,
)


@takes()
def run(
    config: Config = None,
    *,
    output: OutputFormat = Format.table,
    as_json: Json = False,
    per_label: PerLabel = False,
    **options: Any,
) -> None:
    """Train and score each recipe on one patient-wise split, then print the leaderboard.

    Join the parts of a recipe with +. Write parameters after a colon and the fusion after @, as in
    resnet+orb:encoding=vlad,nfeatures=1000@concat. The recipe prior, which looks at no image, is
    always added. A dataset can have other defaults: phantom, for example, uses small images.
    """
    from cxrbench.benchmark import leaderboard_of, measure
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import show
    from cxrbench.request import request_of

    chosen = chosen_format(output, as_json)
    request = request_of({**config_options(config), **options})
    # Keras and plugins print at times; where standard output carries data, they must not.
    with nullcontext() if chosen is Format.table else redirect_stdout(sys.stderr):
        runs = measure(request, RichDisplay(lines_on_stdout=chosen is Format.table))
    show(leaderboard_of(runs, request, per_label=per_label), chosen)
