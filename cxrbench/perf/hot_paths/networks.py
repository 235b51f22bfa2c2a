"""Paths of networks: augmentation, a backbone's forward pass, a training step, prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .path import HotPath, ImageSet, load

if TYPE_CHECKING:
    from cxrbench.recipe import Recipe

_LABELS = 15
_FEATURE_LENGTH = 256


def _augment(name: str, films: ImageSet) -> HotPath:
    """One kind of variation by its name, or ``medical``, all of them as a run has them."""
    from cxrbench.modeling.augment import MEDICAL, PARAMETERS, Augmentation, draw
    from cxrbench.modeling.backend import load_keras

    kinds = {} if name == "medical" else {name: getattr(MEDICAL, name)}
    augmentation = Augmentation(**kinds) if kinds else MEDICAL
    keras = load_keras()
    from cxrbench.modeling.pixels import Pixels

    side, count = films.network_size, films.batch_size
    with _computing(films):
        pixels = keras.Input((side, side), dtype="uint8")
        parameters = keras.Input((len(PARAMETERS),))
        model = keras.Model([pixels, parameters], Pixels(dtype="float32")(pixels, parameters))
    stored = np.stack(films.fitted(count, side))
    drawn = draw(augmentation, seed=0, epoch=0, images=count).parameters
    return _path(f"augment/{name}", "train", films, lambda: model.predict_on_batch([stored, drawn]))


def _forward(part: str, films: ImageSet) -> HotPath:
    from cxrbench.modeling.assemble import build_trunk

    backbone = _recipe(part).backbone
    assert backbone is not None
    with _computing(films):
        trunk = build_trunk(backbone, films.network_size, None, 0)
    pictures = films.fitted(films.batch_size, films.network_size)
    grey = np.stack(pictures)[..., None].astype(np.float32)
    return _path(f"forward/{part}", "embed", films, lambda: trunk.predict_on_batch(grey))


def _train_step(text: str, films: ImageSet) -> HotPath:
    from cxrbench.modeling.backend import load_keras
    from cxrbench.modeling.train import masked_cross_entropy

    keras = load_keras()
    with _computing(films):
        model = _model(_recipe(text), films)
        optimizer = keras.optimizers.Adam(1e-4)
        model.compile(optimizer=optimizer, loss=masked_cross_entropy)
        optimizer.build(model.trainable_variables)
    inputs = _inputs(model, films)
    labels = np.zeros((films.batch_size, _LABELS), np.float32)

    def call() -> None:
        model.train_on_batch(inputs, labels)
        # A GPU has the loss before the weights: the step is done when the last of them are here.
        keras.ops.convert_to_numpy(model.trainable_variables[-1])

    return _path(f"train-step/{text}", "train", films, call)


def _predict(text: str, films: ImageSet) -> HotPath:
    with _computing(films):
        model = _model(_recipe(text), films)
    inputs = _inputs(model, films)
    return _path(f"predict/{text}", "predict", films, lambda: model.predict_on_batch(inputs))


FAMILIES: Mapping[str, Callable[[str, ImageSet], HotPath]] = {
    "augment": _augment,
    "forward": _forward,
    "train-step": _train_step,
    "predict": _predict,
}


@contextmanager
def _computing(films: ImageSet) -> Iterator[None]:
    """Networks are built here where, and as precisely as, a run with this device has them."""
    from cxrbench.modeling.backend import (
        choose_device,
        choose_precision,
        device_scope,
        precision_scope,
    )

    device = choose_device(films.device)
    with device_scope(device), precision_scope(choose_precision("auto", device)):
        yield


def _path(name: str, step: str, films: ImageSet, work: Callable[[], object]) -> HotPath:
    """A path of whole batches, which are called for on the device that the network is on."""
    from cxrbench.modeling.backend import choose_device, device_scope, gpu_names

    device = choose_device(films.device)

    def call() -> None:
        with device_scope(device):
            work()

    processor = gpu_names()[0] if device == "gpu" else "cpu"
    return HotPath(name, step, films.batch_size, call, processor)


def _recipe(text: str) -> Recipe:
    from cxrbench.recipe import parse_recipe
    from cxrbench.registry import load_registry

    return parse_recipe(text, load_registry())


def _model(recipe: Recipe, films: ImageSet) -> Any:
    """The whole model on stored pixels, as training feeds it, its features' vectors made up."""
    from cxrbench.modeling.assemble import Statistics, build_top, build_trunk

    size = films.network_size
    trunk = None if recipe.backbone is None else build_trunk(recipe.backbone, size, None, 0)
    known = Statistics(np.zeros(_FEATURE_LENGTH, np.float32), np.ones(_FEATURE_LENGTH, np.float32))
    statistics = {feature.name: known for feature in recipe.features}
    assert recipe.fusion is not None
    network = build_top(trunk, recipe.fusion, statistics, labels=_LABELS, seed=0)
    training_view = load("training_view")
    view = training_view(
        network.whole(), image_size=size if trunk is not None else None, augmented=False
    )
    return view


def _inputs(model: Any, films: ImageSet) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs: dict[str, np.ndarray] = {
        tensor.name: rng.normal(size=(films.batch_size, _FEATURE_LENGTH)).astype(np.float32)
        for tensor in model.inputs
        if tensor.name != "image"
    }
    if any(tensor.name == "image" for tensor in model.inputs):
        inputs["image"] = np.stack(films.fitted(films.batch_size, films.network_size))
    return inputs
