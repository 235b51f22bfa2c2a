"""One recipe, one seed: encode, assemble, train, predict."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.data.encode import encode
from cxrbench.data.stores import FORMAT
from cxrbench.interfaces import Display, FittedEncoder
from cxrbench.material import Material
from cxrbench.modeling.assemble import (
    Network,
    Statistics,
    build_top,
    build_trunk,
    feature_statistics,
    freeze_below,
)
from cxrbench.modeling.backend import choose_device, load_keras
from cxrbench.modeling.embed import embed, network_digest
from cxrbench.modeling.inputs import Inputs
from cxrbench.modeling.predict import predict_logits, sigmoid
from cxrbench.modeling.train import Training, TrainSettings, train
from cxrbench.recipe import Feature, Recipe
from cxrbench.settings import Settings


@dataclass(frozen=True, eq=False)
class EncodedFeature:
    """One feature of a recipe: its vectors (N, D), what was fitted, and training statistics."""

    vectors: np.ndarray
    fitted: FittedEncoder
    statistics: Statistics


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run produced; ``val`` and ``test`` are probabilities (n, L) float32.

    ``model`` maps pixels and feature vectors to probabilities; it and ``training`` are None for
    the prior. ``seconds`` maps the steps of the run to their wall time.
    """

    val: np.ndarray
    test: np.ndarray
    model: Any | None = None
    training: Training | None = None
    encoders: Mapping[str, EncodedFeature] = field(default_factory=dict)
    parameters: int = 0
    trainable_parameters: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


def predict_prior(material: Material) -> Outcome:
    """Each label's share among the training images where it is known, for every image alike."""
    labels = material.cohort.labels[material.rows("train")]
    known = np.maximum((~np.isnan(labels)).sum(axis=0), 1)
    prevalence = (np.nansum(labels, axis=0) / known).astype(np.float32)
    return Outcome(
        val=np.tile(prevalence, (len(material.rows("val")), 1)),
        test=np.tile(prevalence, (len(material.rows("test")), 1)),
    )


def fit_and_predict(
    recipe: Recipe,
    settings: Settings,
    seed: int,
    material: Material,
    *,
    cache: Path,
    display: Display,
) -> Outcome:
    """Train the recipe on the training split and predict the validation and test splits."""
    clock = _Clock()
    encoders = {
        feature.name: encode_feature(feature, seed, material, cache, display)
        for feature in recipe.features
    }
    clock.stop("encode")
    network = _network(recipe, settings, seed, material, encoders)
    model, image = _training_view(network, recipe, settings, material, cache, display)
    clock.stop(
        "embed" if network.trunk is not None and settings.protocol == "probe" else "assemble"
    )
    inputs = Inputs(
        image, {name: told.vectors for name, told in encoders.items()}, material.cohort.labels
    )
    training = train(
        model,
        inputs,
        train_rows=material.rows("train"),
        val_rows=material.rows("val"),
        settings=_train_settings(settings, seed),
        display=display,
    )
    clock.stop("train")
    val, test = (
        sigmoid(predict_logits(model, inputs, material.rows(part), settings.batch_size))
        for part in ("val", "test")
    )
    clock.stop("predict")
    whole = network.whole(probabilities=True)
    return Outcome(
        val=val,
        test=test,
        model=whole,
        training=training,
        encoders=encoders,
        parameters=whole.count_params(),
        trainable_parameters=sum(int(np.prod(w.shape)) for w in model.trainable_weights),
        seconds=clock.laps,
    )


class _Clock:
    def __init__(self) -> None:
        self._since = time.perf_counter()
        self.laps: dict[str, float] = {}

    def stop(self, step: str) -> None:
        now = time.perf_counter()
        self.laps[step] = now - self._since
        self._since = now


def encode_feature(
    feature: Feature, seed: int, material: Material, cache: Path, display: Display
) -> EncodedFeature:
    """The feature vectors of every image, from an encoder fitted on the training split."""
    store = material.prepared.features[feature.extractor]
    train_rows = material.rows("train")
    encoded = encode(
        store.descriptors,
        len(material.cohort),
        feature.extractor,
        feature.encoder,
        train_rows,
        seed=seed,
        store_key=store.folder.name,
        cache=cache,
        display=display,
    )
    return EncodedFeature(
        encoded.vectors, encoded.fitted, feature_statistics(encoded.vectors, train_rows)
    )


def _network(
    recipe: Recipe,
    settings: Settings,
    seed: int,
    material: Material,
    encoders: Mapping[str, EncodedFeature],
) -> Network:
    trunk = None
    if recipe.backbone is not None:
        weights = settings.weights_for(recipe.backbone.name)
        size = settings.image_size or recipe.backbone.image_size
        trunk = build_trunk(recipe.backbone, size, weights, seed)
        if settings.protocol == "finetune" and weights is not None:
            freeze_below(trunk, recipe.backbone.freeze_at)
    assert recipe.fusion is not None
    return build_top(
        trunk,
        recipe.fusion,
        {name: told.statistics for name, told in encoders.items()},
        labels=len(material.cohort.label_names),
        seed=seed,
    )


def _training_view(
    network: Network,
    recipe: Recipe,
    settings: Settings,
    material: Material,
    cache: Path,
    display: Display,
) -> tuple[Any, np.ndarray | None]:
    """The model to train and its image input: all of it on pixels, or the top on embeddings."""
    if network.trunk is None or recipe.backbone is None:
        return network.top, None
    size = settings.image_size or recipe.backbone.image_size
    pixels = material.prepared.pixels[size]
    if settings.protocol == "finetune":
        return network.whole(), pixels
    embedder = network.embedder()
    embedded = embed(
        embedder,
        pixels,
        about={
            "images": material.images_key,
            **_pixel_conditions(settings, size),
            "network": network_digest(embedder),
            **_computing_conditions(settings),
        },
        cache=cache,
        display=display,
    )
    return network.top, embedded


def _pixel_conditions(settings: Settings, size: int) -> dict[str, Any]:
    """With the images, all that shapes the stored pixels."""
    import cv2

    return {
        "store": FORMAT,
        "opencv": cv2.__version__,
        "size": size,
        "fit": settings.fit,
        "clahe": settings.clahe,
        "max_pixels": settings.max_pixels,
    }


def _computing_conditions(settings: Settings) -> dict[str, Any]:
    """With pixels and network, all that shapes an embedding: a GPU's last digits are others."""
    keras = load_keras()
    return {
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "device": choose_device(settings.device),
        "precision": keras.config.dtype_policy().name,
    }


def _train_settings(settings: Settings, seed: int) -> TrainSettings:
    return TrainSettings(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        patience=settings.patience,
        seed=seed,
    )
