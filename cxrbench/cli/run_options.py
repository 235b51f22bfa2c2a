"""The options of ``cxrbench run`` that shape a result; None stands for "not given"."""

from __future__ import annotations

from typing import Annotated

import typer

_SPLIT, _IMAGES, _TRAINING = "Split", "Images", "Training"
_AUGMENTATION, _COMPUTING = "Augmentation of training images", "Computing"

Split = Annotated[
    str | None,
    typer.Option(
        help="patient, official or official:DIR \\[default: patient]", rich_help_panel=_SPLIT
    ),
]
Fractions = Annotated[
    str | None,
    typer.Option(help="Shares of train,val,test \\[default: 0.7,0.1,0.2]", rich_help_panel=_SPLIT),
]
SplitSeed = Annotated[
    int | None,
    typer.Option(
        help="The only thing that changes the split \\[default: 0]", rich_help_panel=_SPLIT
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        help="Side in pixels for the backbone \\[default: its own]", rich_help_panel=_IMAGES
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        help="stretch or pad images that are not square \\[default: stretch]",
        rich_help_panel=_IMAGES,
    ),
]
Clahe = Annotated[
    bool | None,
    typer.Option("--clahe/--no-clahe", help="Apply CLAHE to all images.", rich_help_panel=_IMAGES),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(help="Exclude larger images \\[default: 100000000]", rich_help_panel=_IMAGES),
]
MaxBad = Annotated[
    float | None,
    typer.Option(
        help="Stop above this share of unreadable images \\[default: 0.01]",
        rich_help_panel=_IMAGES,
    ),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="finetune, or probe: the backbone is frozen \\[default: finetune]",
        rich_help_panel=_TRAINING,
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WEIGHTS",
        help="imagenet, none, FILE or BACKBONE=FILE; repeatable \\[default: imagenet; "
        "phantom: none]",
        rich_help_panel=_TRAINING,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(help="At most \\[default: 20; probe: 100]", rich_help_panel=_TRAINING),
]
BatchSize = Annotated[
    str | None,
    typer.Option(
        help="Images per training step, or auto: found by trying \\[default: 32]",
        rich_help_panel=_TRAINING,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(help="Of Adam, at the start \\[default: 1e-4]", rich_help_panel=_TRAINING),
]
Patience = Annotated[
    int | None,
    typer.Option(
        help="Epochs without a better validation score \\[default: 5; probe: 10]",
        rich_help_panel=_TRAINING,
    ),
]
Activations = Annotated[
    str | None,
    typer.Option(
        help="cache or recompute what the frozen part gives, without augmentation "
        "\\[default: cache]",
        rich_help_panel=_TRAINING,
    ),
]
Augment = Annotated[
    str | None,
    typer.Option(
        help="medical or none; the options below change single values "
        "\\[default: medical; probe, phantom: none]",
        rich_help_panel=_AUGMENTATION,
    ),
]
Rotation = Annotated[
    float | None,
    typer.Option(help="± degrees \\[medical: 15]", rich_help_panel=_AUGMENTATION),
]
Translation = Annotated[
    float | None,
    typer.Option(help="± share of the side \\[medical: 0.1]", rich_help_panel=_AUGMENTATION),
]
Zoom = Annotated[
    float | None,
    typer.Option(help="± share of the size \\[medical: 0.1]", rich_help_panel=_AUGMENTATION),
]
Brightness = Annotated[
    float | None,
    typer.Option(help="± share of the grey range \\[medical: 0.1]", rich_help_panel=_AUGMENTATION),
]
Contrast = Annotated[
    float | None,
    typer.Option(help="± share of the contrast \\[medical: 0.1]", rich_help_panel=_AUGMENTATION),
]
Noise = Annotated[
    float | None,
    typer.Option(
        help="Largest standard deviation, as a share of the grey range \\[medical: 0.02]",
        rich_help_panel=_AUGMENTATION,
    ),
]
ClaheShare = Annotated[
    float | None,
    typer.Option(
        help="Share of the images taken with CLAHE \\[medical: 0.25]",
        rich_help_panel=_AUGMENTATION,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="auto, cpu or gpu \\[default: auto]", rich_help_panel=_COMPUTING),
]
Devices = Annotated[
    int | None,
    typer.Option(help="GPUs that share each batch \\[default: 1]", rich_help_panel=_COMPUTING),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="auto, float32 or bfloat16 \\[default: auto: bfloat16 on a GPU that has it]",
        rich_help_panel=_COMPUTING,
    ),
]
Engine = Annotated[
    str | None,
    typer.Option(
        help="Of a frozen backbone: auto, keras or openvino \\[default: auto: the fastest]",
        rich_help_panel=_COMPUTING,
    ),
]
ExecutorName = Annotated[
    str | None,
    typer.Option(
        "--executor",
        help="local, or ray: a cluster prepares and computes \\[default: local]",
        rich_help_panel=_COMPUTING,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The cluster of --executor ray \\[default: RAY_ADDRESS, else a Ray of its own here]",
        rich_help_panel=_COMPUTING,
    ),
]


def fractions_of(text: str) -> tuple[float, ...]:
    """The numbers of ``--fractions``; raise `SettingsError` for what are none."""
    from cxrbench.errors import SettingsError

    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"--fractions cannot be {text!r}",
            expected="three numbers separated by commas, such as 0.7,0.1,0.2",
            found=repr(text),
        ) from error
