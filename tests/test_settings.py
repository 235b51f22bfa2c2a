"""Settings: whose value counts, and that every wrong value is refused by the option's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrbench.errors import SettingsError
from cxrbench.modeling.augment import MEDICAL, Augmentation
from cxrbench.settings import Settings, resolve_settings


def test_given_goes_before_the_protocol_before_the_dataset_before_the_general():
    dataset = {"epochs": 12, "image_size": 64}
    assert resolve_settings({}, {}).epochs == 20
    assert resolve_settings({"protocol": "probe"}, {}).epochs == 100
    assert resolve_settings({"protocol": "probe"}, dataset).epochs == 100
    assert resolve_settings({"protocol": "probe", "epochs": 3}, dataset).epochs == 3
    assert resolve_settings({"protocol": "probe"}, dataset).patience == 10
    assert resolve_settings({"protocol": "finetune"}, dataset).patience == 5
    assert resolve_settings({"image_size": None}, dataset).image_size == 64
    assert resolve_settings({}, {"protocol": "probe"}).patience == 10


def test_the_documented_defaults():
    told = resolve_settings({}, {})
    assert told == Settings()
    assert (told.protocol, told.weights, told.split) == ("finetune", ("imagenet",), "patient")
    assert (told.fractions, told.split_seed, told.max_bad) == ((0.7, 0.1, 0.2), 0, 0.01)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("protocol", "train"),
        ("fit", "crop"),
        ("device", "tpu"),
        ("image_size", 0),
        ("image_size", 2.5),
        ("image_size", True),
        ("epochs", 0),
        ("batch_size", -1),
        ("patience", 0),
        ("max_pixels", 0),
        ("batch_size", "large"),
        ("batch_size", 0),
        ("devices", 0),
        ("devices", "auto"),
        ("augment", "strong"),
        ("augment", True),
        ("rotation", -1),
        ("rotation", 181),
        ("translation", 0.6),
        ("zoom", 0.6),
        ("brightness", 1.1),
        ("contrast", 1),
        ("noise", float("nan")),
        ("noise", "much"),
        ("clahe_share", 1.5),
        ("activations", "keep"),
        ("precision", "float16"),
        ("precision", "mixed_bfloat16"),
        ("engine", "onnx"),
        ("clahe", "yes"),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("l2", -0.1),
        ("max_bad", 1.5),
        ("max_bad", -0.1),
        ("split_seed", -1),
        ("split_seed", True),
        ("split_seed", 1.0),
        ("fractions", (0.7, 0.3)),
        ("fractions", (0.7, 0.2, 0.2)),
        ("fractions", (1.0, 0.0, 0.0)),
        ("fractions", 0.7),
        ("fractions", "0.7,0.1,0.2"),
        ("split", "random"),
        ("split", "official:"),
        ("split", 3),
        ("weights", ()),
        ("weights", 5),
        ("weights", ("a.h5", "b.h5")),
        ("weights", ("tinynet=a.h5", "tinynet=b.h5")),
    ],
)
def test_a_wrong_value_names_its_option(name, value):
    with pytest.raises(SettingsError) as error:
        resolve_settings({name: value}, {})
    first, *rest = str(error.value).splitlines()
    assert first.startswith(f"--{name.replace('_', '-')} cannot be ")
    assert rest[0].startswith("  expected: ")


def test_an_unknown_setting_is_refused_whoever_gives_it():
    with pytest.raises(SettingsError, match="epoch") as error:
        resolve_settings({"epoch": 3}, {})
    assert "Did you mean 'epochs'?" in str(error.value)
    with pytest.raises(SettingsError, match="sise"):
        resolve_settings({}, {"sise": 3})


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("imagenet", "imagenet"),
        ("none", None),
        ("a.h5", "a.h5"),
        (Path("a.h5"), "a.h5"),
        (["imagenet", "resnet50=a.h5"], "a.h5"),
        (["resnet50=a.h5", "imagenet"], "a.h5"),
        (["resnet50=none", "imagenet"], None),
        (["other=a.h5"], None),
        (["/data/a=b/w.h5"], "/data/a=b/w.h5"),
        (["resnet50=/data/a=b/w.h5"], "/data/a=b/w.h5"),
        (["resnet50=~/w.h5"], str(Path.home() / "w.h5")),
    ],
)
def test_weights_for_a_backbone(weights, expected):
    assert resolve_settings({"weights": weights}, {}).weights_for("resnet50") == expected


# Augmentation


def test_finetune_is_augmented_and_probe_is_not():
    assert resolve_settings({}, {}).augmentation == MEDICAL
    assert not resolve_settings({"protocol": "probe"}, {}).augmentation.changes_images
    assert not resolve_settings({}, {"augment": "none"}).augmentation.changes_images
    assert resolve_settings({"augment": "medical"}, {"augment": "none"}).augmentation == MEDICAL


def test_single_options_go_before_what_augment_names():
    told = resolve_settings({"rotation": 5.0, "noise": 0}, {})
    assert (told.rotation, told.noise, told.zoom) == (5.0, 0, MEDICAL.zoom)
    alone = resolve_settings({"augment": "none", "zoom": 0.2}, {})
    assert alone.augmentation == Augmentation(zoom=0.2)
    assert resolve_settings({"noise": 0.05}, {"augment": "none"}).augmentation == Augmentation(
        noise=0.05
    )


@pytest.mark.parametrize(
    "given", [{"augment": "medical"}, {"rotation": 3}, {"augment": "none", "clahe_share": 0.5}]
)
def test_a_probe_cannot_be_augmented_and_is_told_why(given):
    with pytest.raises(SettingsError, match=r"probe(?s:.*)sees each image once"):
        resolve_settings({"protocol": "probe", **given}, {})


def test_clahe_for_all_leaves_nothing_to_choose():
    assert resolve_settings({"clahe": True}, {}).clahe_share == 0
    with pytest.raises(SettingsError, match=r"--clahe --clahe-share 0\.5"):
        resolve_settings({"clahe": True, "clahe_share": 0.5}, {})


def test_a_batch_size_can_be_left_to_the_machine():
    assert resolve_settings({"batch_size": "auto"}, {}).batch_size == "auto"
