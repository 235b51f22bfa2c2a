"""All seeds of a recipe: their models and exports, and thresholds for the mean of their scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrbench.errors import RunError
from cxrbench.inference.export import FORMATS, Exported, check_format, check_free, export
from cxrbench.inference.trained import TrainedRun, load_trained
from cxrbench.interfaces import Display
from cxrbench.metrics.thresholds import choose_thresholds, parse_rule
from cxrbench.registry import Registry
from cxrbench.runs.predictions import Predictions, read_predictions
from cxrbench.runs.run import Run


def load_seeds(runs: Sequence[Run], registry: Registry) -> tuple[TrainedRun, ...]:
    """The models of runs that differ in nothing but the seed, on the current device.

    Raises
    ------
    RunError : as in `load_trained`, or the runs have other labels, or a seed comes twice.
    """
    seeds = [run.conditions.seed for run in runs]
    if len({run.conditions.labels for run in runs}) > 1 or len(set(seeds)) < len(seeds):
        raise _no_mean(runs, "the same labels, and each seed once", "others")
    return tuple(load_trained(run.path, registry) for run in runs)


def mean_name(runs: Sequence[Run]) -> str:
    """The name of the mean of several seeds, as in ``orb, mean of seeds 0, 1, 2``."""
    seeds = ", ".join(str(run.conditions.seed) for run in runs)
    return f"{runs[0].conditions.recipe}, mean of seeds {seeds}"


def thresholds_of(models: Sequence[TrainedRun]) -> tuple[float | None, ...]:
    """The threshold of each label, None if undefined: those of a run, or of the mean of several.

    The mean has thresholds of its own. They are chosen as those of a run are, by the rule of the
    runs: on the mean of the seeds' scores for the images of the validation split.

    Raises
    ------
    RunError : the runs have other rules or validation images, or their predictions are damaged.
    """
    if len(models) == 1:
        return models[0].thresholds
    runs = [model.run for model in models]
    rules = list(dict.fromkeys(run.conditions.scoring["thresholds"] for run in runs))
    if len(rules) > 1:
        raise _no_mean(
            runs,
            "one rule for the thresholds of all seeds",
            ", ".join(rules),
            f"run `cxrbench score {runs[0].conditions.recipe} --thresholds {rules[0]}`, or choose "
            "one seed with --seed",
        )
    validation = [read_predictions(run, "val") for run in runs]
    if not all(_same_images(validation[0], other) for other in validation):
        raise _no_mean(runs, "the same validation images", "other images or labels")
    if not len(validation[0]):
        return (None,) * len(models[0].label_names)
    y_score = np.mean([part.y_score for part in validation], axis=0)
    chosen = choose_thresholds(validation[0].y_true, y_score, parse_rule(rules[0]))
    return tuple(None if np.isnan(value) else float(value) for value in chosen)


def _same_images(a: Predictions, b: Predictions) -> bool:
    return np.array_equal(a.image_ids, b.image_ids) and np.array_equal(
        a.y_true, b.y_true, equal_nan=True
    )


def _no_mean(
    runs: Sequence[Run], expected: str, found: str, fix: str = "choose one seed with --seed"
) -> RunError:
    return RunError(
        f"the runs {', '.join(run.name for run in runs)} have no common mean",
        expected=expected,
        found=found,
        fix=fix,
    )


def export_seeds(
    runs: Sequence[Run],
    registry: Registry,
    *,
    format: str,
    output: Path | None = None,
    display: Display | None = None,
) -> tuple[Exported, ...]:
    """Export each run as `export` does. Of several seeds, ``output`` gets the seed in its name.

    Raises
    ------
    RunError, SettingsError : as in `export`. If one place is taken, nothing is written.
    """
    check_format(format)
    places = [output if len(runs) == 1 else _place(output, run, format) for run in runs]
    for place in places:
        if place is not None:
            check_free(place)
    return tuple(
        export(run.path, registry, format=format, output=place, display=display)
        for run, place in zip(runs, places, strict=True)
    )


def _place(output: Path | None, run: Run, format: str) -> Path:
    """The place of one of several seeds, such as ``model-seed0.onnx``."""
    if output is None:  # the names of runs have the seed
        return Path(f"{run.path.resolve().name}{FORMATS[format]}")
    ending = output.suffix if output.suffix in FORMATS.values() else ""
    return output.with_name(f"{output.name.removesuffix(ending)}-seed{run.conditions.seed}{ending}")
