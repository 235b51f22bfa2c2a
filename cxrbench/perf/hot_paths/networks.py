"""Paths of networks: augmentation, a backbone's forward pass, a training step, prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .path import Films, HotPath

if TYPE_CHECKING:
    from cxrbench.recipe import Recipe

_LABELS = 15
_FEATURE_LENGTH = 256


def _augment(name: str, films: Films) -> HotPath:
    """One kind of variation by its name, or ``medical``, all of them as a run has them."""
    from cxrbench.modeling.augment import MEDICAL, PARAMETERS, Augmentation, draw
    from cxrbench.modeling.backend import load_keras

    kinds = {} if name == "medical" else {name: getattr(MEDICAL, name)}
    wanted = Augmentation(**kinds) if kinds else MEDICAL
    keras = load_keras()
    from cxrbench.modeling.pixels import Pixels

    side, count = films.network_size, films.batch_size
    pixels = keras.Input((side, side), dtype="uint8")
    parameters = keras.Input((len(PARAMETERS),))
    model = keras.Model([pixels, parameters], Pixels(dtype="float32")(pixels, parameters))
    stored = np.stack(films.fitted(count, side))
    drawn = draw(wanted, seed=0, epoch=0, images=count).parameters
    return HotPath(
        f"augment/{name}", "train", count, lambda: model.predict_on_batch([stored, drawn])
    )


def _forward(part: str, films: Films) -> HotPath:
    from cxrbench.modeling.assemble import build_trunk

    backbone = _recipe(part).backbone
    assert backbone is not None
    trunk = build_trunk(backbone, films.network_size, None, 0)
    count = films.batch_size
    grey = np.stack(films.fitted(count, films.network_size))[..., None].astype(np.float32)
    return HotPath(f"forward/{part}", "embed", count, lambda: trunk.predict_on_batch(grey))


def _train_step(text: str, films: Films) -> HotPath:
    from cxrbench.modeling.backend import jit_compile, load_keras
    from cxrbench.modeling.train import masked_cross_entropy

    model = _model(_recipe(text), films)
    optimizer = load_keras().optimizers.Adam(1e-4)
    model.compile(optimizer=optimizer, loss=masked_cross_entropy, jit_compile=jit_compile())
    optimizer.build(model.trainable_variables)
    inputs = _inputs(model, films)
    labels = np.zeros((films.batch_size, _LABELS), np.float32)
    return HotPath(
        f"train-step/{text}",
        "train",
        films.batch_size,
        lambda: float(model.train_on_batch(inputs, labels)),
    )


def _predict(text: str, films: Films) -> HotPath:
    model = _model(_recipe(text), films)
    inputs = _inputs(model, films)
    return HotPath(
        f"predict/{text}", "predict", films.batch_size, lambda: model.predict_on_batch(inputs)
    )


FAMILIES: Mapping[str, Callable[[str, Films], HotPath]] = {
    "augment": _augment,
    "forward": _forward,
    "train-step": _train_step,
    "predict": _predict,
}


def _recipe(text: str) -> Recipe:
    from cxrbench.recipe import parse_recipe
    from cxrbench.registry import load_registry

    return parse_recipe(text, load_registry())


def _model(recipe: Recipe, films: Films) -> Any:
    """The whole model on stored pixels, as training feeds it, its features' vectors made up."""
    from cxrbench.modeling.assemble import Statistics, build_top, build_trunk
    from cxrbench.modeling.view import training_view

    size = films.network_size
    trunk = None if recipe.backbone is None else build_trunk(recipe.backbone, size, None, 0)
    known = Statistics(np.zeros(_FEATURE_LENGTH, np.float32), np.ones(_FEATURE_LENGTH, np.float32))
    told = {feature.name: known for feature in recipe.features}
    assert recipe.fusion is not None
    network = build_top(trunk, recipe.fusion, told, labels=_LABELS, seed=0)
    return training_view(
        network.whole(), image_size=size if trunk is not None else None, augmented=False
    )


def _inputs(model: Any, films: Films) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {
        tensor.name: rng.normal(size=(films.batch_size, _FEATURE_LENGTH)).astype(np.float32)
        for tensor in model.inputs
        if tensor.name != "image"
    }
    if any(tensor.name == "image" for tensor in model.inputs):
        made["image"] = np.stack(films.fitted(films.batch_size, films.network_size))
    return made
