"""Settle what depends on the machine, and refuse what cannot work, before an image is decoded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from cxrbench.data.cohort import require_boxes
from cxrbench.errors import SettingsError
from cxrbench.experiment.cohort import DividedCohort
from cxrbench.experiment.executors.interface import Place
from cxrbench.experiment.plans import Plan, keeps_activations
from cxrbench.interfaces import Display
from cxrbench.modeling.assemble import build_trunk
from cxrbench.modeling.backend import (
    choose_device,
    choose_precision,
    precision_scope,
    release,
    unused_gpu,
)
from cxrbench.modeling.embed import BATCH
from cxrbench.modeling.engines import choose_engine
from cxrbench.modeling.inputs import require_two_patients
from cxrbench.modeling.parallel import check_batch_size, distributed
from cxrbench.modeling.train import require_two_classes
from cxrbench.request import Request
from cxrbench.runs.directory import RUN
from cxrbench.settings import Engine, Settings


def check_before_decoding(request: Request, plans: Sequence[Plan], divided: DividedCohort) -> None:
    """Refuse everything that would fail later and can be checked without pixels.

    Options, recipes, weights files and the split are checked where they are read. What needs a
    device (backbones, their weights, engines) is checked where plans are settled.

    Raises
    ------
    SettingsError : an engine has nothing to compute for a recipe.
    DeviceError : an engine is not installed, or not for this device or precision.
    DataError : no test image has a box, though saliency is to be scored; no label of the
        validation split has both classes; a permuted part has one training patient only.
    RunError : the folder of the runs cannot be written.
    """
    for plan in plans:
        require_use_of_engine(plan)
    if request.saliency:
        require_boxes(divided.cohort, divided.rows("test"))
    if any(not plan.recipe.is_prior for plan in plans):
        require_two_classes(divided.labels("val"))
    if any(plan.recipe.permuted_inputs for plan in plans):
        require_two_patients(set(divided.patients("train")))
    with RUN.writing(request.runs):
        request.runs.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=request.runs).close()


def settle(plans: Sequence[Plan], place: Place, *, images: int, cache: Path) -> tuple[Plan, ...]:
    """The plans with the device, precision and engines of this machine, for so many images.

    Each backbone is built once, so that missing weights do not wait for a long preparation.

    Raises
    ------
    DeviceError : a device or an engine cannot be had.
    WeightsError : the weights of a backbone are missing or do not fit.
    SettingsError : the batch size does not suit the devices.
    """
    settled = with_devices(plans)
    if plans[0].settings.device == "auto" and (sentence := unused_gpu()):
        place.display.say(sentence)
    with computing(settled[0].settings):
        check_backbones(settled)
        return with_engines(settled, images, cache=cache, display=place.display)


def with_devices(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """The plans with a device and a precision in place of ``auto``, for this machine."""
    settings = plans[0].settings
    if settings.batch_size != "auto":
        check_batch_size(settings.batch_size, settings.devices)
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    return tuple(plan.with_settings(device=device, precision=precision) for plan in plans)


@contextmanager
def computing(settings: Settings) -> Iterator[None]:
    """Models that are built in this context use the device and precision of the settings.

    They are freed at its end.
    """
    assert settings.device != "auto"
    assert settings.precision != "auto"
    try:
        with (
            distributed(settings.device, settings.devices),
            precision_scope(settings.precision),
        ):
            yield
    finally:
        release()


def check_backbones(plans: Sequence[Plan]) -> None:
    """Build each backbone once, so that missing weights are reported before a long preparation."""
    for backbone, plan in {p.recipe.backbone: p for p in plans if p.recipe.backbone}.items():
        if plan.image_size is not None:
            weights = plan.settings.weights_for(backbone.name)
            build_trunk(backbone, plan.image_size, weights, seed=0)


def with_engines(
    plans: Sequence[Plan], images: int, *, cache: Path, display: Display
) -> tuple[Plan, ...]:
    """The plans with the engine that computes what is frozen of each, for so many images.

    Raises
    ------
    DeviceError : the engine of ``--engine`` cannot be had.
    """
    return tuple(plan.with_settings(engine=_engine(plan, images, cache, display)) for plan in plans)


def _engine(plan: Plan, images: int, cache: Path, display: Display) -> Engine:
    settings, backbone, size = plan.settings, plan.recipe.backbone, plan.image_size
    if backbone is None or size is None or not _has_use_of_engine(plan):
        return "keras"

    def network() -> tuple[Any, np.ndarray]:
        trunk = build_trunk(backbone, size, settings.weights_for(backbone.name), seed=0)
        noise = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 1))
        return trunk, noise.astype(np.float32)

    engine = choose_engine(
        settings.engine,
        network,
        device=settings.device,
        precision=settings.precision,
        images=images,
        cache=cache,
        display=display,
    )
    return cast("Engine", engine)


def _has_use_of_engine(plan: Plan) -> bool:
    """Whether a frozen part of the plan's backbone is computed once for all epochs."""
    if plan.recipe.backbone is None:
        return False
    return plan.settings.protocol == "probe" or keeps_activations(plan.recipe, plan.settings)


def require_use_of_engine(plan: Plan) -> None:
    """Raise `SettingsError` where ``--engine`` names another than Keras and nothing is frozen."""
    engine = plan.settings.engine
    if plan.recipe.backbone is None or engine in ("auto", "keras") or _has_use_of_engine(plan):
        return
    raise SettingsError(
        f"--engine {engine} has nothing to compute for {plan.recipe.text}",
        expected="a frozen backbone: --protocol probe, or pretrained --weights with --augment none",
        found="a backbone that is trained, or sees other images in every epoch",
        fix="leave --engine out, or change one of these options",
    )
