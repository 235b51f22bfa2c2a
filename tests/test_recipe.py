"""Recipes: what can be written, the canonical text, and errors that name what exists."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrbench.errors import CxrbenchError, RecipeError
from cxrbench.recipe import parse_recipe


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("resnet", "resnet50"),
        ("resnet+orb", "resnet50+orb"),
        ("resnet50+orb+sift", "resnet50+orb+sift"),
        ("orb+sift", "orb+sift"),
        ("resnet+orb:encoding=bow,nfeatures=1000@concat", "resnet50+orb:nfeatures=1000"),
        ("sift+orb", "orb+sift"),
        ("orb+resnet", "resnet50+orb"),
        (" ResNet + ORB ", "resnet50+orb"),
        ("orb:words=256,nfeatures=500,encoding=bow", "orb"),
        ("orb:words=64,encoding=vlad", "orb:encoding=vlad,words=64"),
        ("orb:encoding=vlad,words=16", "orb:encoding=vlad"),
        ("orb:clahe=yes,scale_factor=1.50", "orb:clahe=true,scale_factor=1.5"),
        ("orb@concat:units=256", "orb"),
        ("orb@concat:units=64", "orb@concat:units=64"),
        ("prior", "prior"),
        ("orb:permuted=true+resnet", "resnet50+orb:permuted=true"),
        ("resnet:permuted=yes+orb:permuted=no", "resnet50:permuted=true+orb"),
        ("orb:words=64,permuted=1,nfeatures=9", "orb:nfeatures=9,permuted=true,words=64"),
    ],
)
def test_the_canonical_text(registry, text, canonical):
    recipe = parse_recipe(text, registry)
    assert recipe.text == canonical
    assert parse_recipe(canonical, registry) == recipe


def test_the_parts_of_a_recipe(registry):
    recipe = parse_recipe("resnet+orb:encoding=vlad,nfeatures=1000,words=32+sift", registry)
    assert recipe.backbone.name == "resnet50"
    assert [feature.name for feature in recipe.features] == ["orb", "sift"]
    orb = recipe.features[0]
    assert (orb.extractor.nfeatures, orb.encoding, orb.encoder.words) == (1000, "vlad", 32)
    assert recipe.fusion.name == "concat"
    assert not recipe.is_prior


def test_what_is_permuted(registry):
    recipe = parse_recipe("resnet+orb:permuted=true,words=64+sift", registry)
    assert recipe.permuted_inputs == ("orb",)
    assert recipe.unpermuted == parse_recipe("resnet+orb:words=64+sift", registry)
    both = parse_recipe("resnet:permuted=true+sift:permuted=true", registry)
    assert both.permuted_inputs == ("image", "sift")
    assert both.backbone == recipe.backbone
    plain = parse_recipe("resnet+orb", registry)
    assert (plain.permuted_inputs, plain.unpermuted) == ((), plain)
    with pytest.raises(RecipeError, match="permuted cannot be 'perhaps'"):
        parse_recipe("orb:permuted=perhaps", registry)
    with pytest.raises(RecipeError, match="no parameter 'permuted'"):
        parse_recipe("orb@concat:permuted=true", registry)


def test_prior_has_no_parts(registry):
    prior = parse_recipe("prior", registry)
    assert prior.is_prior
    assert (prior.backbone, prior.features, prior.fusion) == (None, (), None)


pieces = st.fixed_dictionaries(
    {},
    optional={
        "nfeatures": st.integers(1, 20_000),
        "scale_factor": st.floats(1.01, 4.0),
        "clahe": st.booleans(),
        "words": st.integers(1, 1024),
        "encoding": st.sampled_from(["bow", "vlad"]),
    },
)


@settings(max_examples=60, deadline=None)
@given(
    backbone=st.sampled_from(["", "resnet", "resnet50", "tinynet:channels=3"]),
    orb=pieces,
    sift=st.booleans(),
    units=st.none() | st.integers(1, 4096),
    backwards=st.booleans(),
)
def test_the_canonical_text_gives_the_same_recipe(registry, backbone, orb, sift, units, backwards):
    told = ",".join(f"{name}={value}" for name, value in orb.items())
    parts = [backbone] * bool(backbone) + [f"orb:{told}" if told else "orb"] + ["sift"] * sift
    text = "+".join(reversed(parts) if backwards else parts)
    recipe = parse_recipe(text + (f"@concat:units={units}" if units else ""), registry)
    again = parse_recipe(recipe.text, registry)
    assert again == recipe
    assert again.text == recipe.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("resnt", ["no backbone or feature named 'resnt'", "resnet50", "orb", "mean 'resnet'"]),
        ("orb+sfit", ["'sfit'", "mean 'sift'"]),
        ("orb@conct", ["no fusion named 'conct'", "concat"]),
        ("orb:nfeature=9", ["orb has no parameter 'nfeature'", "nfeatures", "words", "encoding"]),
        ("orb:nfeatures=many", ["nfeatures cannot be 'many'", "a whole number"]),
        ("orb:nfeatures=0", ["nfeatures is out of range", "from 1 to 20000"]),
        ("orb:words=0", ["visual words", "from 1 to"]),
        ("orb:encoding=fisher", ["no encoding 'fisher'", "bow, vlad"]),
        ("resnet:depth=3", ["resnet has no parameter 'depth'", "no parameters at all"]),
        ("resnet+tinynet", ["names 2 backbones", "at most one"]),
        ("orb+sift+orb:words=9", ["names 'orb' twice"]),
        ("prior+orb", ["combines 'prior'"]),
        ("prior@concat", ["combines 'prior'"]),
        ("prior:x=1", ["combines 'prior'"]),
        ("", ["empty part"]),
        ("orb+", ["empty part"]),
        ("orb:", ["empty part"]),
        ("orb@", ["empty part"]),
        ("phantom", ["no backbone or feature named 'phantom'"]),
    ],
)
def test_errors_say_what_exists_and_what_is_nearest(registry, text, told):
    with pytest.raises(CxrbenchError) as error:
        parse_recipe(text, registry)
    for words in told:
        assert words in str(error.value)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="orbsiftn+:,=@ 13.é\n", max_size=24))
def test_no_text_ends_in_anything_but_a_recipe_or_a_recipe_error(registry, text):
    with suppress(RecipeError):
        recipe = parse_recipe(text, registry)
        assert parse_recipe(recipe.text, registry) == recipe
