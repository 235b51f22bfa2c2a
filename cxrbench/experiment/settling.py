"""Settle what depends on the machine: devices, precision, engines and batch sizes, before a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.experiment.cohort import PreparedCohort
from cxrbench.experiment.fit import keeps_activations, settle_batch_size
from cxrbench.experiment.plans import Plan
from cxrbench.interfaces import Display
from cxrbench.modeling.assemble import build_trunk
from cxrbench.modeling.backend import choose_device, choose_precision, precision_scope, release
from cxrbench.modeling.embed import BATCH
from cxrbench.modeling.engines import choose_engine
from cxrbench.modeling.parallel import check_batch_size, distributed
from cxrbench.settings import Engine, Settings


def settle(
    plans: Sequence[Plan], images: int, *, cache: Path, display: Display
) -> tuple[Plan, ...]:
    """The plans with the device, precision and engines of this machine, for so many images.

    Each backbone is built once, so that missing weights do not wait for a long preparation.

    Raises
    ------
    DeviceError : a device or an engine cannot be had.
    WeightsError : the weights of a backbone are missing or do not fit.
    SettingsError : the batch size does not suit the devices.
    """
    settled = with_devices(plans)
    with computing(settled[0].settings):
        check_backbones(settled)
        return with_engines(settled, images, cache=cache, display=display)


def with_devices(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """The plans with the device and the precision that ``auto`` comes to on this machine."""
    settings = plans[0].settings
    if settings.batch_size != "auto":
        check_batch_size(settings.batch_size, settings.devices)
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    return tuple(
        replace(plan, settings=replace(plan.settings, device=device, precision=precision))
        for plan in plans
    )


@contextmanager
def computing(settings: Settings) -> Iterator[None]:
    """Models that are built in this context live where, and compute as, the settings say.

    They are let go of at its end.
    """
    assert settings.device != "auto"
    assert settings.precision != "auto"
    try:
        with ExitStack() as scopes:
            scopes.enter_context(distributed(settings.device, settings.devices))
            scopes.enter_context(precision_scope(settings.precision))
            yield
    finally:
        release()


def check_backbones(plans: Sequence[Plan]) -> None:
    """Build each backbone once: missing weights are no news for the end of a long preparation."""
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
    return tuple(
        replace(plan, settings=replace(plan.settings, engine=_engine(plan, images, cache, display)))
        for plan in plans
    )


def _engine(plan: Plan, images: int, cache: Path, display: Display) -> Engine:
    settings, backbone, size = plan.settings, plan.recipe.backbone, plan.image_size
    if backbone is None or size is None:
        return "keras"
    if not has_use_of_engine(plan):
        return "keras"

    def network() -> tuple[Any, np.ndarray]:
        trunk = build_trunk(backbone, size, settings.weights_for(backbone.name), seed=0)
        noise = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 1))
        return trunk, noise.astype(np.float32)

    chosen = choose_engine(
        settings.engine,
        network,
        device=settings.device,
        precision=settings.precision,
        images=images,
        cache=cache,
        display=display,
    )
    return cast("Engine", chosen)


def has_use_of_engine(plan: Plan) -> bool:
    """Whether a frozen part of the plan's backbone is computed once for all epochs."""
    if plan.recipe.backbone is None:
        return False
    return plan.settings.protocol == "probe" or keeps_activations(plan.recipe, plan.settings)


def require_use_of_engine(plan: Plan) -> None:
    """Raise `SettingsError` where ``--engine`` names another than Keras and nothing is frozen."""
    chosen = plan.settings.engine
    if plan.recipe.backbone is None or chosen in ("auto", "keras") or has_use_of_engine(plan):
        return
    raise SettingsError(
        f"--engine {chosen} has nothing to compute for {plan.recipe.text}",
        expected="a frozen backbone: --protocol probe, or pretrained --weights with --augment none",
        found="a backbone that is trained, or sees other images in every epoch",
        fix="leave --engine out, or change one of these options",
    )


def with_batch_size(plan: Plan, data: PreparedCohort, *, cache: Path, display: Display) -> Plan:
    """The plan with the batch size that ``auto`` comes to on this machine."""
    if plan.settings.batch_size != "auto" or plan.recipe.is_prior:
        return plan
    size = settle_batch_size(plan.recipe, plan.settings, data, cache=cache, display=display)
    return replace(plan, settings=replace(plan.settings, batch_size=size))
