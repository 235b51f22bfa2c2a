"""The canonical text of a recipe, split and joined again without plugins."""

from __future__ import annotations

from dataclasses import dataclass, replace

PERMUTED = "permuted"
"""The parameter of every backbone and feature that trains it on other patients' images."""

NOISE = "noise"
"""The feature without information that an ablation can put in the place of a part."""

_ON = f"{PERMUTED}=true"


@dataclass(frozen=True)
class RecipeText:
    """``parts`` such as ``resnet50`` and ``orb:words=64``; ``fusion`` is ``""`` for the default."""

    parts: tuple[str, ...]
    fusion: str

    def __str__(self) -> str:
        return "+".join(self.parts) + (f"@{self.fusion}" if self.fusion else "")

    @property
    def has_control_parts(self) -> bool:
        """Whether some part is permuted, or noise."""
        return any(is_permuted(part) or part_name(part) == NOISE for part in self.parts)

    def without(self, part: str) -> RecipeText:
        """The recipe with this part left out."""
        return replace(self, parts=tuple(other for other in self.parts if other != part))

    def control(self, part: str) -> RecipeText:
        """The recipe with this part permuted."""
        parts = (permuted(other) if other == part else other for other in self.parts)
        return replace(self, parts=tuple(parts))

    def noisy(self, part: str) -> RecipeText:
        """The recipe with noise in the place of this part, not in canonical order.

        Use `same_parts` to compare it with others.
        """
        without = self.without(part)
        return replace(without, parts=(*without.parts, NOISE))

    @property
    def same_parts(self) -> RecipeText:
        """The same for all recipes of the same parts, whatever their order."""
        return replace(self, parts=tuple(sorted(self.parts)))


def split_recipe(text: str) -> RecipeText:
    """Take a canonical text apart: neither ``+`` nor ``@`` can be in a part's parameters."""
    body, _, fusion = text.partition("@")
    return RecipeText(tuple(body.split("+")), fusion)


def part_name(part: str) -> str:
    """``orb`` of ``orb:words=64``."""
    return part.partition(":")[0]


def is_permuted(part: str) -> bool:
    """Whether this part is trained on other patients' images."""
    return _ON in part.partition(":")[2].split(",")


def permuted(part: str) -> str:
    """The same part, permuted; its parameters stay sorted, as in every canonical text."""
    name, _, parameters = part.partition(":")
    pairs = [*filter(None, parameters.split(",")), _ON]
    return f"{name}:{','.join(sorted(pairs, key=lambda pair: pair.partition('=')[0]))}"


def ablated(text: str, *, noise: bool = False) -> tuple[str, ...]:
    """The other recipes that show whether each part of a canonical recipe helps.

    For each of two parts or more: the recipe without it, the recipe with it permuted, and with
    ``noise`` the recipe with noise in its place. Nothing for a recipe of one part, which leaves
    nothing to compare with, and for one that is a control.
    """
    recipe = split_recipe(text)
    if len(recipe.parts) < 2 or recipe.has_control_parts:
        return ()
    without = [str(recipe.without(part)) for part in recipe.parts]
    controls = [str(recipe.control(part)) for part in recipe.parts]
    noisy = [recipe.noisy(part) for part in recipe.parts] if noise else []
    return (*without, *controls, *map(str, noisy))
