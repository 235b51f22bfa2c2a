"""One recipe, one seed: what the embeddings depend on, who shares them, and the prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import Recorder
from tiny_parts import Drawn, Grid, TinyNet

from cxrbench.experiment import fit_and_predict, predict_prior
from cxrbench.material import gather_material
from cxrbench.modeling.assemble import build_trunk
from cxrbench.recipe import parse_recipe
from cxrbench.settings import resolve_settings

PROBE = {"protocol": "probe", "weights": "none", "epochs": 1, "image_size": 32, "batch_size": 16}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def material_for(settings, cache, **drawn):
    return gather_material(
        Drawn(**drawn),
        settings,
        image_sizes={settings.image_size},
        extractors={Grid()},
        cache=cache,
        threads=1,
        display=Recorder(),
    )


@pytest.fixture(scope="module")
def outcome_of(registry, cache):
    """Measure a recipe; also how many embeddings were computed for it."""

    def measure(text="tinynet", seed=0, drawn=None, **changed):
        settings = resolve_settings({**PROBE, **changed}, {})
        display = Recorder()
        outcome = fit_and_predict(
            parse_recipe(text, registry),
            settings,
            seed,
            material_for(settings, cache, **(drawn or {})),
            cache=cache,
            display=display,
        )
        return outcome, display.count("embedding")

    return measure


def test_recipes_that_need_the_same_embeddings_share_them(outcome_of):
    outcome_of()
    for text in ("tinynet", "tinynet+grid"):
        _, computed = outcome_of(text)
        assert computed == 0, text
    _, computed = outcome_of("tinynet", epochs=2, batch_size=8, learning_rate=0.5, patience=3)
    assert computed == 0


def test_whatever_shapes_them_makes_others(outcome_of, tmp_path, monkeypatch):
    outcome_of()
    weights = tmp_path / "own.weights.h5"
    build_trunk(TinyNet(), 32, None, 77).save_weights(weights)
    changes = [
        {"seed": 1},
        {"weights": str(weights)},
        {"image_size": 48},
        {"fit": "pad"},
        {"clahe": True},
        {"max_pixels": 99_999},
        {"drawn": {"seed": 1}},
        {"text": "tinynet:channels=4"},
    ]
    for change in changes:
        _, computed = outcome_of(**change)
        assert computed == 1, change
        _, computed = outcome_of(**change)
        assert computed == 0, change
    monkeypatch.setattr("cv2.__version__", "0.0.1")
    assert outcome_of()[1] == 1


def test_weights_of_a_file_are_shared_by_all_seeds(outcome_of, tmp_path):
    weights = tmp_path / "own.weights.h5"
    build_trunk(TinyNet(), 32, None, 78).save_weights(weights)
    assert [outcome_of(seed=s, weights=str(weights))[1] for s in (0, 1)] == [1, 0]


def test_a_probes_saved_model_predicts_from_pixels_what_its_top_did_from_embeddings(
    outcome_of, cache
):
    outcome, _ = outcome_of("tinynet+grid", epochs=3)
    material = material_for(resolve_settings(PROBE, {}), cache)
    rows = material.rows("test")
    pixels = material.prepared.pixels[32][rows][..., None].astype(np.float32)
    vectors = outcome.encoders["grid"].vectors[rows]
    y_score = np.asarray(outcome.model({"image": pixels, "grid": vectors}, training=False))
    np.testing.assert_allclose(y_score, outcome.test, atol=1e-5)
    assert outcome.trainable_parameters < outcome.parameters


def test_the_prior_is_each_labels_share_among_known_training_labels(cache):
    material = material_for(resolve_settings(PROBE, {}), cache)
    labels = material.cohort.labels.copy()
    train = material.rows("train")
    labels[train[::3], 0] = np.nan
    labels[train, 2] = np.nan
    labels[material.rows("test"), 1] = 1  # the test split shapes nothing
    outcome = predict_prior(replace(material, cohort=replace(material.cohort, labels=labels)))
    known = labels[train, 0][~np.isnan(labels[train, 0])]
    expected = [known.mean(), labels[train, 1].mean(), 0, labels[train, 3].mean()]
    for part, scores in (("val", outcome.val), ("test", outcome.test)):
        assert scores.shape == (len(material.rows(part)), 4)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, np.tile(expected, (len(scores), 1)), rtol=1e-6)
