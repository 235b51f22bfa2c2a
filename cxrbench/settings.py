"""Every option that shapes a result, validated once into one frozen `Settings`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from cxrbench.errors import SettingsError
from cxrbench.modeling.augment import MEDICAL, Augmentation
from cxrbench.parameters import nearest

Protocol = Literal["finetune", "probe"]
Fit = Literal["stretch", "pad"]
Device = Literal["auto", "cpu", "gpu"]
Augment = Literal["medical", "none"]
Precision = Literal["auto", "float32", "bfloat16"]
Engine = Literal["auto", "keras", "openvino"]
Activations = Literal["cache", "recompute"]

_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "protocol": ("finetune", "probe"),
        "fit": ("stretch", "pad"),
        "device": ("auto", "cpu", "gpu"),
        "augment": ("medical", "none"),
        "precision": ("auto", "float32", "bfloat16"),
        "engine": get_args(Engine),
        "activations": ("cache", "recompute"),
    }
)
_AT_LEAST_ONE = ("image_size", "epochs", "batch_size", "patience", "max_pixels", "devices")
_PROBE_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {"epochs": 100, "patience": 10, "augment": "none"}
)
# The largest value of each option of `Augmentation`, and what it is.
_LARGEST: Mapping[str, tuple[float, str]] = MappingProxyType(
    {
        "rotation": (180.0, "degrees from 0 to 180"),
        "translation": (0.5, "a share of the side from 0 to 0.5"),
        "zoom": (0.5, "a share from 0 to 0.5"),
        "brightness": (1.0, "a share of the grey range from 0 to 1"),
        "contrast": (0.9, "a share from 0 to 0.9"),
        "noise": (1.0, "a share of the grey range from 0 to 1"),
        "clahe_share": (1.0, "a share of the images from 0 to 1"),
    }
)
AUGMENTATION_OPTIONS = tuple(_LARGEST)


@dataclass(frozen=True)
class Settings:
    """What shaped a run besides its recipe, its data and its seed.

    ``weights`` are the texts given to ``--weights``. ``image_size`` None means the backbone's own.
    ``max_bad`` is a share of the images, ``fractions`` are of patients (train, val, test).
    ``augment`` is where the options from ``rotation`` to ``clahe_share`` start from; they hold what
    counts. ``batch_size`` is a number once the run begins.
    """

    protocol: Protocol = "finetune"
    weights: tuple[str, ...] = ("imagenet",)
    image_size: int | None = None
    fit: Fit = "stretch"
    clahe: bool = False
    max_pixels: int = 100_000_000
    max_bad: float = 0.01
    split: str = "patient"
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    split_seed: int = 0
    epochs: int = 20
    batch_size: int | Literal["auto"] = 32
    learning_rate: float = 1e-4
    patience: int = 5
    augment: Augment = "medical"
    rotation: float = MEDICAL.rotation
    translation: float = MEDICAL.translation
    zoom: float = MEDICAL.zoom
    brightness: float = MEDICAL.brightness
    contrast: float = MEDICAL.contrast
    noise: float = MEDICAL.noise
    clahe_share: float = MEDICAL.clahe
    activations: Activations = "cache"
    device: Device = "auto"
    devices: int = 1
    precision: Precision = "auto"
    engine: Engine = "auto"

    @property
    def augmentation(self) -> Augmentation:
        """What happens to training images under ``finetune``."""
        return Augmentation(
            rotation=self.rotation,
            translation=self.translation,
            zoom=self.zoom,
            brightness=self.brightness,
            contrast=self.contrast,
            noise=self.noise,
            clahe=self.clahe_share,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    def weights_for(self, backbone: str) -> str | None:
        """``"imagenet"``, a path, or None (random) for the backbone of this name.

        ``BACKBONE=FILE`` goes before a text that names no backbone.
        """
        told = dict(map(split_weights, self.weights))
        value = told.get(backbone) or told.get(None, "none")
        if value in ("imagenet", "none"):
            return None if value == "none" else value
        return str(Path(value).expanduser())


def thread_count(given: int | None) -> int:
    """``given``, else one thread for each core that this process may use."""
    if given is None:
        return len(os.sched_getaffinity(0))
    if given < 1:
        raise SettingsError(
            f"--threads cannot be {given}", expected="a whole number from 1 up", found=str(given)
        )
    return given


def split_weights(text: str) -> tuple[str | None, str]:
    """``BACKBONE=FILE`` as its two halves; the first is None for a text that names no backbone."""
    name, equals, value = text.partition("=")
    # A path may have an equals sign too: only a name can be a backbone's.
    return (name, value) if equals and re.fullmatch(r"[a-z][a-z0-9_]*", name) else (None, text)


def resolve_settings(given: Mapping[str, Any], dataset_defaults: Mapping[str, object]) -> Settings:
    """What the user gave (None: nothing), else what ``probe`` needs, else the dataset's defaults.

    Raises
    ------
    SettingsError : an unknown option, or a value that cannot work.
    """
    known = {field.name for field in fields(Settings)}
    chosen = {name: value for name, value in given.items() if value is not None}
    for name in (*chosen, *dataset_defaults):
        if name not in known:
            raise SettingsError(
                f"there is no setting {name!r}",
                expected=", ".join(sorted(known)),
                fix=nearest(name, known) or None,
            )
    merged: dict[str, Any] = {**dataset_defaults, **chosen}
    if merged.get("protocol") == "probe":
        # A head on fixed embeddings needs more passes than the network that a dataset's defaults
        # are made for, and each costs little.
        merged = {**merged, **_PROBE_DEFAULTS, **chosen}
    return _validated(Settings(**_tuples(_with_augmentation(merged))))


def _with_augmentation(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of the augmentation, from what ``augment`` names unless it is given."""
    start = Augmentation() if merged.get("augment") == "none" else MEDICAL
    values = {name: getattr(start, name.removesuffix("_share")) for name in AUGMENTATION_OPTIONS}
    if merged.get("clahe") is True:
        values["clahe_share"] = 0.0  # every image has it already
    return {**merged, **values, **{n: merged[n] for n in values if n in merged}}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    told = dict(values)
    if isinstance(told.get("weights"), str | Path):
        told["weights"] = (told["weights"],)
    if isinstance(told.get("weights"), list | tuple):
        told["weights"] = tuple(map(str, told["weights"]))
    return {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}


def _validated(settings: Settings) -> Settings:
    for name, choices in _CHOICES.items():
        value = getattr(settings, name)
        if value not in choices:
            raise _wrong(name, " or ".join(choices), value)
    for name in _AT_LEAST_ONE:
        value = getattr(settings, name)
        if (name, value) in (("image_size", None), ("batch_size", "auto")):
            continue
        if not _whole(value) or value < 1:
            auto = ", or auto" if name == "batch_size" else ""
            raise _wrong(name, f"a whole number from 1 up{auto}", value)
    if not isinstance(settings.clahe, bool):
        raise _wrong("clahe", "true or false", settings.clahe)
    if not (_number(settings.learning_rate) and settings.learning_rate > 0):
        raise _wrong("learning_rate", "a number above 0, such as 1e-4", settings.learning_rate)
    if not (_number(settings.max_bad) and 0 <= settings.max_bad <= 1):
        raise _wrong("max_bad", "a share from 0 to 1, such as 0.01", settings.max_bad)
    if not _whole(settings.split_seed) or settings.split_seed < 0:
        raise _wrong("split_seed", "a whole number from 0 up", settings.split_seed)
    _check_weights(settings.weights)
    _check_fractions(settings.fractions)
    _check_augmentation(settings)
    if not re.fullmatch(r"patient|official|official:.+", str(settings.split)):
        raise _wrong("split", "patient, official or official:DIR", settings.split)
    return settings


def _check_augmentation(settings: Settings) -> None:
    for name, (largest, told) in _LARGEST.items():
        value = getattr(settings, name)
        if not _number(value) or not 0 <= value <= largest:
            raise _wrong(name, told, value)
    if settings.protocol == "probe" and settings.augmentation.changes_images:
        raise SettingsError(
            "images cannot be augmented under --protocol probe",
            expected="--augment none, which is probe's default",
            found=", ".join(
                f"--{name.replace('_', '-')} {getattr(settings, name):g}"
                for name in AUGMENTATION_OPTIONS
                if getattr(settings, name)
            ),
            fix="use --protocol finetune: a frozen backbone sees each image once, and what it "
            "gives is kept for all epochs, so there is no image left to change",
        )
    if settings.clahe and settings.clahe_share:
        raise SettingsError(
            "--clahe-share has nothing to choose from beside --clahe",
            expected="CLAHE for all images (--clahe) or for a share of the training images",
            found=f"--clahe --clahe-share {settings.clahe_share:g}",
            fix="leave one of the two out",
        )


def _check_weights(weights: object) -> None:
    told = "imagenet, none, FILE or BACKBONE=FILE"
    # Nothing given must not come to mean random weights.
    if not isinstance(weights, tuple) or not weights:
        raise _wrong("weights", told, weights)
    names = [split_weights(text)[0] for text in weights]
    for name in names:
        if names.count(name) > 1:
            raise _wrong("weights", f"{told}, once for each backbone", list(weights))


def _check_fractions(fractions: object) -> None:
    told = "three numbers above 0 that add up to 1 (train, val, test), such as 0.7,0.1,0.2"
    if not isinstance(fractions, tuple) or len(fractions) != 3:
        raise _wrong("fractions", told, fractions)
    if not all(_number(f) and f > 0 for f in fractions):
        raise _wrong("fractions", told, fractions)
    if abs(sum(fractions) - 1) > 1e-6:
        raise _wrong("fractions", told, fractions)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _wrong(name: str, expected: str, found: object) -> SettingsError:
    return SettingsError(
        f"--{name.replace('_', '-')} cannot be {found!r}", expected=expected, found=repr(found)
    )
