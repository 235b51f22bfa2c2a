"""The conditions of a run: the keys of its ``run.json``, written, checked and read as one class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from cxrbench.recipe import PRIOR
from cxrbench.runs import validation
from cxrbench.runs.validation import Check, damaged, require

EXTERNAL = "external"


class RunKind(StrEnum):
    """How the predictions of a run were made."""

    trained = "trained"
    prior = "prior"
    submitted = "submitted"


def kind_of(recipe: str, origin: str) -> RunKind:
    """The kind of a run with this recipe and this ``origin`` in its ``run.json``."""
    if recipe == PRIOR:
        return RunKind.prior
    return RunKind.submitted if origin == EXTERNAL else RunKind.trained


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Everything that ``run.json`` says of a run, except its format, status and files.

    The names of the fields are the keys; docs/reference/run-directory.md explains each of them.
    Keys of other versions are in ``others``, and are written again as they were.
    """

    run_key: str
    row_key: str
    board_key: str
    seed: int
    recipe: str
    protocol: str
    weights: str
    trains: str
    backend: str
    device: str
    devices: int
    precision: str
    engine: str
    dataset: str
    fingerprint: str
    split: str
    split_seed: int
    version: str
    labels: tuple[str, ...]
    labels_counted: tuple[str, ...]
    labels_left_out: tuple[str, ...]
    patients_known: bool
    train_images: int
    scoring: Mapping[str, str]
    origin: str
    head: str = "mlp"
    standardised_image: bool = False
    no_finding: str | None = None
    weights_sha256: str | None = None
    image_size: int | None = None
    split_hash: str | None = None
    list_name: str | None = None
    list_sha256: str | None = None
    shared_patients: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    citation: str | None = None
    val_images: int = 0
    test_images: int = 0
    val_positives: int | None = None
    train_patients: int | None = None
    val_patients: int | None = None
    test_patients: int | None = None
    excluded: int = 0
    parts: tuple[Mapping[str, Any], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    executor: str | None = None
    node: str | None = None
    started: str | None = None
    finished: str | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    best_epoch: int | None = None
    epochs_trained: int | None = None
    train_seconds: float | None = None
    images_per_second: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    linear_head: Mapping[str, Any] | None = None
    submitted: Mapping[str, str] | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> RunKind:
        """Whether a model was trained here, this is the prior, or predictions were submitted."""
        return kind_of(self.recipe, self.origin)

    @property
    def data_text(self) -> str:
        """The data and the split in words: ``nih (98650a8c) · patient split, seed 0``."""
        lists = "" if self.list_name is None else f" ({self.list_name})"
        sample = "" if self.limit is None else f" · smoke test (--limit {self.limit})"
        return (
            f"{self.dataset} ({self.fingerprint[:8]}) · {self.split} split{lists}, "
            f"seed {self.split_seed}"
            f"{sample}"
        )

    @property
    def overlap_warning(self) -> str | None:
        """The sentence about patients in two splits; None if there are none."""
        if not self.shared_patients:
            return None
        return (
            f"Warning: patients in two splits (--allow-overlap): {self.shared_patients:,}. "
            "Scores may be too high."
        )

    @property
    def limit(self) -> int | None:
        """The number of images of a smoke test, whose scores are no results; else None."""
        limit = self.settings.get("limit")
        return limit if isinstance(limit, int) else None

    def to_json(self) -> dict[str, Any]:
        """The keys of ``run.json``; a trained run is not ``submitted``, and has no such key."""
        values = {name: getattr(self, name) for name in _checks()}
        if self.submitted is None:
            del values["submitted"]
        return {**values, **self.others}


def read_conditions(values: Mapping[str, Any], name: str) -> Conditions:
    """The conditions in the content of a ``run.json``; ``name`` is the file's, for errors.

    Raises
    ------
    RunError : a key is missing, or its value is of another type.
    """
    checks = _checks()
    known = {key: values[key] for key in checks if key in values}
    for key, check in checks.items():
        if check(known[key]) is not None if key in known else key in _REQUIRED:
            require(values, validation.record({key: check}), name)
    lists = {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
    others = {
        key: value
        for key, value in values.items()
        if key not in checks and key not in ("format", "status", "files")
    }
    require(others, validation.shallow, name)
    conditions = Conditions(**known | lists, others=others)
    _require_labels(conditions, name)
    return conditions


def _require_labels(conditions: Conditions, name: str) -> None:
    labels = conditions.labels
    if len(set(labels)) < len(labels) or not {*conditions.labels_counted} <= {*labels}:
        raise damaged(name, "its labels are not unique, or others count in macro", labels)
    if conditions.no_finding is not None and conditions.no_finding not in labels:
        raise damaged(name, "no_finding is not one of its labels", conditions.no_finding)
    missing = {"calibration", "thresholds"} - conditions.scoring.keys()
    if missing:
        raise damaged(name, f"its scoring has no {' and no '.join(sorted(missing))}", "nothing")


_REQUIRED = frozenset(
    one.name for one in fields(Conditions) if one.default is one.default_factory is MISSING
)
_PLAIN: Mapping[Any, Check] = MappingProxyType(
    {
        str: validation.text,
        bool: validation.flag,
        int: validation.count,
        float: validation.number,
        Any: validation.shallow,
    }
)


@cache
def _checks() -> dict[str, Check]:
    """A check of each key's value in JSON, from the type of its field."""
    hints = get_type_hints(Conditions)
    del hints["others"]
    return {name: _check_of(hint) for name, hint in hints.items()}


def _check_of(hint: Any) -> Check:
    if isinstance(hint, UnionType):  # of one type and None
        return validation.optional(_check_of(get_args(hint)[0]))
    if get_origin(hint) is tuple:
        return validation.list_of(_check_of(get_args(hint)[0]))
    if get_origin(hint) is Mapping:
        return validation.mapping_of(_check_of(get_args(hint)[1]))
    return _PLAIN[hint]
