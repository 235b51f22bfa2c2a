"""The model of a complete run, rebuilt from its recipe and its weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import PluginError, RecipeError, RunError, SettingsError, error_text
from cxrbench.interfaces import Display, FeatureExtractor, FittedEncoder
from cxrbench.modeling.assemble import Network, Statistics, build_top, build_trunk
from cxrbench.modeling.backend import choose_device, device_scope, unused_gpu
from cxrbench.options import LARGEST_SIDE, options_of
from cxrbench.output.files import DamagedArrays, read_arrays
from cxrbench.output.sections import count_or_unknown
from cxrbench.recipe import Feature, Recipe, parse_recipe
from cxrbench.registry import Registry
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.run import IMAGE_STATISTICS_FILE, Run, read_run
from cxrbench.settings import Settings, resolve_settings
from cxrbench.store.image_pass import Preparation

WEIGHTS_FILE = "model.weights.h5"


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A complete run with its model.

    ``model`` maps ``{"image": (N, S, S, 1) float32 grey in [0, 255], NAME: (N, D) float32 feature
    vectors}`` to probabilities (N, L); ``image`` exists only with a backbone, and S is
    ``image_size``; ``network`` has the same layers, cut between trunk and top. ``encoders`` are the
    fitted encoders of the recipe's features. ``thresholds`` are in the order of ``label_names``,
    None if undefined.
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
        """How the images of the run were prepared; raises `RunError` if the run does not say so."""
        extractors = [feature.extractor for feature in self.recipe.features]
        return preparation_of(self.run, extractors, self.image_size)


def preparation_of(
    run: Run, extractors: Sequence[FeatureExtractor], image_size: int | None = None
) -> Preparation:
    """The preparation of images by a run's settings.

    Raises
    ------
    RunError : the run does not say how its images were prepared.
    """
    values = {name: run.conditions.settings.get(name) for name in ("fit", "clahe", "max_pixels")}
    try:
        known = {name: options_of(Settings)[name].check(value) for name, value in values.items()}
    except SettingsError as error:
        raise RunError(
            f"run.json of the run {run.name!r} does not say how images were prepared",
            expected="the settings fit, clahe and max_pixels",
            found=", ".join(f"{name} {value!r}" for name, value in values.items()),
            fix="run the same command with --force",
        ) from error
    sizes = () if image_size is None else (image_size,)
    return Preparation(image_sizes=sizes, extractors=tuple(extractors), **known)


def load_trained(path: Path, registry: Registry) -> TrainedRun:
    """Rebuild the model of a complete run, on the device of the current device scope.

    The network is built from the recipe. The run directory provides numbers only: weights from
    HDF5, encoders and statistics from ``.npz`` without pickle; each file is compared with its
    SHA-256 in ``run.json``. The Keras backend may differ from the one that trained the run.

    Raises
    ------
    RunError
        The run is incomplete, damaged, or has no model (``prior``), or a plugin of its recipe is
        missing or was changed.
    """
    run = read_run(path)
    recipe = _recipe(run, registry)
    label_names = run.conditions.labels
    image_size = _image_size(run, recipe)
    weights = run.require_unchanged(WEIGHTS_FILE)
    encoded = {feature.name: _encoder(run, feature) for feature in recipe.features}
    statistics = {name: values for name, (_, values) in encoded.items()}
    if IMAGE_STATISTICS_FILE in run.files:
        statistics["image"] = _statistics(run, IMAGE_STATISTICS_FILE)[1]
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
        thresholds=tuple(label["threshold"] for label in run.labels),
    )


def on_device(name: str, display: Display) -> AbstractContextManager[None]:
    """Compute on the device of an option ``--device``: ``auto``, ``cpu`` or ``gpu``.

    Raises
    ------
    SettingsError : there is no such device.
    """
    device = resolve_settings({"device": name}, {}).device
    report_unused_gpu(device, display)
    return device_scope(choose_device(device))


def report_unused_gpu(device: str, display: Display) -> None:
    """Say that this machine has a GPU that ``auto`` cannot use, if it has one."""
    if device == "auto" and (sentence := unused_gpu()):
        display.say(sentence)


def example_inputs(trained: TrainedRun, count: int) -> dict[str, np.ndarray]:
    """Inputs that span the range of the model's possible inputs, by name: (count, ...) float32.

    Images are black, white, a gradient, then noise; feature vectors are drawn around the training
    images' mean with their deviation.
    """
    rng = np.random.default_rng(0)
    inputs: dict[str, np.ndarray] = {}
    for tensor in trained.model.inputs:
        shape = (count, *tensor.shape[1:])
        if tensor.name == "image":
            images = rng.uniform(0, 255, shape).astype(np.float32)
            plain = [np.zeros(shape[1]), np.full(shape[1], 255.0), np.linspace(0, 255, shape[1])]
            for image, row in zip(images, plain, strict=False):
                image[...] = row[:, None]
            inputs["image"] = images
        else:
            arrays = read_arrays(trained.path / "encoders" / f"{tensor.name}.npz")
            mean, variance = arrays["standardised_mean"], arrays["standardised_variance"]
            inputs[tensor.name] = rng.normal(mean, np.sqrt(variance), shape).astype(np.float32)
    return inputs


def _recipe(run: Run, registry: Registry) -> Recipe:
    text = run.conditions.recipe
    if run.kind is RunKind.submitted:
        raise RunError(
            f"the run {run.name!r} has no model",
            expected="a run that was trained here",
            found=f"the submission {text!r}, which has predictions only",
            fix="name another run",
        )
    try:
        recipe = parse_recipe(text, registry)
    except (RecipeError, PluginError) as error:
        raise RunError(
            f"the recipe {text!r} of the run {run.name!r} cannot be rebuilt",
            expected="the plugins that made the run",
            found=_one_line(error),
            fix="install the plugin version that made the run; `cxrbench plugins list` shows the "
            "installed plugins",
        ) from error
    if recipe.is_prior:
        raise RunError(
            f"the run {run.name!r} has no model",
            expected="a run with a recipe that uses images",
            found=f"the recipe {text!r}, which gives every image the same scores",
            fix="name another run",
        )
    return recipe


def _image_size(run: Run, recipe: Recipe) -> int | None:
    size = run.conditions.image_size
    if recipe.backbone is None:
        return None
    if size is None or not 1 <= size <= LARGEST_SIDE:
        raise _damaged(run, "run.json", "image_size, the side of the images in pixels", repr(size))
    return size


def _encoder(run: Run, feature: Feature) -> tuple[FittedEncoder, Statistics]:
    arrays, statistics = _statistics(run, f"encoders/{feature.name}.npz")
    try:
        fitted = type(feature.encoder).fitted.from_arrays(arrays)
    except Exception as error:  # a plugin's code: it may raise anything
        raise _other_part(run, f"the encoder of {feature.name!r}", error) from error
    return fitted, statistics


def _statistics(run: Run, name: str) -> tuple[dict[str, np.ndarray], Statistics]:
    """The arrays of a file of the run, and the mean and variance among them."""
    path = run.require_unchanged(name)
    try:
        arrays = read_arrays(path)
        mean, variance = arrays.pop("standardised_mean"), arrays.pop("standardised_variance")
        if mean.ndim != 1 or mean.shape != variance.shape:
            raise ValueError(f"statistics of shapes {mean.shape} and {variance.shape}")
        kinds = {array.dtype.kind for array in (mean, variance)}
        if kinds != {"f"} or any(array.dtype.kind == "c" for array in arrays.values()):
            raise ValueError("arrays of other types than a run writes")
    except (DamagedArrays, KeyError, ValueError) as error:
        raise _damaged(run, name, "plain arrays, with mean and variance", error) from error
    return arrays, Statistics(mean, variance)


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
        return build_top(
            trunk, recipe.fusion, statistics, labels=labels, seed=0, head=run.conditions.head
        )
    except Exception as error:  # a plugin's code: it may raise anything
        raise _other_part(run, "the network", error) from error


def _load_weights(run: Run, model: Any, path: Path) -> None:
    if model.count_params() != run.conditions.parameters:
        raise _other_part(
            run,
            "the network",
            f"{model.count_params():,} parameters instead of "
            f"{count_or_unknown(run.conditions.parameters)}",
        )
    try:
        with warnings.catch_warnings():
            # Keras only warns where it finds nothing to load, and leaves random numbers there.
            warnings.filterwarnings("error", message="(?s).*freshly-initialized")
            model.load_weights(path)
    except Exception as error:  # Keras and h5py raise nearly anything for a file that does not fit
        raise _other_part(run, "the network", error) from error


def _damaged(run: Run, name: str, expected: str, value: object) -> RunError:
    return RunError(
        f"{name} of the run {run.name!r} is damaged",
        expected=expected,
        found=_one_line(value),
        fix="run the same command with --force",
    )


def _other_part(run: Run, part: str, problem: object) -> RunError:
    return RunError(
        f"{part} of the run {run.name!r} does not fit the installed parts of "
        f"{run.conditions.recipe!r}",
        expected=f"the parts of cxrbench {run.conditions.version}, and the plugins of the run",
        found=_one_line(problem)[:500],
        fix="install the versions that made the run, or run the same command again",
    )


def _one_line(value: object) -> str:
    if isinstance(value, Exception):
        value = error_text(value).partition(": ")[2] or type(value).__name__
    return " ".join(str(value).split())
