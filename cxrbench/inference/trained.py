"""A complete run's model, rebuilt from its recipe with its weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import PluginError, RecipeError, RunError
from cxrbench.interfaces import FittedEncoder
from cxrbench.modeling.assemble import Network, Statistics, build_top, build_trunk
from cxrbench.output.files import DamagedArrays, file_digest, read_arrays
from cxrbench.recipe import Feature, Recipe, parse_recipe
from cxrbench.registry import Registry
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.run import Run, read_run
from cxrbench.store.image_pass import Preparation

WEIGHTS_FILE = "model.weights.h5"


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What a run leaves to whoever wants to use its model.

    ``model`` maps ``{"image": (N, S, S, 1) float32 grey in [0, 255], NAME: (N, D) float32 feature
    vectors}`` to probabilities (N, L); ``image`` is there only with a backbone, and S is
    ``image_size``; ``network`` has the same layers, cut between trunk and top. ``encoders`` are the
    fitted encoders of the recipe's features. ``thresholds`` are each label's, in the order of
    ``label_names``, None where undefined.
    """

    run: Run
    recipe: Recipe
    label_names: tuple[str, ...]
    image_size: int | None
    model: Any
    network: Network
    encoders: Mapping[str, FittedEncoder]
    thresholds: tuple[float | None, ...]

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.run.path

    @property
    def name(self) -> str:
        """The name of the run directory, even if the path is relative."""
        return self.path.resolve().name

    @property
    def preparation(self) -> Preparation:
        """How the images of the run were prepared.

        Raises
        ------
        RunError : the run does not say so.
        """
        settings = self.run.conditions.settings
        fit, clahe, most = (settings.get(name) for name in ("fit", "clahe", "max_pixels"))
        if fit not in ("stretch", "pad") or not isinstance(clahe, bool) or type(most) is not int:
            raise RunError(
                f"run.json of the run {self.name!r} does not say how images were prepared",
                expected="the settings fit, clahe and max_pixels",
                found=f"fit {fit!r}, clahe {clahe!r}, max_pixels {most!r}",
                fix="run the same command with --force",
            )
        return Preparation(
            image_sizes=() if self.image_size is None else (self.image_size,),
            extractors=tuple(feature.extractor for feature in self.recipe.features),
            fit=fit,
            clahe=clahe,
            max_pixels=most,
        )


def load_trained(path: Path, registry: Registry) -> TrainedRun:
    """Rebuild the model of a complete run; it lives on the device of the current device scope.

    The network comes from the recipe, and from the run directory come numbers only: weights from
    HDF5, encoders and statistics from ``.npz`` without pickle, each file compared with its SHA-256
    in ``run.json``. The Keras backend need not be the one that trained the run.

    Raises
    ------
    RunError
        The run is incomplete, damaged, or has no model (``prior``), or a plugin of its recipe is
        missing or has become another.
    """
    run = read_run(path)
    recipe = _recipe(run, registry)
    label_names = _label_names(run)
    image_size = _image_size(run, recipe)
    weights = _verified(run, WEIGHTS_FILE)
    encoded = {feature.name: _encoder(run, feature) for feature in recipe.features}
    statistics = {name: told for name, (_, told) in encoded.items()}
    network = _network(run, recipe, image_size, statistics, len(label_names))
    model = network.whole(probabilities=True)
    _load_weights(run, model, weights)
    return TrainedRun(
        run=run,
        recipe=recipe,
        label_names=label_names,
        image_size=image_size,
        model=model,
        network=network,
        encoders={name: fitted for name, (fitted, _) in encoded.items()},
        thresholds=_thresholds(run, label_names),
    )


def example_inputs(trained: TrainedRun, count: int) -> dict[str, np.ndarray]:
    """Inputs of the model that span what it may meet, by their names: (count, ...) float32.

    Images are black, white, a gradient, then noise; feature vectors are drawn around the training
    images' mean with their deviation.
    """
    rng = np.random.default_rng(0)
    given: dict[str, np.ndarray] = {}
    for tensor in trained.model.inputs:
        shape = (count, *tensor.shape[1:])
        if tensor.name == "image":
            images = rng.uniform(0, 255, shape).astype(np.float32)
            plain = [np.zeros(shape[1]), np.full(shape[1], 255.0), np.linspace(0, 255, shape[1])]
            for image, row in zip(images, plain, strict=False):
                image[...] = row[:, None]
            given["image"] = images
        else:
            arrays = read_arrays(trained.path / "encoders" / f"{tensor.name}.npz")
            mean, variance = arrays["standardised_mean"], arrays["standardised_variance"]
            given[tensor.name] = rng.normal(mean, np.sqrt(variance), shape).astype(np.float32)
    return given


def _recipe(run: Run, registry: Registry) -> Recipe:
    text = run.conditions.recipe
    if run.kind is RunKind.submitted:
        raise RunError(
            f"the run {run.name!r} has no model",
            expected="a run that was trained here",
            found=f"the submission {text!r}, of which there are predictions alone",
            fix="name another run",
        )
    try:
        recipe = parse_recipe(text, registry)
    except (RecipeError, PluginError) as error:
        raise RunError(
            f"the recipe {text!r} of the run {run.name!r} cannot be rebuilt here",
            expected="the plugins that the run was made with",
            found=_one_line(error),
            fix="install the plugin in the version that the run was made with; "
            "`cxrbench plugins list` shows what there is",
        ) from error
    if recipe.is_prior:
        raise RunError(
            f"the run {run.name!r} has no model",
            expected="a run whose recipe looks at images",
            found=f"the recipe {text!r}, which gives every image the same scores",
            fix="name another run",
        )
    return recipe


def _label_names(run: Run) -> tuple[str, ...]:
    names = run.conditions.labels
    if not names or not all(isinstance(name, str) for name in names):
        raise _damaged(run, "run.json", "the names of its labels", repr(names))
    return tuple(names)


def _image_size(run: Run, recipe: Recipe) -> int | None:
    size = run.conditions.image_size
    if recipe.backbone is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise _damaged(run, "run.json", "the side of its images in pixels", repr(size))
    return size


def _thresholds(run: Run, label_names: tuple[str, ...]) -> tuple[float | None, ...]:
    try:
        told = {row["label"]: row["threshold"] for row in run.labels}
        found = [told[name] for name in label_names]
        return tuple(None if value is None else float(value) for value in found)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(run, "labels.json", "a threshold or null for each label", error) from error


def _encoder(run: Run, feature: Feature) -> tuple[FittedEncoder, Statistics]:
    name = f"encoders/{feature.name}.npz"
    path = _verified(run, name)
    try:
        arrays = read_arrays(path)
        mean, variance = arrays.pop("standardised_mean"), arrays.pop("standardised_variance")
        if mean.ndim != 1 or mean.shape != variance.shape:
            raise ValueError(f"statistics of shapes {mean.shape} and {variance.shape}")
    except (DamagedArrays, KeyError, ValueError) as error:
        raise _damaged(run, name, "plain arrays, with mean and variance", error) from error
    try:
        fitted = type(feature.encoder).fitted.from_arrays(arrays)
    except Exception as error:  # a plugin's code: it may raise anything
        raise _other_part(run, f"the encoder of {feature.name!r}", error) from error
    return fitted, Statistics(mean, variance)


def _network(
    run: Run,
    recipe: Recipe,
    image_size: int | None,
    statistics: Mapping[str, Statistics],
    labels: int,
) -> Network:
    assert recipe.fusion is not None
    try:
        trunk = None
        if recipe.backbone is not None and image_size is not None:
            trunk = build_trunk(recipe.backbone, image_size, None, seed=0)
        return build_top(trunk, recipe.fusion, statistics, labels=labels, seed=0)
    except Exception as error:  # a plugin's code: it may raise anything
        raise _other_part(run, "its network", error) from error


def _load_weights(run: Run, model: Any, path: Path) -> None:
    if model.count_params() != run.conditions.parameters:
        raise _other_part(
            run,
            "its network",
            f"{model.count_params():,} parameters instead of {run.conditions.parameters:,}",
        )
    try:
        with warnings.catch_warnings():
            # Keras only warns where it finds nothing to load, and leaves random numbers there.
            warnings.filterwarnings("error", message="(?s).*freshly-initialized")
            model.load_weights(path)
    except Exception as error:  # Keras and h5py raise nearly anything for a file that does not fit
        raise _other_part(run, "its network", error) from error


def _verified(run: Run, name: str) -> Path:
    """The path of a file of the run that is what the run wrote."""
    path = run.path / name
    wanted = run.files.get(name)
    try:
        found = file_digest(path)
    except OSError as error:
        raise RunError(
            f"{name} of the run {run.name!r} cannot be read",
            expected="the file that the run wrote",
            found=error.strerror or str(error),
            fix="copy the whole run directory, or run the same command with --force",
        ) from error
    if found != wanted:
        raise RunError(
            f"{name} of the run {run.name!r} was changed after the run",
            expected=f"SHA-256 {wanted}",
            found=f"SHA-256 {found}",
            fix="copy the run directory again, or run the same command with --force",
        )
    return path


def _damaged(run: Run, name: str, expected: str, found: object) -> RunError:
    return RunError(
        f"{name} of the run {run.name!r} is damaged",
        expected=expected,
        found=_one_line(found),
        fix="run the same command with --force",
    )


def _other_part(run: Run, part: str, found: object) -> RunError:
    return RunError(
        f"{part} in the run {run.name!r} is not what {run.conditions.recipe!r} gives here",
        expected=f"the parts of cxrbench {run.conditions.version} and the plugins of that time",
        found=_one_line(found)[:500],
        fix="install the versions that the run was made with, or run the same command again",
    )


def _one_line(told: object) -> str:
    return " ".join(str(told).split()) or type(told).__name__
