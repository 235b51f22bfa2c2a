"""Every option that affects a result, declared and validated as one frozen `Settings`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from cxrbench.errors import SettingsError
from cxrbench.modeling.augmentation import MEDICAL, Augmentation
from cxrbench.options import (
    LARGEST_BATCH,
    LARGEST_SEED,
    LARGEST_SIDE,
    Option,
    check_options,
    options_of,
)

Engine = Literal["auto", "keras", "openvino"]

_MOST_EPOCHS = 1_000_000
_Share = partial(Option, least=0, metavar="SHARE", unit="a share")
_Variation = partial(_Share, otherwise={"--augment none": 0})


def split_weights(text: str) -> tuple[str | None, str]:
    """``BACKBONE=FILE`` as its two halves; the first is None for a text that names no backbone."""
    name, equals, value = text.partition("=")
    # A path may have an equals sign too: only a name can be a backbone's.
    return (name, value) if equals and re.fullmatch(r"[a-z][a-z0-9_]*", name) else (None, text)


def _one_for_each_backbone(weights: tuple[str, ...]) -> bool:
    names = [split_weights(text)[0] for text in weights]
    # No weights at all must not come to mean random ones.
    return bool(names) and len(names) == len(set(names))


@dataclass(frozen=True)
class Settings:
    """What shaped a run besides its recipe, its data and its seed.

    The options from ``rotation`` to ``clahe_share`` hold what counts, ``augment`` where they
    started from. ``batch_size`` is a number once the run begins.
    """

    split: Annotated[
        str,
        Option(
            "How to split: `patient` (patients at random), `official` or `official:DIR` (the "
            "dataset's published lists), or `lists:DIR` (any lists `train`, `val` and `test`).",
            panel="Split",
            valid=re.compile(r"patient|official|(official|lists):.+").fullmatch,
            expected="patient, official, official:DIR or lists:DIR",
        ),
    ] = "patient"
    fractions: Annotated[
        tuple[float, float, float],
        Option(
            "Shares of the patients in the training, validation and test split.",
            metavar="A,B,C",
            valid=lambda shares: min(shares) > 0 and abs(sum(shares) - 1) <= 1e-6,
            expected="three numbers above 0 that add up to 1, such as 0.7,0.1,0.2",
        ),
    ] = (0.7, 0.1, 0.2)
    split_seed: Annotated[
        int,
        Option(
            "Seed of the split, independent of the seed of the run.", least=0, most=LARGEST_SEED
        ),
    ] = 0
    allow_overlap: Annotated[
        bool,
        Option(
            "Use published lists although patients are in two of them. The leaderboard warns.",
            switch=True,
        ),
    ] = False
    limit: Annotated[
        int | None,
        Option(
            "Smoke test: use only a sample of about this many images, drawn by patient from each "
            "split. Scores are marked as those of a smoke test; do not report them.",
            least=10,
            most=1_000_000_000,
            default="all images",
            short="n",
        ),
    ] = None
    image_size: Annotated[
        int | None,
        Option(
            "Side in pixels of the images that the backbone sees.",
            panel="Images",
            least=1,
            most=LARGEST_SIDE,
            default="the backbone's own",
        ),
    ] = None
    fit: Annotated[
        Literal["stretch", "pad"],
        Option("How to make images square: stretch them, or pad them with black."),
    ] = "stretch"
    clahe: Annotated[
        bool,
        Option("Apply CLAHE (clip limit 2.0, 8×8 tiles) to all images first.", switch=True),
    ] = False
    max_pixels: Annotated[
        int, Option("Exclude images with more pixels than this.", least=1, most=2**30)
    ] = 100_000_000
    max_bad: Annotated[
        float, _Share("Stop if more than this share of the images is unusable.", most=1)
    ] = 0.01
    protocol: Annotated[
        Literal["finetune", "probe"],
        Option(
            "Train backbone and head, or only the head on a frozen backbone.",
            panel="Training",
            short="p",
        ),
    ] = "finetune"
    weights: Annotated[
        tuple[str, ...],
        Option(
            "Initial weights of backbones: `imagenet`, `none` (random) or a file. For one backbone "
            "only: `BACKBONE=` and one of these; repeatable.",
            metavar="WEIGHTS",
            short="w",
            valid=_one_for_each_backbone,
            expected="imagenet, none, FILE or BACKBONE=FILE, once for each backbone",
        ),
    ] = ("imagenet",)
    head: Annotated[
        Literal["auto", "linear", "mlp"],
        Option(
            "`linear`: a logistic regression per label. `mlp`: a hidden layer of 1024 units. "
            "`auto`: `linear` under `probe` with the fusion `concat` or `late`, else `mlp`.",
        ),
    ] = "auto"
    epochs: Annotated[
        int,
        Option("Maximum number of epochs.", least=1, most=_MOST_EPOCHS, otherwise={"probe": 100}),
    ] = 20
    batch_size: Annotated[
        int | Literal["auto"],
        Option(
            "Images per training step. `auto` measures which size is fastest.",
            least=1,
            most=LARGEST_BATCH,
            metavar="N|auto",
            short="b",
        ),
    ] = 32
    learning_rate: Annotated[
        float,
        Option(
            "Initial learning rate of Adam.",
            valid=lambda rate: 0 < rate <= 1e9,
            expected="a number above 0, at most 1e9, such as 1e-4",
        ),
    ] = 1e-4
    patience: Annotated[
        int,
        Option(
            "Stop after this many epochs without a better validation score; halve the learning "
            "rate after half as many.",
            least=1,
            most=_MOST_EPOCHS,
            otherwise={"probe": 10},
        ),
    ] = 5
    min_steps: Annotated[
        int,
        Option(
            "The kept epoch never ends before this training step (or three quarters of `--epochs`, "
            "if earlier), and `--patience` is at least as long. 0: no limit.",
            least=0,
            most=1_000_000_000,
        ),
    ] = 500
    l2: Annotated[
        float,
        Option(
            "L2 penalty of the head `mlp` and of its fusion: the sum of their squared weights, "
            "times this, is added to the loss.",
            least=0,
            most=1000,
        ),
    ] = 0.0
    activations: Annotated[
        Literal["cache", "recompute"],
        Option(
            "Under `finetune` without augmentation, compute the outputs of frozen layers once "
            "(`cache`) or in every step (`recompute`)."
        ),
    ] = "cache"
    augment: Annotated[
        Literal["medical", "none"],
        Option(
            "Preset for all options from `--rotation` to `--clahe-share`.",
            panel="Augmentation of training images",
            otherwise={"probe": "none"},
        ),
    ] = "medical"
    rotation: Annotated[
        float, _Variation("Largest rotation.", most=180, unit="degrees", metavar="DEGREES")
    ] = MEDICAL.rotation
    translation: Annotated[
        float, _Variation("Largest shift along each axis, as a share of the side.", most=0.5)
    ] = MEDICAL.translation
    zoom: Annotated[float, _Variation("Largest change of size.", most=0.5)] = MEDICAL.zoom
    brightness: Annotated[
        float, _Variation("Largest shift of grey levels, as a share of their range.", most=1)
    ] = MEDICAL.brightness
    contrast: Annotated[float, _Variation("Largest change of contrast.", most=0.9)] = (
        MEDICAL.contrast
    )
    noise: Annotated[
        float,
        _Variation("Largest standard deviation of noise, as a share of the grey range.", most=1),
    ] = MEDICAL.noise
    clahe_share: Annotated[
        float,
        _Variation(
            "Share of the training images with CLAHE. Cannot be combined with `--clahe`.", most=1
        ),
    ] = MEDICAL.clahe
    device: Annotated[
        Literal["auto", "cpu", "gpu"],
        Option(
            "Device that computes networks. `auto`: a GPU if there is one, else the CPU.",
            panel="Computing",
            also=MappingProxyType(dict.fromkeys(("cuda", "cuda:0", "gpu:0"), "gpu")),
            hint="use auto, cpu or gpu; CUDA_VISIBLE_DEVICES chooses among several GPUs",
        ),
    ] = "auto"
    devices: Annotated[
        int,
        Option("Number of GPUs that share each batch (JAX and TensorFlow only).", least=1, most=64),
    ] = 1
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Option(
            "Precision of the computation; weights are always `float32`. `auto`: `bfloat16` on a "
            "GPU that supports it, else `float32`."
        ),
    ] = "auto"
    engine: Annotated[
        Engine,
        Option(
            "Software that computes a frozen backbone on a CPU. `auto`: the fastest for 5,000 "
            "images or more, else `keras`."
        ),
    ] = "auto"

    @property
    def augmentation(self) -> Augmentation:
        """The variation of training images under ``finetune``."""
        return Augmentation(*(getattr(self, name) for name in AUGMENTATION_OPTIONS))

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
        by_name = dict(map(split_weights, self.weights))
        value = by_name.get(backbone) or by_name.get(None, "none")
        if value in ("imagenet", "none"):
            return None if value == "none" else value
        return str(Path(value).expanduser())


# In the order of the fields of `Augmentation`.
AUGMENTATION_OPTIONS = tuple(
    name for name, option in options_of(Settings).items() if "--augment none" in option.otherwise
)


def resolve_settings(values: Mapping[str, Any], dataset_defaults: Mapping[str, object]) -> Settings:
    """What the user gave (None: nothing), else what ``probe`` needs, else the dataset's defaults.

    Raises
    ------
    SettingsError : an unknown option, or a value that cannot work.
    """
    options = options_of(Settings)
    checked = check_options(values, options)
    merged = {**check_options(dataset_defaults, options), **checked}
    protocol = merged.get("protocol", Settings.protocol)
    # A head on fixed embeddings needs more passes than the network that a dataset's defaults
    # are made for, and each costs little.
    required = {n: o.otherwise[protocol] for n, o in options.items() if protocol in o.otherwise}
    settings = Settings(**_with_augmentation({**merged, **required, **checked}))
    _check_augmentation(settings)
    return settings


def _with_augmentation(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of the augmentation, from what ``augment`` names unless it is given."""
    start = Augmentation() if merged.get("augment") == "none" else MEDICAL
    values = dict(zip(AUGMENTATION_OPTIONS, astuple(start), strict=True))
    if merged.get("clahe"):
        values["clahe_share"] = 0.0  # every image has it already
    return {**values, **merged}


def _check_augmentation(settings: Settings) -> None:
    if settings.protocol == "probe" and settings.augmentation.changes_images:
        raise SettingsError(
            "images cannot be augmented under --protocol probe",
            expected="--augment none, which is the default under probe",
            found=", ".join(
                f"--{name.replace('_', '-')} {getattr(settings, name):g}"
                for name in AUGMENTATION_OPTIONS
                if getattr(settings, name)
            ),
            fix="use --protocol finetune: a frozen backbone sees each image once, and its output "
            "is used in all epochs",
        )
    if settings.clahe and settings.clahe_share:
        raise SettingsError(
            "--clahe and --clahe-share cannot be combined",
            expected="CLAHE for all images (--clahe) or for a share of the training images",
            found=f"--clahe --clahe-share {settings.clahe_share:g}",
            fix="leave one of the two out",
        )
