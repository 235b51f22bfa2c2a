"""Everything that a score depends on, as plain values, and the keys made of it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cxrbench import __version__
from cxrbench.data.splits import PARTS, Split
from cxrbench.experiment.cohort import PreparedCohort
from cxrbench.experiment.plans import standardises_image
from cxrbench.interfaces import Cohort, Dataset
from cxrbench.modeling.backend import backend_name, hardware, load_keras
from cxrbench.output.files import digest_of, file_digest
from cxrbench.recipe import Recipe
from cxrbench.runs.assessment import Scoring
from cxrbench.runs.conditions import Conditions
from cxrbench.runs.predictions import TestSet
from cxrbench.settings import AUGMENTATION_OPTIONS, Settings
from cxrbench.store.cache import identity_of

# Settings that say how training goes: the prior has none of them.
_TRAINING = (
    *(
        "protocol",
        "epochs",
        "batch_size",
        "learning_rate",
        "patience",
        "min_steps",
        "l2",
        "augment",
        "activations",
    ),
    *AUGMENTATION_OPTIONS,
)
# Settings whose resolved values are conditions instead. Where a file or a list lies is no
# condition, and neither are the weights of another backbone of the grid.
_RESOLVED = (
    *("device", "devices", "precision", "engine", "head"),
    *("weights", "image_size", "split", "split_seed", "allow_overlap"),
)
NOT_COMPUTED: Mapping[str, Any] = MappingProxyType(
    {"protocol": "none", "head": "none", "device": "none", "devices": 1}
    | {"precision": "none", "engine": "none", "backend": "none"}
)
"""The conditions of predictions that no network of ours computed."""
LIBRARIES = (
    *("keras", "numpy", "scikit-learn", "scipy"),
    *("opencv-contrib-python-headless", "pandas"),
)


def run_conditions(
    recipe: Recipe, settings: Settings, seed: int, data: PreparedCohort, scoring: Scoring
) -> Conditions:
    """The conditions of one run; its cost is not known yet."""
    shaping = _shaping(recipe, settings, data)
    return Conditions(
        **keys_of(shaping, seed),
        **shaping,
        **cohort_conditions(data.cohort, data.split, data.test),
        seed=seed,
        origin="cxrbench",
        scoring=scoring.to_json(),
        labels_left_out=(),
        dataset_options=_dataset_options(data.dataset),
        citation=data.dataset.citation,
        excluded=len(data.cohort.excluded) + len(data.prepared.excluded),
        parts=tuple(map(identity_of, parts_of(recipe))),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in (*LIBRARIES, backend_name())},
        },
        hardware=hardware("gpu" if settings.device == "gpu" else "cpu"),
    )


def keys_of(shaping: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The ``row_key`` and the ``run_key`` of everything that shapes a result besides the seed.

    Runs with one ``row_key`` differ in nothing but the seed; a run is found again by its
    ``run_key``.
    """
    return {"row_key": digest_of(shaping), "run_key": digest_of({**shaping, "seed": seed})}


def cohort_conditions(
    cohort: Cohort, split: Split, test: TestSet, parts: Sequence[str] = PARTS
) -> dict[str, Any]:
    """Labels, test set, lists, and the sizes of the parts of a split that were used."""
    counted = zip(cohort.label_names, test.counted, strict=True)
    sizes: dict[str, int | None] = {}
    for part in parts:
        rows = split.rows(part).tolist()
        patients = len({cohort.patient_ids[row] for row in rows})
        sizes[f"{part}_images"] = len(rows)
        sizes[f"{part}_patients"] = patients if cohort.patients_known else None
    return {
        "board_key": test.board_key,
        "labels": cohort.label_names,
        "labels_counted": tuple(label for label, counts in counted if counts),
        "no_finding": cohort.no_finding,
        "list_name": split.list_name,
        "list_sha256": split.list_sha256,
        "shared_patients": split.shared_patients,
        "val_positives": _positives(cohort, split) if "val" in parts else None,
        "patients_known": cohort.patients_known,
        **sizes,
    }


def _positives(cohort: Cohort, split: Split) -> int:
    return int((cohort.labels[split.rows("val")] == 1).sum())


def checkpoint_key(conditions: Conditions) -> str:
    """Stands for what a training has to be continued with to give the same result."""
    names = ("run_key", "parts", "versions", "hardware")
    return digest_of({name: getattr(conditions, name) for name in names})


def parts_of(recipe: Recipe) -> Iterator[Any]:
    """Backbone, extractors and encoders, fusion: everything whose code makes the model."""
    if recipe.backbone is not None:
        yield recipe.backbone
    for feature in recipe.features:
        yield feature.extractor
        yield feature.encoder
    if recipe.fusion is not None:
        yield recipe.fusion


def _shaping(recipe: Recipe, settings: Settings, data: PreparedCohort) -> dict[str, Any]:
    values = settings.as_dict()
    names = ("protocol", "head", "device", "devices", "precision", "engine")
    ours = {name: values[name] for name in names} | {"backend": backend_name()}
    left_out = {*_RESOLVED, *(_TRAINING if recipe.is_prior else ())}
    if settings.limit is None:  # runs from before this option keep their keys
        left_out.add("limit")
    if settings.head == "linear":  # has no epochs; runs from before this option keep their keys
        left_out.add("min_steps")
    if settings.head == "linear" or not settings.l2:  # likewise
        left_out.add("l2")
    return {
        "recipe": recipe.text,
        **_backbone_conditions(recipe, settings),
        "settings": {name: value for name, value in values.items() if name not in left_out},
        "dataset": data.dataset.name,
        "fingerprint": data.fingerprint,
        "split": settings.split.partition(":")[0],
        "split_seed": data.split.seed,
        "split_hash": data.split.hash,
        **(NOT_COMPUTED if recipe.is_prior else ours),
        "version": __version__,
    }


def _backbone_conditions(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    """Which weights the backbone starts from, which layers train, and the image's side."""
    if recipe.backbone is None:
        trains = "nothing" if recipe.is_prior else "head"
        return {"weights": "none", "weights_sha256": None, "image_size": None, "trains": trains}
    weights = settings.weights_for(recipe.backbone.name)
    # Only where it is true: the keys of other runs are those of earlier versions.
    standardised = {"standardised_image": True} if standardises_image(recipe, settings) else {}
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
        **standardised,
    }


def _dataset_options(dataset: Dataset) -> dict[str, Any]:
    """All but where the data lie, which is no condition: the fingerprint says what they are."""
    options = asdict(dataset)  # type: ignore[call-overload]
    return {name: value for name, value in options.items() if name not in dataset.path_options}


def computing_conditions(settings: Settings) -> dict[str, Any]:
    """With pixels and network, everything that determines an embedding to its last digit."""
    keras = load_keras()
    return {
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
        "device": settings.device,
        "precision": settings.precision,
    }
