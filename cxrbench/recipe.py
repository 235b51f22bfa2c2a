"""The text of a recipe, such as ``resnet+orb:nfeatures=1000@concat``, to a frozen `Recipe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from cxrbench.errors import RecipeError
from cxrbench.interfaces import Backbone, Encoder, FeatureExtractor, Fusion
from cxrbench.parameters import (
    build,
    changed,
    field_types,
    nearest,
    parse_pairs,
    spelt,
    unknown_parameter,
)
from cxrbench.registry import Registry

PRIOR = "prior"
DEFAULT_FUSION = "concat"


@dataclass(frozen=True)
class Feature:
    """One hand-crafted feature: an extractor, and the encoder that makes a vector of it."""

    extractor: FeatureExtractor
    encoding: str
    encoder: Encoder

    @property
    def name(self) -> str:
        return self.extractor.name

    @property
    def text(self) -> str:
        """As a recipe writes it, with the parameters that differ from their defaults."""
        parameters = changed(self.extractor) | changed(self.encoder)
        if self.encoding != next(iter(self.extractor.encodings)):
            parameters["encoding"] = self.encoding
        return spelt(self.name, parameters)


@dataclass(frozen=True)
class Recipe:
    """A named combination. ``text`` is canonical: the same recipe has the same text.

    ``prior``, the image-blind recipe, has neither backbone nor features.
    """

    text: str
    backbone: Backbone | None
    features: tuple[Feature, ...]
    fusion: Fusion | None

    @property
    def is_prior(self) -> bool:
        return self.fusion is None


def parse_recipe(text: str, registry: Registry) -> Recipe:
    """Read a recipe.

    Parts are joined by ``+``, parameters follow ``:`` and are separated by commas, the fusion
    follows ``@``. Raises `RecipeError` for anything unknown, with what exists and what is nearest.
    """
    body, at, fusion_text = text.strip().partition("@")
    if body == PRIOR and not at:
        return Recipe(PRIOR, None, (), None)
    backbones: list[Backbone] = []
    features: list[Feature] = []
    for piece in body.split("+"):
        name, pairs = _split_piece(piece, text)
        _reject_prior(name, text)
        kind, part = registry.find(name, ("backbone", "feature"))
        if kind == "backbone":
            backbones.append(build(part, pairs, name))
        else:
            features.append(_feature(cast("type[FeatureExtractor]", part), pairs, name))
    _check_counts(text, backbones, features)
    fusion = _fusion(fusion_text if at else DEFAULT_FUSION, text, registry)
    ordered = tuple(sorted(features, key=lambda feature: feature.name))
    backbone = backbones[0] if backbones else None
    return Recipe(_canonical(backbone, ordered, fusion), backbone, ordered, fusion)


def _split_piece(piece: str, text: str) -> tuple[str, dict[str, str]]:
    name, colon, parameters = piece.strip().partition(":")
    if not name or (colon and not parameters):
        raise RecipeError(
            f"the recipe {text!r} has an empty part",
            expected="parts joined by +, such as resnet+orb or orb:encoding=vlad+sift@concat",
            found=repr(piece),
        )
    return name.lower(), parse_pairs(parameters, name) if colon else {}


def _reject_prior(name: str, text: str) -> None:
    if name == PRIOR:
        raise RecipeError(
            f"{text!r} combines 'prior' with other parts",
            expected="'prior' alone: it looks at no image, so there is nothing to fuse",
        )


def _feature(extractor: type[FeatureExtractor], pairs: Mapping[str, str], where: str) -> Feature:
    """Share the parameters out between the extractor, ``encoding=`` and the encoder's own."""
    encodings = extractor.encodings
    encoding = pairs.get("encoding", next(iter(encodings)))
    if encoding not in encodings:
        raise RecipeError(
            f"{where} has no encoding {encoding!r}",
            expected=", ".join(encodings),
            found=repr(encoding),
            fix=nearest(encoding, encodings) or None,
        )
    encoder = encodings[encoding]
    own, others = field_types(extractor), field_types(encoder)
    for name in pairs:
        if name not in own and name not in others and name != "encoding":
            raise unknown_parameter(where, name, {*own, *others, "encoding"})
    return Feature(
        extractor=build(extractor, {k: v for k, v in pairs.items() if k in own}, where),
        encoding=encoding,
        encoder=build(encoder, {k: v for k, v in pairs.items() if k in others}, where),
    )


def _fusion(piece: str, text: str, registry: Registry) -> Fusion:
    name, pairs = _split_piece(piece, text)
    _, part = registry.find(name, ("fusion",))
    return cast("Fusion", build(part, pairs, name))


def _check_counts(text: str, backbones: list[Backbone], features: list[Feature]) -> None:
    if len(backbones) > 1:
        raise RecipeError(
            f"{text!r} names {len(backbones)} backbones",
            expected="at most one",
            found=", ".join(backbone.name for backbone in backbones),
        )
    names = [feature.name for feature in features]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"{text!r} names {name!r} twice", fix="leave one of the two out")


def _canonical(backbone: Backbone | None, features: tuple[Feature, ...], fusion: Fusion) -> str:
    pieces = [] if backbone is None else [spelt(backbone.name, changed(backbone))]
    pieces += [feature.text for feature in features]
    tail = spelt(fusion.name, changed(fusion))
    return "+".join(pieces) + ("" if tail == DEFAULT_FUSION else f"@{tail}")
