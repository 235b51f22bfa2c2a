"""One recipe, one seed: what the embeddings depend on, who shares them, and the prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import Recorder
from tiny_parts import Drawn, Grid, TinyNet

from cxrbench.experiment.cohort import load_and_split, prepare_cohort
from cxrbench.experiment.fit import fit_and_predict, predict_prior, settle_batch_size
from cxrbench.modeling.assemble import build_trunk
from cxrbench.modeling.augment import Augmentation, draw
from cxrbench.modeling.inputs import Inputs, other_patients
from cxrbench.recipe import parse_recipe
from cxrbench.settings import resolve_settings
from cxrbench.store.image_pass import Preparation

PROBE = {
    **{"protocol": "probe", "weights": "none", "epochs": 1, "image_size": 32, "batch_size": 16},
    **{"device": "cpu", "precision": "float32", "engine": "keras"},
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def cohort_for(settings, cache, **drawn):
    preparation = Preparation(image_sizes=(settings.image_size,), extractors=(Grid(),))
    return prepared(Drawn(**drawn), settings, preparation, cache)


def prepared(dataset, settings, preparation, cache):
    divided = load_and_split(dataset, settings, cache=cache, display=Recorder())
    return prepare_cohort(
        divided, preparation, max_bad=0.01, cache=cache, threads=1, display=Recorder()
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
            cohort_for(settings, cache, **(drawn or {})),
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
    data = cohort_for(resolve_settings(PROBE, {}), cache)
    rows = data.rows("test")
    pixels = data.prepared.pixels[32][rows][..., None].astype(np.float32)
    vectors = outcome.encoders["grid"].vectors[rows]
    y_score = np.asarray(outcome.model({"image": pixels, "grid": vectors}, training=False))
    np.testing.assert_allclose(y_score, outcome.test, atol=1e-5)
    assert outcome.trainable_parameters < outcome.parameters


def test_the_prior_is_each_labels_share_among_known_training_labels(cache):
    data = cohort_for(resolve_settings(PROBE, {}), cache)
    labels = data.cohort.labels.copy()
    train = data.rows("train")
    labels[train[::3], 0] = np.nan
    labels[train, 2] = np.nan
    labels[data.rows("test"), 1] = 1  # the test split shapes nothing
    outcome = predict_prior(replace(data, cohort=replace(data.cohort, labels=labels)))
    known = labels[train, 0][~np.isnan(labels[train, 0])]
    expected = [known.mean(), labels[train, 1].mean(), 0, labels[train, 3].mean()]
    for part, scores in (("val", outcome.val), ("test", outcome.test)):
        assert scores.shape == (len(data.rows(part)), 4)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, np.tile(expected, (len(scores), 1)), rtol=1e-6)


# What is kept of a frozen part, and what is not


@pytest.fixture(scope="module")
def own_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "own.weights.h5"
    build_trunk(TinyNet(), 32, None, 79).save_weights(path)
    return str(path)


def finetuned(registry, cache, text="tinynet+grid", **changed):
    settings = resolve_settings(
        {**PROBE, "protocol": "finetune", "epochs": 2, "learning_rate": 1e-2, **changed}, {}
    )
    display = Recorder()
    data = cohort_for(settings, cache)
    outcome = fit_and_predict(
        parse_recipe(text, registry), settings, 0, data, cache=cache, display=display
    )
    return outcome, display, data


def test_finetune_without_augmentation_computes_the_frozen_part_once(registry, cache, own_weights):
    given = {"weights": own_weights, "augment": "none"}
    outcome, display, data = finetuned(registry, cache, **given)
    assert display.count("embedding") == 1
    assert "  storing 15 × 15 × 4 activations of each of 90 images: 0.2 MB in the cache" in (
        display.lines
    )
    assert "activations" in outcome.seconds
    _, display, _ = finetuned(registry, cache, **given)
    assert display.count("embedding") == 0
    # The scores are the model's own, not those of rounded activations.
    rows = data.rows("test")
    pixels = data.prepared.pixels[32][rows][..., None].astype(np.float32)
    vectors = outcome.encoders["grid"].vectors[rows]
    y_score = np.asarray(outcome.model({"image": pixels, "grid": vectors}, training=False))
    np.testing.assert_allclose(y_score, outcome.test, atol=1e-6)


def test_recomputing_activations_gives_the_same_but_for_rounding(registry, cache, own_weights):
    given = {"weights": own_weights, "augment": "none"}
    kept, _, _ = finetuned(registry, cache, **given)
    whole, display, _ = finetuned(registry, cache, **given, activations="recompute")
    assert display.count("embedding") == 0
    np.testing.assert_allclose(kept.test, whole.test, atol=5e-3)
    assert kept.trainable_parameters == whole.trainable_parameters
    assert kept.parameters == whole.parameters
    for one, two in zip(kept.training.history, whole.training.history, strict=True):
        assert one.loss == pytest.approx(two.loss, abs=1e-3)


@pytest.mark.parametrize("changed", [{"augment": "medical"}, {"weights": "none"}])
def test_activations_that_change_are_not_kept(registry, cache, own_weights, changed):
    given = {"weights": own_weights, "augment": "none", **changed}
    _, display, _ = finetuned(registry, cache, **given)
    assert display.count("embedding") == 0


def test_feature_vectors_are_never_augmented(registry, cache, monkeypatch):
    """Whatever happens to the images, the model is fed the stored vectors."""
    from cxrbench.modeling import inputs

    fed = []
    gather = inputs.Inputs.gather

    def seen(self, rows, draws=None):
        batch = gather(self, rows, draws)
        if draws is not None:
            fed.append((rows, batch["grid"], self.features["grid"][rows]))
            assert batch["image"].dtype == np.uint8
        return batch

    monkeypatch.setattr(inputs.Inputs, "gather", seen)
    finetuned(registry, cache, weights="none", augment="medical", clahe_share=0)
    assert fed
    for _, given, stored in fed:
        np.testing.assert_array_equal(given, stored)


def test_clahe_is_chosen_image_by_image(registry, cache):
    """Without a second decode: the stores of both planes are filled in one pass."""
    import tiny_parts

    settings = resolve_settings({**PROBE, "protocol": "finetune"}, {})
    drawn = Drawn(seed=3)
    before = tiny_parts.calls["read"]
    preparation = Preparation(image_sizes=(32,), clahe_sizes=(32,))
    data = prepared(drawn, settings, preparation, cache)
    assert tiny_parts.calls["read"] - before == len(data.cohort)
    plain, equalised = data.prepared.pixels[32], data.prepared.clahe_pixels[32]
    inputs = Inputs(plain, {}, data.cohort.labels, equalised)
    rows = np.arange(40)
    draws = draw(Augmentation(clahe=0.5), seed=0, epoch=0, images=len(plain))
    batch = inputs.gather(rows, draws)["image"]
    chosen = draws.clahe[rows]
    assert 10 < chosen.sum() < 30
    np.testing.assert_array_equal(batch[chosen], equalised[rows][chosen])
    np.testing.assert_array_equal(batch[~chosen], plain[rows][~chosen])
    assert not np.array_equal(plain, equalised)


# Parts that are trained on other patients' images


@pytest.fixture
def fed(monkeypatch):
    """What models are fed: the rows that were asked for, and their inputs."""
    from cxrbench.modeling import inputs

    seen = []
    gather = inputs.Inputs.gather

    def watched(self, rows, draws=None):
        batch = gather(self, rows, draws)
        seen.append((rows, batch))
        return batch

    monkeypatch.setattr(inputs.Inputs, "gather", watched)
    return seen


def permuted_rows(data, seed=0):
    return other_patients(
        data.rows("train"), data.patients("train"), images=len(data.cohort), seed=seed
    )


@pytest.mark.parametrize("part", ["tinynet", "grid"])
def test_a_permuted_part_alone_is_fed_with_other_patients(registry, cache, fed, part):
    text = "tinynet+grid".replace(part, f"{part}:permuted=true")
    given = {"weights": "none", "augment": "none"}
    outcome, _, data = finetuned(registry, cache, text, **given)
    sources, own = permuted_rows(data), np.arange(len(data.cohort))
    pixels, vectors = data.prepared.pixels[32], outcome.encoders["grid"].vectors
    seen = set()
    for rows, batch in fed:
        seen |= set(rows.tolist())
        of_image, of_grid = (sources, own) if part == "tinynet" else (own, sources)
        np.testing.assert_array_equal(batch["image"], pixels[of_image[rows]])
        np.testing.assert_array_equal(batch["grid"], vectors[of_grid[rows]])
    assert seen == set(np.concatenate([data.rows(p) for p in ("train", "val", "test")]))
    # Statistics are those of the vectors themselves, in the images' own order.
    plain, _, _ = finetuned(registry, cache, "tinynet+grid", **given)
    for name in ("mean", "variance"):
        one, two = (o.encoders["grid"].statistics for o in (outcome, plain))
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(outcome.test, plain.test)
    assert outcome.parameters == plain.parameters


def test_a_permuted_backbone_shares_what_is_kept_of_the_frozen_one(
    registry, cache, own_weights, outcome_of
):
    outcome_of("tinynet+grid")
    permuted, computed = outcome_of("tinynet:permuted=true+grid")
    assert computed == 0
    again, _ = outcome_of("tinynet:permuted=true+grid")
    np.testing.assert_array_equal(permuted.test, again.test)
    other, _ = outcome_of("tinynet:permuted=true+grid:permuted=true")
    assert not np.array_equal(permuted.test, other.test)
    # On activations as on pixels, but for their rounding.
    given = {"weights": own_weights, "augment": "none", "text": "tinynet:permuted=true+grid"}
    kept, _, _ = finetuned(registry, cache, **given)
    whole, _, _ = finetuned(registry, cache, **given, activations="recompute")
    np.testing.assert_allclose(kept.test, whole.test, atol=5e-3)


def test_a_control_has_the_batch_size_of_what_it_controls(registry, tmp_path):
    settings = resolve_settings({**PROBE, "batch_size": "auto"}, {})
    data = cohort_for(settings, tmp_path)
    display = Recorder()
    for text in ("grid", "grid:permuted=true"):
        recipe = parse_recipe(text, registry)
        settle_batch_size(recipe, settings, data, cache=tmp_path, display=display)
    assert sum("measuring batch sizes" in line for line in display.lines) == 1


# The batch size


def test_a_batch_size_is_found_once_and_kept(registry, tmp_path):
    given = {**PROBE, "protocol": "finetune", "batch_size": "auto", "augment": "none"}
    settings = resolve_settings(given, {})
    data = cohort_for(settings, tmp_path)
    recipe = parse_recipe("tinynet+grid", registry)
    first, again = Recorder(), Recorder()
    found = settle_batch_size(recipe, settings, data, cache=tmp_path, display=first)
    assert found in (8, 16, 32, 64)
    assert any("batch size 8:" in line for line in first.lines)
    assert settle_batch_size(recipe, settings, data, cache=tmp_path, display=again) == found
    assert again.lines == [f"tinynet+grid: batch size {found}"]
