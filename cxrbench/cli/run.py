"""``cxrbench run``: train and score recipes, then print their leaderboard."""

from __future__ import annotations

from typing import Any

from cxrbench.cli.options import Config, Format, PerLabel, takes, with_config
from cxrbench.request import known_options


@takes(*known_options())
def run(
    config: Config = None,
    *,
    output_format: Format,
    per_label: PerLabel = False,
    **options: Any,
) -> None:
    """Train and score each recipe on one patient-wise split, then print the leaderboard.

    Join the parts of a recipe with +. Write parameters after a colon and the fusion after @, as in
    resnet+orb:encoding=vlad,nfeatures=1000@concat. The recipe prior, which looks at no image, is
    always added. A dataset can have other defaults: phantom, for example, uses small images.
    """
    from cxrbench.benchmark import leaderboard_of, measure
    from cxrbench.output.display import progress
    from cxrbench.output.show import show
    from cxrbench.request import request_of

    request = request_of(with_config(config, options))
    with progress(lines_on_stdout=output_format is Format.table) as display:
        runs = measure(request, display)
    show(leaderboard_of(runs, request, per_label=per_label), output_format)
