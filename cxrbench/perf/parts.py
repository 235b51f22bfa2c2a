"""Extractors and backbones to set beside one another: of recipes, or all that are installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cxrbench.experiment.plans import Plan
from cxrbench.parameters import changed, spelt
from cxrbench.recipe import Feature
from cxrbench.recipe_text import part_name, split_recipe
from cxrbench.registry import Registry

_FAMILIES = {"feature": "extract", "backbone": "forward"}


@dataclass(frozen=True)
class Candidate:
    """A ``feature`` or ``backbone``, as a recipe writes it.

    ``image_size`` is its own, None for one without pixels.
    """

    kind: str
    text: str
    image_size: int | None
    package: str
    version: str

    @property
    def path(self) -> str:
        """The hot path that it is timed by."""
        return f"{_FAMILIES[self.kind]}/{self.text}"

    @property
    def is_backbone(self) -> bool:
        """Whether its images can have another size than its own."""
        return self.kind == "backbone"


def candidates(
    plans: Sequence[Plan], registry: Registry, *, everything: bool
) -> tuple[Candidate, ...]:
    """Extractors, then backbones: those of the plans first, each once."""
    texts = [(kind, text) for plan in plans for kind, text in _parts_of(plan)]
    if everything:
        texts += [(kind, name) for kind in _FAMILIES for name in registry.names(kind)]
    ordered = sorted(dict.fromkeys(texts), key=lambda one: one[0] == "backbone")
    return tuple(_candidate(kind, text, registry) for kind, text in ordered)


def extractor_text(feature: Feature) -> str:
    """Without the parameters of its encoding, on which extracting does not depend."""
    return spelt(feature.name, changed(feature.extractor))


def _parts_of(plan: Plan) -> Iterator[tuple[str, str]]:
    if plan.recipe.backbone is not None:
        yield "backbone", split_recipe(plan.recipe.unpermuted.text).parts[0]
    for feature in plan.recipe.unpermuted.features:
        yield "feature", extractor_text(feature)


def _candidate(kind: str, text: str, registry: Registry) -> Candidate:
    name = part_name(text)
    _, part = registry.find(name, (kind,))
    plugin = next(one for one in registry.plugins if f"{kind} {name}" in one.provides)
    size = getattr(part, "image_size", None)
    return Candidate(kind, text, size, plugin.package, plugin.version)
