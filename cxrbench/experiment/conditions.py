"""Everything that a score depends on, as plain values, and the keys made of it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cxrbench import __version__
from cxrbench.data.splits import PARTS
from cxrbench.experiment.material import Material
from cxrbench.interfaces import Dataset
from cxrbench.modeling.backend import hardware, load_keras
from cxrbench.recipe import Recipe
from cxrbench.runs.directory import MEASURED, digest_of, file_digest
from cxrbench.settings import AUGMENTATION_OPTIONS, Settings
from cxrbench.store.cache import identity_of

# Settings that say how training goes: the prior has none of them.
_TRAINING = (
    *("protocol", "epochs", "batch_size", "learning_rate", "patience", "augment", "activations"),
    *AUGMENTATION_OPTIONS,
)
# Settings that stand beside the others as what they came to: where a file or list lies, and what
# was asked for another backbone of the grid, is no condition.
_RESOLVED = (
    *("device", "devices", "precision", "engine"),
    *("weights", "image_size", "split", "split_seed"),
)
LIBRARIES = (
    "keras",
    "numpy",
    "scikit-learn",
    "scipy",
    "opencv-contrib-python-headless",
    "pandas",
)
BACKEND_LIBRARIES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


def run_conditions(
    recipe: Recipe, settings: Settings, seed: int, material: Material
) -> dict[str, Any]:
    """The conditions of one run, with its ``run_key``, ``row_key`` and ``board_key``.

    Runs with one ``row_key`` differ in nothing but the seed; a run is found again by its
    ``run_key``.
    """
    shaping = _shaping(recipe, settings, material)
    return {
        "run_key": digest_of({**shaping, "seed": seed}),
        "row_key": digest_of(shaping),
        "board_key": material.board_key,
        "seed": seed,
        "origin": MEASURED,
        "labels_left_out": [],
        **shaping,
        "dataset_options": _dataset_options(material.dataset),
        "citation": material.dataset.citation,
        "labels": list(material.cohort.label_names),
        "no_finding": material.cohort.no_finding,
        "labels_counted": [
            name
            for name, counts in zip(material.cohort.label_names, material.counted, strict=True)
            if counts
        ],
        **{f"{part}_images": len(material.rows(part)) for part in PARTS},
        "patients_known": material.cohort.patients_known,
        **{f"{part}_patients": _patients(material, part) for part in PARTS},
        "excluded": len(material.cohort.excluded) + len(material.prepared.excluded),
        "parts": [identity_of(part) for part in parts_of(recipe)],
        "versions": _versions(),
        "hardware": hardware("gpu" if settings.device == "gpu" else "cpu"),
    }


def checkpoint_key(conditions: Mapping[str, Any]) -> str:
    """Stands for what a training has to be continued with to give the same result."""
    names = ("run_key", "parts", "versions", "hardware")
    return digest_of({name: conditions[name] for name in names})


def _patients(material: Material, part: str) -> int | None:
    return len(set(material.patients(part))) if material.cohort.patients_known else None


def parts_of(recipe: Recipe) -> Iterator[Any]:
    """Backbone, extractors and encoders, fusion: everything whose code makes the model."""
    if recipe.backbone is not None:
        yield recipe.backbone
    for feature in recipe.features:
        yield feature.extractor
        yield feature.encoder
    if recipe.fusion is not None:
        yield recipe.fusion


def _shaping(recipe: Recipe, settings: Settings, material: Material) -> dict[str, Any]:
    told = settings.as_dict()
    left_out = {*_RESOLVED, *(_TRAINING if recipe.is_prior else ())}
    return {
        "recipe": recipe.text,
        **_backbone_conditions(recipe, settings),
        "protocol": "none" if recipe.is_prior else settings.protocol,
        "settings": {name: value for name, value in told.items() if name not in left_out},
        "dataset": material.dataset.name,
        "fingerprint": material.fingerprint,
        "split": settings.split.partition(":")[0],
        "split_seed": material.split.seed,
        "split_hash": material.split.hash,
        "backend": "none" if recipe.is_prior else load_keras().backend.backend(),
        "device": "none" if recipe.is_prior else settings.device,
        "devices": 1 if recipe.is_prior else settings.devices,
        "precision": "none" if recipe.is_prior else settings.precision,
        "engine": "none" if recipe.is_prior else settings.engine,
        "version": __version__,
    }


def _backbone_conditions(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """Which weights the backbone starts from, which layers train, and the image's side."""
    if recipe.backbone is None:
        trains = "nothing" if recipe.is_prior else "head"
        return {"weights": "none", "weights_sha256": None, "image_size": None, "trains": trains}
    weights = settings.weights_for(recipe.backbone.name)
    path = None if weights in (None, "imagenet") else Path(str(weights)).expanduser()
    if settings.protocol == "probe":
        trains = "head"
    else:
        trains = "all" if weights is None else f"from {recipe.backbone.freeze_at}"
    return {
        "weights": weights or "none" if path is None else path.name,
        "weights_sha256": None if path is None else file_digest(path),
        "image_size": settings.image_size or recipe.backbone.image_size,
        "trains": trains,
    }


def _versions() -> dict[str, str]:
    backend = BACKEND_LIBRARIES[load_keras().backend.backend()]
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in (*LIBRARIES, backend)},
    }


def _dataset_options(dataset: Dataset) -> dict[str, Any]:
    """All but where the data lie, which is no condition: the fingerprint says what they are."""
    options = asdict(dataset)  # type: ignore[call-overload]
    return {name: value for name, value in options.items() if name not in dataset.path_options}
