"""All checks of a part, by its kind, and of a plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from cxrbench.interfaces import Display
from cxrbench.output.display import SilentDisplay
from cxrbench.registry import Plugin, Registry, broken_error, load_registry
from cxrbench.testing.check import IMAGE_SIZE, Check, CheckResult, Subject, broken, subjects


def checks_for(
    name: str, *, registry: Registry | None = None, image_size: int = IMAGE_SIZE
) -> tuple[Check, ...]:
    """The checks of every part of a plugin, or of one part.

    Parameters
    ----------
    name : of a plugin (all its parts), or of a part, with parameters as in a recipe:
        ``"histogram:bins=64"``, for a dataset ``"nih:path=my_nih"``.
    registry : by default that of the installed plugins.
    image_size : side in pixels of the images that a backbone is checked on.

    Returns
    -------
    Checks to be called, for example by pytest. A broken plugin has one, which fails.

    Raises
    ------
    RecipeError : there is no such plugin or part.
    """
    known = load_registry() if registry is None else registry
    if (plugin := broken(name, known)) is not None:
        return (Check("plugin", name, "registration", partial(_fail, plugin)),)
    return tuple(
        check for subject in subjects(name, known, image_size) for check in _checks_of(subject)
    )


def check_plugin(
    name: str,
    *,
    registry: Registry | None = None,
    image_size: int = IMAGE_SIZE,
    display: Display | None = None,
) -> tuple[CheckResult, ...]:
    """Run all checks of `checks_for` and return their results; a failure is a result as well.

    Once a part has failed ``shapes``, its other checks are skipped: they would fail likewise.

    Raises
    ------
    RecipeError : there is no such plugin or part.
    """
    checks = checks_for(name, registry=registry, image_size=image_size)
    results: list[CheckResult] = []
    misshapen: set[str] = set()
    with (display or SilentDisplay()).task(f"check {name}", len(checks)) as advance:
        for check in checks:
            result = _skipped(check) if check.part in misshapen else check.result()
            if (result.check, result.state) == ("shapes", "failed"):
                misshapen.add(check.part)
            results.append(result)
            advance(detail=check.name)
    return tuple(results)


def _checks_of(subject: Subject) -> Iterator[Check]:
    # The checks of the kinds import what they check with: OpenCV, Keras, scikit-learn.
    from cxrbench.testing import loading

    argument, kinds = _of_kind(subject)
    functions: dict[str, Callable[[], str]] = {
        "registration": partial(loading.registration, subject),
        "import": partial(loading.import_cost, subject),
        **{name: partial(check, argument) for name, check in kinds.items()},
    }
    for name, ask in functions.items():
        yield Check(subject.kind, subject.text, name, ask)


def _of_kind(subject: Subject) -> tuple[Any, Mapping[str, Callable[[Any], str]]]:
    if subject.kind == "feature":
        from cxrbench.testing import features

        return subject, features.CHECKS
    if subject.kind == "dataset":
        from cxrbench.testing import datasets

        return datasets.DatasetSubject(subject), datasets.CHECKS
    from cxrbench.modeling.backend import BACKENDS
    from cxrbench.testing import gradients, models, networks, null

    of_kind = models.backbone_shapes if subject.kind == "backbone" else models.fusion_shapes
    derived: dict[str, Callable[[Any], str]]
    derived = {f"gradients-{name}": partial(gradients.gradients_on, name) for name in BACKENDS}
    *before, (last, speed) = models.COMMON.items()
    derived |= {"noise": null.noise} if subject.kind == "fusion" else {}
    return networks.Sample(subject), {"shapes": of_kind, **dict(before), **derived, last: speed}


def _skipped(check: Check) -> CheckResult:
    reason = "not run, because shapes failed"
    return CheckResult(check.kind, check.part, check.name, "skipped", 0.0, reason)


def _fail(plugin: Plugin) -> str:
    raise broken_error(plugin)
