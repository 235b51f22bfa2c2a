"""One recipe, one seed: encode, assemble, train, predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cxrbench.experiment.cohort import EncodedFeature, PreparedCohort, encode_feature
from cxrbench.experiment.conditions import computing_conditions
from cxrbench.experiment.plans import keeps_activations, standardises_image
from cxrbench.experiment.stages import Clock
from cxrbench.interfaces import Display
from cxrbench.modeling.assemble import (
    Network,
    Statistics,
    build_top,
    build_trunk,
    embedder_of,
    freeze_below,
    image_statistics,
    split_trunk,
)
from cxrbench.modeling.backend import hardware
from cxrbench.modeling.batch_size import find_batch_size, memory_advice
from cxrbench.modeling.checkpoint import Checkpoints
from cxrbench.modeling.embed import embed, embedding_predictor, network_digest
from cxrbench.modeling.inputs import Inputs, other_patients
from cxrbench.modeling.linear import LinearHead, fit_linear_head
from cxrbench.modeling.predict import keras_predictor, predict_logits, sigmoid
from cxrbench.modeling.train import Training, TrainSettings, train, trial_step
from cxrbench.parameters import changed, spelt
from cxrbench.recipe import Recipe
from cxrbench.settings import Settings
from cxrbench.store.cache import kept_choice, purpose_for
from cxrbench.store.stores import FORMAT


@dataclass(frozen=True, eq=False)
class RunOutcome:
    """The results of one run; ``val`` and ``test`` are probabilities (n, L) float32.

    ``model`` maps pixels and feature vectors to probabilities; it and ``training`` are None for
    the prior, ``linear_head`` for the head ``mlp``. ``image_statistics`` are those by which the
    output of a frozen backbone is standardised for the ``mlp``. ``seconds`` maps the stages of
    this module to their wall time.
    """

    val: np.ndarray
    test: np.ndarray
    model: Any | None = None
    training: Training | None = None
    linear_head: LinearHead | None = None
    image_statistics: Statistics | None = None
    encoders: Mapping[str, EncodedFeature] = field(default_factory=dict)
    parameters: int = 0
    trainable_parameters: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Task:
    """One recipe with its settings and one seed, to be trained on a prepared cohort."""

    recipe: Recipe
    settings: Settings
    seed: int
    data: PreparedCohort
    cache: Path
    display: Display

    @property
    def image_size(self) -> int:
        """The side of the images in pixels; the recipe has a backbone."""
        assert self.recipe.backbone is not None
        return self.settings.image_size or self.recipe.backbone.image_size

    @property
    def train_settings(self) -> TrainSettings:
        settings = self.settings
        return TrainSettings(
            epochs=settings.epochs,
            batch_size=0 if settings.batch_size == "auto" else settings.batch_size,
            learning_rate=settings.learning_rate,
            patience=settings.patience,
            min_steps=settings.min_steps,
            seed=self.seed,
            augmentation=settings.augmentation,
            devices=settings.devices,
        )


@dataclass(frozen=True, eq=False)
class _Trainee:
    """The model that trains with its inputs, and the model that predicts afterwards with its own.

    The two differ if training starts from stored activations. ``stage`` names the work of making
    this.
    """

    model: Any
    inputs: Inputs
    predicting_model: Any
    predicting_inputs: Inputs
    stage: str


def predict_prior(data: PreparedCohort) -> RunOutcome:
    """Predict each label's share of the training images on which it is known, for every image."""
    val, test = (np.tile(data.prevalence, (len(data.rows(part)), 1)) for part in ("val", "test"))
    return RunOutcome(val=val, test=test)


def fit_and_predict(
    recipe: Recipe,
    settings: Settings,
    seed: int,
    data: PreparedCohort,
    *,
    cache: Path,
    display: Display,
    checkpoints: Checkpoints | None = None,
) -> RunOutcome:
    """Train the recipe on the training split and predict the validation and test splits."""
    clock = Clock()
    task = _Task(recipe, settings, seed, data, cache, display)
    encoders = _encode(task)
    clock.stop("encode")
    network = _build(task, encoders)
    trainee = _make_trainee(task, network, encoders)
    clock.stop(trainee.stage)
    head = None
    if settings.head == "linear":
        head = _fit_linear_head(task, trainee, encoders)
        clock.stop("train")
        training = Training(seconds=clock.laps["train"])
    else:
        training = train(
            trainee.model,
            trainee.inputs,
            train_rows=data.rows("train"),
            val_rows=data.rows("val"),
            settings=task.train_settings,
            display=display,
            checkpoints=checkpoints,
        )
        clock.stop("train")
    val, test = _predict(task, trainee)
    clock.stop("predict")
    model = network.whole(probabilities=True)
    return RunOutcome(
        val=val,
        test=test,
        model=model,
        training=training,
        linear_head=head,
        image_statistics=network.image_statistics,
        encoders=encoders,
        parameters=model.count_params(),
        trainable_parameters=sum(int(np.prod(w.shape)) for w in trainee.model.trainable_weights),
        seconds=clock.laps,
    )


def settle_batch_size(
    recipe: Recipe, settings: Settings, data: PreparedCohort, *, cache: Path, display: Display
) -> int:
    """Return the batch size that suits this recipe on this machine; measured once, then cached."""
    task = _Task(recipe, settings, 0, data, cache, display)
    encoders = _encode(task)
    trainee = _make_trainee(task, _build(task, encoders), encoders)
    rows = data.rows("train")

    def find() -> int:
        display.say(f"{recipe.text}: measuring batch sizes")
        step = trial_step(trainee.model, trainee.inputs, rows, task.train_settings)
        with memory_advice("measuring batch sizes"):
            return find_batch_size(step, len(rows), display, multiple_of=settings.devices)

    about = {
        "recipe": recipe.unpermuted.text,  # a control is trained like its recipe
        "network": network_digest(trainee.model, weights=False),
        "inputs": {n: list(v.shape[1:]) for n, v in trainee.inputs.gather(rows[:1]).items()},
        "images": len(rows),
        "augmented": settings.augmentation.changes_images,
        "devices": settings.devices,
        "hardware": hardware("gpu" if settings.device == "gpu" else "cpu"),
        **computing_conditions(settings),
    }
    size = kept_choice("batch-sizes", about, find, cache=cache, display=display)
    display.say(f"{recipe.text}: batch size {size}")
    return size


def _encode(task: _Task) -> dict[str, EncodedFeature]:
    return {
        feature.name: encode_feature(feature, task.seed, task.data, task.cache, task.display)
        for feature in task.recipe.features
    }


def _build(task: _Task, encoders: Mapping[str, EncodedFeature]) -> Network:
    trunk, backbone = None, task.recipe.backbone
    if backbone is not None:
        weights = task.settings.weights_for(backbone.name)
        trunk = build_trunk(backbone, task.image_size, weights, task.seed)
        if task.settings.protocol == "finetune" and weights is not None:
            freeze_below(trunk, backbone.freeze_at)
    fusion = task.recipe.fusion
    assert fusion is not None
    statistics = {name: encoder.statistics for name, encoder in encoders.items()}
    if standardises_image(task.recipe, task.settings):
        embedder = embedder_of(trunk, pools=fusion.image_input == "embedding")
        outputs = _outputs(task, embedder, "embeddings")
        statistics["image"] = image_statistics(outputs, task.data.rows("train"))
    return build_top(
        trunk,
        fusion,
        statistics,
        labels=len(task.data.cohort.label_names),
        seed=task.seed,
        head=task.settings.head,
        l2=task.settings.l2,
    )


def _fit_linear_head(
    task: _Task, trainee: _Trainee, encoders: Mapping[str, EncodedFeature]
) -> LinearHead:
    """Fit the head on the training split, and give the model its weights."""
    rows = task.data.rows("train")
    batch = trainee.inputs.gather(rows)
    backbone = task.recipe.backbone
    image = {} if backbone is None else {backbone.name: batch["image"]}
    features = {
        name: encoder.statistics.standardise(batch[name]) for name, encoder in encoders.items()
    }
    head = fit_linear_head(
        image | features,
        task.data.cohort.labels[rows],
        task.data.patients("train"),
        seed=task.seed,
        late=task.recipe.linear_head == "late",
    )
    trainee.model.get_layer("logits").set_weights([head.kernel, head.bias])
    left_out = f", without {', '.join(head.left_out)}" if head.left_out else ""
    penalty = ", ".join(f"{name} {weight:.2f}" for name, weight in head.weights.items())
    penalty = f"weights {penalty}" if penalty else f"penalty {head.strength:g}"
    task.display.say(f"  linear head: {penalty}{left_out}")
    return head


def _make_trainee(
    task: _Task, network: Network, encoders: Mapping[str, EncodedFeature]
) -> _Trainee:
    """All of the model on pixels, or the part that trains on the outputs of the frozen part."""
    inputs = _feature_inputs(task, encoders)
    trunk, backbone = network.trunk, task.recipe.backbone
    if trunk is None or backbone is None:
        return _Trainee(network.top, inputs, network.top, inputs, "assemble")
    if task.settings.protocol == "probe":
        inputs = replace(inputs, image=_outputs(task, network.embedder(), "embeddings"))
        return _Trainee(network.top, inputs, network.top, inputs, "embed")
    whole, prepared = network.whole(), task.data.prepared
    on_pixels = replace(
        inputs,
        image=prepared.pixels[task.image_size],
        clahe=prepared.clahe_pixels.get(task.image_size),
    )
    halves = None
    if keeps_activations(task.recipe, task.settings):
        halves = split_trunk(trunk, backbone.freeze_at)
    if halves is None:
        return _Trainee(whole, on_pixels, whole, on_pixels, "assemble")
    below, above = halves
    on_activations = replace(inputs, image=_outputs(task, below, "activations"))
    model = replace(network, trunk=above).whole()
    # Half precision is good enough for training, but the scores are those of the saved model.
    return _Trainee(model, on_activations, whole, on_pixels, "activations")


def _feature_inputs(task: _Task, encoders: Mapping[str, EncodedFeature]) -> Inputs:
    """All inputs but the image."""
    data, sources = task.data, {}
    if task.recipe.permuted_inputs:
        others = other_patients(
            data.rows("train"),
            data.patients("train"),
            images=len(data.cohort),
            seed=task.seed,
        )
        # One permutation for all: inputs that are permuted together stay together.
        sources = dict.fromkeys(task.recipe.permuted_inputs, others)
    vectors = {name: encoder.vectors for name, encoder in encoders.items()}
    return Inputs(None, vectors, data.cohort.labels, sources=sources)


def _outputs(task: _Task, frozen: Any, kind: Literal["embeddings", "activations"]) -> np.ndarray:
    """The outputs of a frozen network for all images, from the cache or computed now."""
    import cv2

    backbone, settings, size = task.recipe.backbone, task.settings, task.image_size
    pixels = task.data.prepared.pixels[size]
    text = spelt(backbone.name, changed(backbone)) if backbone else ""
    return embed(
        lambda: embedding_predictor(frozen, pixels, settings.engine),
        pixels,
        output_shape=frozen.output_shape[1:],
        about={
            "images": task.data.images_key,
            "store": FORMAT,
            "opencv": cv2.__version__,
            "size": size,
            "fit": settings.fit,
            "clahe": settings.clahe,
            "max_pixels": settings.max_pixels,
            **computing_conditions(settings),
            "network": network_digest(frozen),
            "engine": settings.engine,
        },
        cache=task.cache,
        display=task.display,
        dtype=np.float32 if kind == "embeddings" else np.float16,
        purpose=purpose_for(task.data.dataset, f"{text} {kind} at {size}"),
    )


def _predict(task: _Task, trainee: _Trainee) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the validation and of the test split."""
    inputs, batch = trainee.predicting_inputs, task.train_settings.batch_size
    predict = keras_predictor(trainee.predicting_model, inputs)
    with memory_advice(f"predicting in batches of {batch}"):
        val, test = (
            sigmoid(predict_logits(predict, inputs, task.data.rows(part), batch))
            for part in ("val", "test")
        )
    return val, test
