"""The text of a recipe without plugins: the same answers as reading it with them."""

from __future__ import annotations

import pytest

from cxrbench.recipe import parse_recipe
from cxrbench.recipe_text import ablated, is_permuted, part_name, permuted, split_recipe

TEXTS = (
    "resnet50+orb",
    "orb:clahe=true,nfeatures=1000+sift@concat:units=64",
    "resnet50+orb:encoding=vlad,scale_factor=1.5,words=32+sift:words=8",
    "tinynet:channels=4,normalise=true,pause=1e20+grid:image_size=64+rows",
)


@pytest.mark.parametrize("text", TEXTS)
def test_what_an_ablation_needs_is_canonical_and_differs_by_one_part(registry, text):
    recipe = split_recipe(text)
    assert str(recipe) == parse_recipe(text, registry).text == text
    needed = ablated(text)
    assert len(needed) == len(set(needed)) == 2 * len(recipe.parts)
    without, controls = needed[: len(recipe.parts)], needed[len(recipe.parts) :]
    for other, part in zip(without, recipe.parts, strict=True):
        assert parse_recipe(other, registry).text == other
        assert set(split_recipe(other).parts) == set(recipe.parts) - {part}
    for other, part in zip(controls, recipe.parts, strict=True):
        read = parse_recipe(other, registry)
        assert read.text == other
        assert read.unpermuted.text == text
        assert len(read.permuted_inputs) == 1
        assert [is_permuted(p) for p in split_recipe(other).parts] == [
            p == part for p in recipe.parts
        ]
        assert {split_recipe(o).fusion for o in needed} == {recipe.fusion}


@pytest.mark.parametrize("text", TEXTS)
def test_noise_takes_the_place_of_each_part(registry, text):
    recipe = split_recipe(text)
    added = ablated(text, noise=True)[2 * len(recipe.parts) :]
    for other, part in zip(added, recipe.parts, strict=True):
        read = parse_recipe(other, registry)
        assert set(split_recipe(read.text).parts) == {*recipe.parts, "noise"} - {part}
        assert split_recipe(read.text).same_parts == recipe.noisy(part).same_parts
        assert ablated(read.text, noise=True) == ()


@pytest.mark.parametrize(
    "text", ["resnet50", "orb:words=8", "prior", "orb:permuted=true+sift", "noise:size=6+orb"]
)
def test_one_part_and_a_control_have_no_ablation(text):
    assert ablated(text) == ()


def test_parameters_stay_sorted_by_name():
    assert permuted("part:n2=1,n=2") == "part:n=2,n2=1,permuted=true"
    assert part_name("orb:words=8") == part_name("orb") == "orb"
    assert not is_permuted("orb:permuted_words=true")
