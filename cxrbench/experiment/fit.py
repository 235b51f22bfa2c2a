"""One recipe, one seed: encode, assemble, train, predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.experiment.material import Material
from cxrbench.experiment.stages import Clock
from cxrbench.interfaces import Display, FittedEncoder
from cxrbench.modeling.assemble import (
    Network,
    Statistics,
    build_top,
    build_trunk,
    feature_statistics,
    freeze_below,
    split_trunk,
)
from cxrbench.modeling.backend import hardware, load_keras, memory_advice
from cxrbench.modeling.batch_size import find_batch_size
from cxrbench.modeling.checkpoint import Checkpoints
from cxrbench.modeling.embed import embed, embedding_predictor, network_digest
from cxrbench.modeling.inputs import Inputs, other_patients
from cxrbench.modeling.predict import keras_predictor, predict_logits, sigmoid
from cxrbench.modeling.train import Training, TrainSettings, train, trial_step
from cxrbench.parameters import changed, spelt
from cxrbench.recipe import Feature, Recipe
from cxrbench.settings import Settings
from cxrbench.store.choices import kept_choice
from cxrbench.store.encode import encode
from cxrbench.store.purpose import purpose_for
from cxrbench.store.stores import FORMAT


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
    the prior. ``seconds`` maps the stages that are in here to their wall time.
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
    checkpoints: Checkpoints | None = None,
) -> Outcome:
    """Train the recipe on the training split and predict the validation and test splits."""
    clock = Clock()
    encoders = {
        feature.name: encode_feature(feature, seed, material, cache, display)
        for feature in recipe.features
    }
    clock.stop("encode")
    network = _network(recipe, settings, seed, material, encoders)
    own = _own_inputs(recipe, seed, material, encoders)
    trained = _training_view(network, recipe, settings, material, own, cache, display)
    clock.stop(trained.step)
    train_settings = _train_settings(settings, seed)
    training = train(
        trained.model,
        trained.inputs,
        train_rows=material.rows("train"),
        val_rows=material.rows("val"),
        settings=train_settings,
        display=display,
        checkpoints=checkpoints,
    )
    clock.stop("train")
    predict = keras_predictor(trained.predicting, trained.predicted)
    batch = train_settings.batch_size
    with memory_advice(f"predicting in batches of {batch}"):
        val, test = (
            sigmoid(predict_logits(predict, trained.predicted, material.rows(part), batch))
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
        trainable_parameters=sum(int(np.prod(w.shape)) for w in trained.model.trainable_weights),
        seconds=clock.laps,
    )


def settle_batch_size(
    recipe: Recipe, settings: Settings, material: Material, *, cache: Path, display: Display
) -> int:
    """The batch size that suits this recipe on this machine, found once and kept in the cache."""
    seed = 0
    encoders = {
        feature.name: encode_feature(feature, seed, material, cache, display)
        for feature in recipe.features
    }
    network = _network(recipe, settings, seed, material, encoders)
    own = _own_inputs(recipe, seed, material, encoders)
    trained = _training_view(network, recipe, settings, material, own, cache, display)
    rows = material.rows("train")

    def find() -> int:
        display.say(f"{recipe.text}: looking for the batch size")
        step = trial_step(trained.model, trained.inputs, rows, _train_settings(settings, seed))
        with memory_advice("looking for the batch size"):
            return find_batch_size(step, len(rows), display, multiple_of=settings.devices)

    about = {
        "recipe": recipe.unpermuted.text,  # a control is trained as what it is a control of
        "network": network_digest(trained.model, weights=False),
        "inputs": {n: list(v.shape[1:]) for n, v in trained.inputs.gather(rows[:1]).items()},
        "images": len(rows),
        "augmented": settings.augmentation.changes_images,
        "devices": settings.devices,
        "hardware": hardware("gpu" if settings.device == "gpu" else "cpu"),
        **_computing_conditions(settings),
    }
    chosen = kept_choice("batch-sizes", about, find, cache=cache, display=display)
    display.say(f"{recipe.text}: batch size {chosen}")
    return chosen


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
        purpose=purpose_for(material.dataset, f"{feature.text} feature vectors, seed {seed}"),
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


@dataclass(frozen=True, eq=False)
class _Trained:
    """What is trained on which inputs, and what predicts in the end; ``step`` names the work."""

    model: Any
    inputs: Inputs
    predicting: Any
    predicted: Inputs
    step: str


def _own_inputs(
    recipe: Recipe, seed: int, material: Material, encoders: Mapping[str, EncodedFeature]
) -> Inputs:
    """What does not depend on how the image is fed: all inputs but the image."""
    sources = {}
    if recipe.permuted_inputs:
        others = other_patients(
            material.rows("train"),
            material.patients("train"),
            images=len(material.cohort),
            seed=seed,
        )
        # One for all: inputs that are permuted together stay together.
        sources = dict.fromkeys(recipe.permuted_inputs, others)
    vectors = {name: told.vectors for name, told in encoders.items()}
    return Inputs(None, vectors, material.cohort.labels, sources=sources)


def _training_view(
    network: Network,
    recipe: Recipe,
    settings: Settings,
    material: Material,
    own: Inputs,
    cache: Path,
    display: Display,
) -> _Trained:
    """All of the model on pixels, or what trains of it on what the frozen part gives."""
    if network.trunk is None or recipe.backbone is None:
        return _Trained(network.top, own, network.top, own, "assemble")
    size = settings.image_size or recipe.backbone.image_size
    pixels = material.prepared.pixels[size]
    about = {
        "images": material.images_key,
        **_pixel_conditions(settings, size),
        **_computing_conditions(settings),
    }

    backbone = spelt(recipe.backbone.name, changed(recipe.backbone))

    def keep(frozen: Any, what: str, dtype: type[np.floating[Any]]) -> np.ndarray:
        engine = settings.engine
        return embed(
            lambda: embedding_predictor(frozen, pixels, engine),
            pixels,
            output_shape=frozen.output_shape[1:],
            about={**about, "network": network_digest(frozen), "engine": engine},
            cache=cache,
            display=display,
            dtype=dtype,
            purpose=purpose_for(material.dataset, f"{backbone} {what} at {size}"),
        )

    if settings.protocol == "probe":
        kept = keep(network.embedder(), "embeddings", np.float32)
        inputs = replace(own, image=kept)
        return _Trained(network.top, inputs, network.top, inputs, "embed")
    whole = network.whole()
    on_pixels = replace(own, image=pixels, clahe=material.prepared.clahe_pixels.get(size))
    halves = None
    if keeps_activations(recipe, settings):
        halves = split_trunk(network.trunk, recipe.backbone.freeze_at)
    if halves is None:
        return _Trained(whole, on_pixels, whole, on_pixels, "assemble")
    below, above = halves
    kept = keep(below, "activations", np.float16)
    model = replace(network, trunk=above).whole()
    # Half precision is good enough to train on, but the scores are those of the model that is kept.
    return _Trained(model, replace(own, image=kept), whole, on_pixels, "activations")


def keeps_activations(recipe: Recipe, settings: Settings) -> bool:
    """Whether the same image gives the same activation in every epoch, and it is worth keeping."""
    return (
        recipe.backbone is not None
        and settings.activations == "cache"
        and settings.weights_for(recipe.backbone.name) is not None
        and not settings.augmentation.changes_images
    )


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
        "device": settings.device,
        "precision": settings.precision,
    }


def _train_settings(settings: Settings, seed: int) -> TrainSettings:
    return TrainSettings(
        epochs=settings.epochs,
        batch_size=0 if settings.batch_size == "auto" else settings.batch_size,
        learning_rate=settings.learning_rate,
        patience=settings.patience,
        seed=seed,
        augmentation=settings.augmentation,
        devices=settings.devices,
    )
