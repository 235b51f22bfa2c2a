"""The maps of a stored run: what they are made of, and which method suits which recipe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import FAST
from tiny_parts import Drawn

import cxrbench
from cxrbench.errors import SettingsError
from cxrbench.inference.explanation import require_labels, words_of
from cxrbench.inference.images import cohort_images
from cxrbench.inference.inputs import ready_image
from cxrbench.inference.saliency import Saliency, choose_method
from cxrbench.inference.trained import load_trained
from cxrbench.modeling.backend import load_keras

BOTH = "tinynet+grid+rows:words=8"


def ready_images(trained, count=3):
    dataset = Drawn()
    images = cohort_images(dataset, dataset.load(), range(count))
    return [ready_image(image, trained.preparation, (trained,)) for image in images]


@pytest.fixture(scope="module")
def keypoint_run(tiny_plugin, tmp_path_factory) -> Path:
    """A run of ORB on pictures in which it finds keypoints."""
    folder = tmp_path_factory.mktemp("orb")
    cxrbench.run("orb:image_size=96,words=8", data="drawn", runs=folder / "runs",
                 cache=folder / "cache", **FAST)  # fmt: skip
    (path,) = (folder / "runs").glob("drawn-orb*")
    return path


def test_scores_are_those_that_the_run_stored(grid, registry):
    import pandas as pd

    run = grid.run_of(BOTH)
    trained = load_trained(run, registry)
    told = pd.read_parquet(run / "predictions.parquet").set_index("image")
    found = [image for image in ready_images(trained, 40) if image.name in told.index]
    y_score = Saliency(trained, "gradcam").scores(found)
    columns = [f"y_score_{label}" for label in trained.label_names]
    expected = told.loc[[image.name for image in found], columns].to_numpy()
    assert len(found) > 5
    np.testing.assert_allclose(y_score, expected, atol=1e-5)


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "occlusion"])
@pytest.mark.parametrize("recipe", ["tinynet", BOTH])
def test_maps_do_not_depend_on_batches_or_threads(recipe, method, grid, registry):
    trained = load_trained(grid.run_of(recipe), registry)
    labels = [[0, 2], [1], [3, 0, 1]]
    found = Saliency(trained, method, batch_size=8).maps(ready_images(trained), labels)
    assert [maps.shape for maps in found] == [(2, 32, 32), (1, 32, 32), (3, 32, 32)]
    assert all(maps.dtype == np.float32 and maps.min() >= 0 for maps in found)
    others = Saliency(trained, method, batch_size=2, threads=2).maps(ready_images(trained), labels)
    for maps, other in zip(found, others, strict=True):
        np.testing.assert_allclose(maps, other, atol=1e-5)


def test_gradcam_of_a_stored_run_is_the_one_of_finite_differences(grid, registry):
    """The weights of the channels, found by nudging each channel of the map as a whole.

    In double precision: a step that single precision resolves crosses the kinks of ReLUs.
    """
    trained = load_trained(grid.run_of(BOTH), registry)
    (image,) = ready_images(trained, 1)
    network, label, step = trained.network, 1, 1e-6
    maps = network.trunk.predict_on_batch(image.inputs["image"][None]).astype(np.float64)
    vectors = {name: told[None] for name, told in image.inputs.items() if name != "image"}
    text = json.dumps(network.top.get_config()).replace("float32", "float64")
    top = load_keras().Model.from_config(json.loads(text))
    top.set_weights(network.top.get_weights())

    def logit(embedding):
        return float(top({"image": embedding, **vectors})[0, label])

    embedding = maps.mean(axis=(1, 2))
    slopes = []
    for nudge in np.eye(maps.shape[3]) * step:
        slopes.append((logit(embedding + nudge) - logit(embedding - nudge)) / (2 * step))
    expected = np.maximum(maps[0] @ np.array(slopes), 0) / np.prod(maps.shape[1:3])
    (found,) = Saliency(trained, "gradcam")._cam([image], [[label]])
    assert expected.max() > 0
    np.testing.assert_allclose(found[0], expected, atol=1e-4 * expected.max())


def test_occlusion_extracts_the_features_of_each_occluded_picture_again(grid, registry):
    """Each fall is that of a model that is given a picture which was occluded before all else."""
    trained = load_trained(grid.run_of("grid"), registry)
    (image,) = ready_images(trained, 1)
    saliency = Saliency(trained, "occlusion")
    (found,) = saliency.maps([image], [[0, 1, 2, 3]])
    extractor = trained.recipe.features[0].extractor
    logits = trained.network.whole()

    def logit(pixels):
        cells = extractor.extract(pixels, image.image.record).descriptors
        return logits.predict_on_batch({"grid": cells.astype(np.float32)})[0]

    whole = logit(image.pixels[32])
    falls = []
    for row in range(9):
        for column in range(9):
            pixels = image.pixels[32].copy()
            edges = np.rint(np.linspace(0, 32, 11)).astype(int)
            pixels[edges[row] : edges[row + 2], edges[column] : edges[column + 2]] = np.rint(
                image.pixels[32].mean()
            )
            falls.append(whole - logit(pixels))
    coarse = saliency.occlusion.map(np.array(falls))
    assert coarse.max() > 0
    (own,) = saliency._occlusion([image], [[0, 1, 2, 3]])
    np.testing.assert_allclose(own, coarse, atol=1e-5)
    assert found.shape == (4, 32, 32)


def test_the_method_that_suits_the_recipe(grid, registry):
    with_backbone = load_trained(grid.run_of("tinynet"), registry)
    without = load_trained(grid.run_of("grid"), registry)
    assert choose_method("auto", with_backbone) == "gradcam"
    assert choose_method("auto", without) == "occlusion"
    assert choose_method("gradcam++", with_backbone) == "gradcam++"
    with pytest.raises(SettingsError, match="needs a backbone"):
        choose_method("gradcam", without)
    with pytest.raises(SettingsError, match="--method cannot be 'lime'"):
        choose_method("lime", without)


def test_labels_are_found_in_any_letters_and_an_unknown_one_is_refused(grid, registry):
    trained = load_trained(grid.run_of("grid"), registry)
    assert require_labels(["no finding", "MASS", "Mass"], trained) == ("No Finding", "Mass")
    with pytest.raises(SettingsError) as caught:
        require_labels(["Efusion"], trained)
    assert "has no label 'Efusion'" in str(caught.value)
    assert "Did you mean 'Effusion'" in str(caught.value)


def test_what_a_word_did_is_the_change_of_the_logit_with_its_mean_in_its_place(
    keypoint_run, registry
):
    trained = load_trained(keypoint_run, registry)
    image = ready_images(trained, 1)[0]
    saliency = Saliency(trained, "occlusion")
    words = words_of(saliency, image, 2)["orb"]
    with np.load(keypoint_run / "encoders" / "orb.npz") as file:
        mean = file["standardised_mean"]
    logits = trained.network.whole()
    vector = image.inputs["orb"]
    whole = logits.predict_on_batch({"orb": vector[None]})[0, 2]
    for word in range(8):
        changed = vector.copy()
        changed[word] = mean[word]
        expected = whole - logits.predict_on_batch({"orb": changed[None]})[0, 2]
        assert words.effects[word] == pytest.approx(expected, abs=1e-5)
    keypoints = image.local["orb"].keypoints
    assert len(keypoints) > 5
    assert words.of_keypoints.shape == (len(keypoints),)
    # The encoding is the square root of each word's share of the keypoints.
    counts = np.bincount(words.of_keypoints, minlength=8)
    np.testing.assert_allclose(np.sqrt(counts / counts.sum()), vector, atol=1e-6)
    strongest = words.strongest(3)
    assert all(counts[word] for word in strongest)
    effects = np.abs(words.effects[list(strongest)])
    assert (np.diff(effects) <= 0).all()


def test_features_without_words_or_places_have_no_words(grid, registry):
    trained = load_trained(grid.run_of(BOTH), registry)
    assert words_of(Saliency(trained, "gradcam"), ready_images(trained, 1)[0], 0) == {}
