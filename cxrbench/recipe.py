"""Parse the text of a recipe, such as ``resnet+orb:nfeatures=1000@concat``, to a `Recipe`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

from cxrbench.errors import RecipeError
from cxrbench.interfaces import Backbone, Encoder, FeatureExtractor, Fusion
from cxrbench.parameters import (
    build,
    changed,
    convert,
    field_types,
    nearest,
    parse_pairs,
    spelt,
    unknown_parameter,
)
from cxrbench.recipe_text import PERMUTED
from cxrbench.registry import Registry

PRIOR = "prior"
DEFAULT_FUSION = "concat"
_PERMUTED = {PERMUTED: True}


@dataclass(frozen=True)
class Feature:
    """One hand-crafted feature: an extractor, and the encoder that makes a vector of it.

    ``permuted``: training images have the vectors of other patients' images, see `Recipe`.
    """

    extractor: FeatureExtractor
    encoding: str
    encoder: Encoder
    permuted: bool = False

    @property
    def name(self) -> str:
        return self.extractor.name

    @property
    def text(self) -> str:
        """As a recipe writes it, with the parameters that differ from their defaults."""
        parameters = changed(self.extractor) | changed(self.encoder)
        if self.encoding != next(iter(self.extractor.encodings)):
            parameters["encoding"] = self.encoding
        return spelt(self.name, parameters | (_PERMUTED if self.permuted else {}))


@dataclass(frozen=True)
class Recipe:
    """A named combination. ``text`` is canonical: the same recipe has the same text.

    ``prior``, the image-blind recipe, has neither backbone nor features. With
    ``backbone_permuted`` the backbone sees other patients' images in training: a permuted part has
    its parameters and nothing to learn from, which makes the recipe a control.
    """

    text: str
    backbone: Backbone | None
    features: tuple[Feature, ...]
    fusion: Fusion | None
    backbone_permuted: bool = False

    @property
    def is_prior(self) -> bool:
        return self.fusion is None

    @property
    def linear_head(self) -> Literal["none", "joint", "late"]:
        """The linear head of the fusion, unless the fusion has parameters of its layers."""
        if self.fusion is None or changed(self.fusion):
            return "none"
        return self.fusion.linear_head

    @property
    def permuted_inputs(self) -> tuple[str, ...]:
        """The inputs of the model that training takes from other patients' images."""
        image = ("image",) if self.backbone_permuted else ()
        return (*image, *(feature.name for feature in self.features if feature.permuted))

    @property
    def unpermuted(self) -> Recipe:
        """The recipe that this one is a control of; the recipe itself if it is none."""
        if self.fusion is None or not self.permuted_inputs:
            return self
        features = tuple(replace(feature, permuted=False) for feature in self.features)
        return _recipe(self.backbone, features, self.fusion, backbone_permuted=False)


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
    backbone_permuted = False
    for piece in body.split("+"):
        name, pairs = _split_piece(piece, text)
        if name == PRIOR:
            raise RecipeError(
                f"{text!r} combines 'prior' with other parts",
                expected="'prior' alone: it looks at no image, so there is nothing to fuse",
            )
        kind, part = registry.find(name, ("backbone", "feature"))
        if kind == "backbone":
            backbone_permuted = _take_permuted(pairs, name)
            backbones.append(build(part, pairs, name))
        else:
            features.append(_feature(cast("type[FeatureExtractor]", part), pairs, name))
    _check_counts(text, backbones, features)
    name, pairs = _split_piece(fusion_text if at else DEFAULT_FUSION, text)
    _, part = registry.find(name, ("fusion",))
    fusion: Fusion = build(part, pairs, name)
    ordered = tuple(sorted(features, key=lambda feature: feature.name))
    backbone = backbones[0] if backbones else None
    return _recipe(backbone, ordered, fusion, backbone_permuted=backbone_permuted)


def _take_permuted(pairs: dict[str, str], where: str) -> bool:
    """``permuted=`` out of the parameters of a part: every backbone and every feature has it."""
    text = pairs.pop(PERMUTED, "false")
    return bool(convert(where, PERMUTED, text, bool))


def _split_piece(piece: str, text: str) -> tuple[str, dict[str, str]]:
    name, colon, parameters = piece.strip().partition(":")
    if not name or (colon and not parameters):
        raise RecipeError(
            f"the recipe {text!r} has an empty part",
            expected="parts joined by +, such as resnet+orb or orb:encoding=vlad+sift@concat",
            found=repr(piece),
        )
    return name.lower(), parse_pairs(parameters, name) if colon else {}


def _feature(extractor: type[FeatureExtractor], pairs: dict[str, str], where: str) -> Feature:
    """Share the parameters out between the extractor, the encoder and what every feature has."""
    permuted = _take_permuted(pairs, where)
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
            raise unknown_parameter(where, name, {*own, *others, "encoding", PERMUTED})
    return Feature(
        extractor=build(extractor, {k: v for k, v in pairs.items() if k in own}, where),
        encoding=encoding,
        encoder=build(encoder, {k: v for k, v in pairs.items() if k in others}, where),
        permuted=permuted,
    )


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


def _spelt_fusion(fusion: Fusion) -> str:
    return spelt(fusion.name, changed(fusion))


def _recipe(
    backbone: Backbone | None,
    features: tuple[Feature, ...],
    fusion: Fusion,
    *,
    backbone_permuted: bool,
) -> Recipe:
    """A recipe with its canonical text."""
    pieces = [feature.text for feature in features]
    if backbone is not None:
        parameters = changed(backbone) | (_PERMUTED if backbone_permuted else {})
        pieces.insert(0, spelt(backbone.name, parameters))
    tail = _spelt_fusion(fusion)
    text = "+".join(pieces) + ("" if tail == DEFAULT_FUSION else f"@{tail}")
    return Recipe(text, backbone, features, fusion, backbone_permuted)
