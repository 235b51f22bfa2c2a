"""Plans: what each recipe of a grid is measured under, and what is refused before any work."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from conftest import Recorder
from tiny_parts import Drawn, TinyNet

import cxrbench
from cxrbench.errors import DeviceError, SettingsError, WeightsError
from cxrbench.experiment.plans import make_plans
from cxrbench.experiment.settling import (
    check_backbones,
    computing,
    require_use_of_engine,
    with_devices,
    with_engines,
)
from cxrbench.modeling import engines
from cxrbench.modeling.augment import MEDICAL


@pytest.fixture
def plans(registry):
    def made(*recipes, **options):
        given = {"weights": "none", "image_size": 32, **options}
        return with_devices(make_plans(recipes, registry, given, Drawn()))

    return made


def test_a_recipe_without_a_backbone_takes_nothing_of_what_is_for_images(plans):
    with_backbone, alone, prior = plans("tinynet+grid", "grid", rotation=4.0, augment="medical")
    assert with_backbone.settings.rotation == 4.0
    assert with_backbone.settings.zoom == MEDICAL.zoom
    assert with_backbone.wants_clahe
    for plan in (alone, prior):
        assert plan.settings.protocol == "probe"
        assert not plan.settings.augmentation.changes_images
        assert not plan.wants_clahe


def test_auto_is_a_linear_head_where_everything_before_it_is_fixed(plans):
    def heads(*recipes, **options):
        return [plan.settings.head for plan in plans(*recipes, **options)[:-1]]

    assert heads("tinynet+grid", "grid", protocol="probe") == ["linear", "linear"]
    assert heads("tinynet+grid", "grid") == ["mlp", "linear"], "without a backbone it is a probe"
    assert heads("tinynet+grid@concat:units=8", protocol="probe") == ["mlp"]
    assert heads("tinynet+grid", "grid", protocol="probe", head="mlp") == ["mlp", "mlp"]


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("tinynet+grid@late", {}),
        ("tinynet+grid@late", {"protocol": "probe", "head": "mlp"}),
        ("grid+rows@late", {"head": "mlp"}),
    ],
)
def test_late_fusion_has_a_linear_head_only(plans, recipe, options):
    assert plans(recipe, protocol="probe")[0].settings.head == "linear"
    with pytest.raises(SettingsError, match="needs the head linear, one for each part"):
        plans(recipe, **options)


@pytest.mark.parametrize(
    ("recipe", "protocol", "reason"),
    [
        ("tinynet", "finetune", "the backbone trains too"),
        ("tinynet+grid@concat:units=8", "probe", "the fusion trains too"),
    ],
)
def test_a_linear_head_on_what_trains_is_refused(plans, recipe, protocol, reason):
    with pytest.raises(SettingsError, match=f"--head linear does not work for .*: {reason}"):
        plans(recipe, protocol=protocol, head="linear")


def test_a_probe_wants_no_second_plane(plans):
    assert not plans("tinynet", protocol="probe")[0].wants_clahe


def test_auto_is_settled_before_anything_is_measured(plans):
    for plan in plans("tinynet"):
        assert (plan.settings.device, plan.settings.precision) == ("cpu", "float32")
    assert plans("tinynet", precision="bfloat16")[0].settings.precision == "bfloat16"


def test_a_batch_that_devices_cannot_share_is_refused_at_once(plans):
    with pytest.raises(SettingsError, match=r"batch of 15 (?s:.*)use a batch size of 14"):
        plans("tinynet", batch_size=15, devices=2)


def test_more_devices_than_there_are_is_an_error(plans):
    (plan, _) = plans("tinynet", devices=2)
    with pytest.raises(DeviceError, match="needs more CPU devices"), computing(plan.settings):
        pass


def test_weights_of_one_backbone_are_not_silently_random_ones_of_another(plans):
    with pytest.raises(SettingsError, match="--weights gives none for resnet50") as error:
        plans("tinynet", "resnet50", weights=["tinynet=none"])
    assert "add --weights imagenet" in str(error.value)
    both = plans("tinynet", "resnet50", weights=["tinynet=none", "imagenet"])
    assert both[1].settings.weights_for("resnet50") == "imagenet"
    assert plans("tinynet", "grid", weights=["tinynet=none"])


def test_missing_weights_stop_a_plan_before_images_are_read(plans):
    with pytest.raises(WeightsError, match="neither cached nor downloadable"):
        check_backbones(plans("tinynet", weights="imagenet"))


# Engines


@pytest.fixture
def chosen(plans, tmp_path, monkeypatch):
    """The engine of each plan, were OpenVINO installed and twice as fast as Keras."""
    measured = []

    def faster(model, example):
        measured.append(example.shape)
        return "openvino", ""

    monkeypatch.setattr(engines, "_faster", faster)
    monkeypatch.setattr(engines, "_has_openvino", lambda: True)
    monkeypatch.setattr(engines, "_conditions", lambda model, example: {"shape": example.shape})

    def of(*recipes, images=10_000, **options):
        settled = with_engines(
            plans(*recipes, **options), images, cache=tmp_path, display=Recorder()
        )
        return [plan.settings.engine for plan in settled], len(measured)

    return of


def test_the_engine_is_chosen_for_what_is_frozen(chosen, tmp_path):
    assert chosen("tinynet", "grid", protocol="probe") == (["openvino", "keras", "keras"], 1)
    assert chosen("tinynet+grid", protocol="probe") == (["openvino", "keras"], 1)
    weights = tmp_path / "own.weights.h5"
    TinyNet().build(32, None).save_weights(weights)
    kept = {"weights": str(weights), "augment": "none"}
    assert chosen("tinynet", **kept)[0] == ["openvino", "keras"]


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": "finetune"},
        {"protocol": "finetune", "augment": "none"},
        {"protocol": "probe", "engine": "keras"},
        {"protocol": "probe", "precision": "bfloat16"},
        {"protocol": "probe", "images": 4999},
    ],
    ids=str,
)
def test_where_there_is_no_choice_nothing_is_measured(chosen, options):
    assert chosen("tinynet", **options) == (["keras", "keras"], 0)


@pytest.mark.parametrize("options", [{}, {"augment": "none"}], ids=str)
def test_openvino_for_a_backbone_that_trains_is_refused(plans, options):
    (plan, _) = plans("tinynet", protocol="finetune", engine="openvino", **options)
    with pytest.raises(SettingsError, match=r"nothing to compute for tinynet(?s:.*)--protocol pro"):
        require_use_of_engine(plan)


def test_both_engines_give_the_same_scores_and_two_rows(tiny_plugin, tmp_path):
    if find_spec("openvino") is None:  # an import by itself would start its telemetry
        pytest.skip("OpenVINO is not installed")
    rows = []
    for name in ("keras", "openvino"):
        result = cxrbench.run(
            "tinynet",
            data="drawn",
            protocol="probe",
            weights="none",
            epochs=2,
            engine=name,
            runs=tmp_path / "runs",
            cache=tmp_path / "cache",
        )
        rows += [row for row in result["boards"][0]["rows"] if row["recipe"] == "tinynet"]
    assert [row["engine"] for row in rows] == ["keras", "openvino"]
    assert rows[0]["macro_auroc"] == pytest.approx(rows[1]["macro_auroc"], abs=1e-3)
    assert len({row["runs"][0] for row in rows}) == 2
