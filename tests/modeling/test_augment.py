"""Augmentation: what is drawn, what it does to a picture, and that every backend does the same."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage, stats
from small_cnn import SmallCNN, small_pictures

from cxrbench.builtin.concat import Concat
from cxrbench.modeling.assemble import build_top, build_trunk, feature_statistics
from cxrbench.modeling.augment import (
    MEDICAL,
    PARAMETERS,
    Augmentation,
    augment,
    draw,
)
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.inputs import training_view
from cxrbench.modeling.train import masked_cross_entropy

# Every option beyond what anybody would use, so that nothing is too small to be seen.
WILD = Augmentation(
    rotation=90, translation=0.4, zoom=0.5, brightness=0.5, contrast=0.9, noise=0.2, clahe=0.5
)


def rows(**columns) -> np.ndarray:
    """Parameters (N, P) with these columns, the others zero."""
    length = max(np.size(values) for values in columns.values())
    table = np.zeros((length, len(PARAMETERS)), np.float32)
    for name, values in columns.items():
        table[:, PARAMETERS.index(name)] = values
    return table


def column(table: np.ndarray, name: str) -> np.ndarray:
    return table[:, PARAMETERS.index(name)]


def augmented(images: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """`augment` of (N, S, S), which is repeated for every row of parameters if N is 1."""
    load_keras()
    images = np.repeat(images, len(parameters) // len(images), axis=0)
    result = augment(images.astype(np.float32)[..., None], parameters)
    return np.asarray(result)[..., 0]


def film(side: int, seed: int = 0) -> np.ndarray:
    """(1, S, S) smooth as a radiograph, bright up to its edges, of whole grey levels."""
    noise = np.random.default_rng(seed).normal(size=(side, side))
    smooth = ndimage.gaussian_filter(noise, side / 25, mode="nearest")
    return np.rint(np.clip(130 + 50 * smooth / smooth.std(), 20, 235))[None].astype(np.float32)


# What is drawn


def test_every_option_is_drawn_within_its_range_and_up_to_its_ends():
    drawn = draw(MEDICAL, seed=3, epoch=2, images=10_000)
    assert drawn.parameters.dtype == np.float32
    ends = {
        **{"rotation": 15, "right": 0.1, "down": 0.1},
        **{"zoom": 0.1, "contrast": 0.1, "brightness": 0.1},
    }
    for name, end in ends.items():
        values = column(drawn.parameters, name)
        assert np.abs(values).max() <= np.float32(end)
        assert values.min() < -0.99 * end < 0.99 * end < values.max()
        assert stats.kstest(values / end, "uniform", (-1, 2)).pvalue > 1e-3
    noise = column(drawn.parameters, "noise")
    assert 0 <= noise.min() < 0.0002 < 0.0198 < noise.max() <= np.float32(0.02)
    assert drawn.clahe.dtype == bool
    assert abs(drawn.clahe.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 10_000)
    key = column(drawn.parameters, "key")
    assert (key == np.floor(key)).all()
    assert (key >= 0).all()
    assert 2**23.9 < key.max() < 2**24
    related = np.corrcoef(np.column_stack([drawn.parameters, drawn.clahe]), rowvar=False)
    assert np.abs(related - np.eye(len(related))).max() < 0.05


def test_a_row_follows_from_seed_epoch_and_row_alone():
    drawn = draw(MEDICAL, seed=3, epoch=2, images=50)
    longer = draw(MEDICAL, seed=3, epoch=2, images=1003)
    np.testing.assert_array_equal(longer.parameters[:50], drawn.parameters)
    np.testing.assert_array_equal(longer.clahe[:50], drawn.clahe)
    for other in (
        draw(MEDICAL, seed=3, epoch=3, images=50),
        draw(MEDICAL, seed=2, epoch=2, images=50),
    ):
        assert (other.parameters != drawn.parameters).all()
        assert np.abs(stats.pearsonr(other.parameters[:, 0], drawn.parameters[:, 0])[0]) < 0.5


@pytest.mark.parametrize("option", [field.name for field in fields(Augmentation)])
def test_an_option_changes_its_own_values_only(option):
    drawn = draw(MEDICAL, seed=3, epoch=2, images=50)
    without = draw(replace(MEDICAL, **{option: 0}), seed=3, epoch=2, images=50)
    own = {"translation": ["right", "down"], "clahe": []}.get(option, [option])
    for name in PARAMETERS:
        expected = 0 if name in own else column(drawn.parameters, name)
        np.testing.assert_array_equal(column(without.parameters, name), expected)
    np.testing.assert_array_equal(without.clahe, False if option == "clahe" else drawn.clahe)


def test_what_changes_nothing_says_so():
    nothing, only_clahe = Augmentation(), Augmentation(clahe=0.1)
    assert (nothing.changes_images, nothing.needs_parameters) == (False, False)
    assert (only_clahe.changes_images, only_clahe.needs_parameters) == (True, False)
    assert (MEDICAL.changes_images, MEDICAL.needs_parameters) == (True, True)
    assert not draw(only_clahe, seed=0, epoch=0, images=9).parameters[:, :-1].any()


def test_the_order_of_the_images_has_another_stream():
    uniform = np.random.default_rng((3, 2)).random((50, len(PARAMETERS) + 1), np.float32)
    angles = column(draw(MEDICAL, seed=3, epoch=2, images=50).parameters, "rotation")
    assert np.abs(angles - 15 * (2 * uniform[:, 0] - 1)).min() > 0


# What happens to a picture

MOVES = [
    (0, 0, 0, 0),
    (15, 0, 0, 0),
    (-15, 0.1, 0.1, 0.1),
    (15, -0.1, -0.1, -0.1),
    (7.3, 0.031, -0.077, 0.04),
    (0, 0.5, -0.25, 0),
    (0, 0, 0, -0.5),
    (0, 0, 0, 0.9),
    (90, 0, 0, 0),
    (-123, 0.9, 0.3, -0.4),
    (10, 1.5, 0, 0),
]


@pytest.mark.parametrize("side", [33, 128])
def test_moves_as_opencv_and_scipy_do(side):
    import cv2

    picture = film(side)
    centre = (side - 1) / 2
    parameters = rows(
        **dict(zip(("rotation", "right", "down", "zoom"), np.array(MOVES).T, strict=True))
    )
    for found, (angle, right, down, zoom) in zip(
        augmented(picture, parameters), MOVES, strict=True
    ):
        matrix = cv2.getRotationMatrix2D((centre, centre), angle, 1 + zoom)
        matrix[:, 2] += np.array([right, down]) * side
        by_opencv = cv2.warpAffine(
            picture[0], matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
        # OpenCV rounds places to 1/32 of a pixel: half of that along each axis, where the picture's
        # edge falls from 235 to black within one pixel.
        assert np.abs(found - by_opencv).max() <= 2 * 235 / 64 + 0.5
        assert np.abs(found - by_opencv).mean() < 0.2
        # SciPy computes in float64, rows before columns, from the result's place to the source's.
        back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
        by_scipy = ndimage.affine_transform(
            picture[0].astype(np.float64),
            back[::-1, 1::-1],
            back[::-1, 2],
            order=1,
            mode="grid-constant",
        )
        np.testing.assert_allclose(found, by_scipy, atol=0.02)


def dots(side: int, *places: tuple[int, int]) -> np.ndarray:
    """(1, S, S) black with a round spot at each (x, y)."""
    picture = np.zeros((side, side), np.float32)
    for x, y in places:
        picture[y, x] = 1
    smooth = ndimage.gaussian_filter(picture, side / 40)
    return (200 * smooth / smooth.max())[None]


def test_positive_is_counter_clockwise_right_down_and_larger():
    middle = (65 - 1) / 2
    right_of_centre = dots(65, (46, 32))
    moved = augmented(
        right_of_centre,
        np.concatenate(
            [rows(rotation=90), rows(right=0.1), rows(down=0.1), rows(zoom=0.5), rows(zoom=-0.5)]
        ),
    )
    found = [np.subtract(ndimage.center_of_mass(image)[::-1], middle) for image in moved]
    expected = [(0, -14), (20.5, 0), (14, 6.5), (21, 0), (7, 0)]
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_nothing_is_ever_mirrored():
    moves = replace(WILD, translation=0.1, brightness=0, contrast=0, noise=0)
    parameters = draw(moves, seed=0, epoch=0, images=64).parameters
    places = ((32, 32), (44, 32), (32, 44))
    corners = np.array(
        [
            [ndimage.center_of_mass(image)[::-1] for image in augmented(dots(65, p), parameters)]
            for p in places
        ]
    )
    across, down = corners[1] - corners[0], corners[2] - corners[0]
    area = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    scale = 1 + column(parameters, "zoom")
    np.testing.assert_allclose(area, 144 * scale**2, rtol=0.05)


def test_brightness_and_contrast():
    picture = film(64)
    exposed = augmented(
        picture,
        np.concatenate([rows(brightness=0.05), rows(brightness=-0.9), rows(contrast=-0.3)]),
    )
    np.testing.assert_allclose(exposed[0], np.minimum(picture[0] + 0.05 * 255, 255), atol=1e-3)
    np.testing.assert_allclose(exposed[1], np.maximum(picture[0] - 0.9 * 255, 0), atol=1e-3)
    mean = picture.mean()
    np.testing.assert_allclose(exposed[2], mean + 0.7 * (picture[0] - mean), atol=1e-3)


def test_noise_is_normal_and_white_and_differs_from_image_to_image():
    side, keys = 128, [0, 1, 2, 3, 4, 2**12, 2**23, 2**24 - 1]
    grey = np.full((1, side, side), 127.5)
    noisy = augmented(grey, rows(key=keys, noise=0.05))
    noise = (noisy - 127.5) / (0.05 * 255)
    count = noise.size
    # Bounds are 4.5 standard errors of what is measured, at these many values.
    assert abs(noise.mean()) < 4.5 / count**0.5
    assert abs(noise.std() - 1) < 4.5 / (2 * count) ** 0.5
    assert abs(stats.skew(noise, axis=None)) < 4.5 * (6 / count) ** 0.5
    assert abs(stats.kurtosis(noise, axis=None)) < 4.5 * (24 / count) ** 0.5
    assert all(stats.kstest(field.ravel(), "norm").pvalue > 1e-4 for field in noise)
    for a, b in (
        (noise[:, :, 1:], noise[:, :, :-1]),
        (noise[:, 1:], noise[:, :-1]),
        (noise[:, 1:, 1:], noise[:, :-1, :-1]),
        (noise[1:], noise[:-1]),
    ):
        assert abs((a * b).mean()) < 4.5 / a.size**0.5
        assert abs((a**2 * b**2).mean() - 1) < 4.5 * (8 / a.size) ** 0.5
    related = np.corrcoef(noise.reshape(len(keys), -1)) - np.eye(len(keys))
    assert np.abs(related).max() < 4.5 / side
    np.testing.assert_array_equal(augmented(grey, rows(key=keys, noise=0.05)), noisy)


def test_noise_has_the_deviation_that_was_drawn():
    parameters = rows(noise=[0.005, 0.01, 0.02], key=[7, 7, 9])
    noisy = augmented(np.full((1, 200, 200), 127.5), parameters)
    np.testing.assert_allclose(noisy.std(axis=(1, 2)), [1.275, 2.55, 5.1], rtol=0.02)


@pytest.mark.parametrize("side", [1, 2, 33, 64])
def test_zeros_give_the_image_back_bit_for_bit(side):
    pictures = np.random.default_rng(side).uniform(0, 255, (3, side, side)).astype(np.float32)
    same = augmented(pictures, rows(key=[0, 5, 2**24 - 1]))
    np.testing.assert_array_equal(same, pictures)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_ugly_pictures_stay_pictures(level):
    parameters = draw(WILD, seed=1, epoch=0, images=16).parameters
    for side in (1, 33):
        result = augmented(np.full((1, side, side), level), parameters)
        assert result.shape == (16, side, side)
        assert np.isfinite(result).all()
        assert result.min() >= 0
        assert result.max() <= 255


# In a training step


def whole_network():
    pictures = small_pictures()
    statistics = {"age": feature_statistics(pictures.features["age"], np.arange(96))}
    trunk = build_trunk(SmallCNN(), 32, None, 0)
    return build_top(trunk, Concat(), statistics, labels=3, seed=0).whole()


def batch(parameters: np.ndarray) -> dict[str, np.ndarray]:
    pictures = small_pictures()
    count = len(parameters)
    age = pictures.features["age"][:count]
    return {"image": pictures.image[:count], "age": age, "augmentation": parameters}


def test_a_view_is_the_model_with_stored_pixels():
    model = whole_network()
    view = training_view(model, image_size=32, augmented=True)
    assert [id(v) for v in view.trainable_variables] == [id(v) for v in model.trainable_variables]
    fed = batch(rows(key=np.arange(16)))
    expected = model.predict_on_batch(
        {"image": fed["image"].astype(np.float32)[..., None], "age": fed["age"]}
    )
    np.testing.assert_allclose(view.predict_on_batch(fed), expected, atol=1e-6)
    moved = {**fed, "augmentation": draw(WILD, seed=0, epoch=0, images=16).parameters}
    assert np.abs(view.predict_on_batch(moved) - expected).max() > 1e-2
    del fed["augmentation"]
    plain = training_view(model, image_size=32, augmented=False)
    np.testing.assert_allclose(plain.predict_on_batch(fed), expected, atol=1e-6)


def test_a_view_trains_the_model():
    model, keras = whole_network(), load_keras()
    before = model.get_weights()
    view = training_view(model, image_size=32, augmented=True)
    view.compile(keras.optimizers.SGD(0.1), masked_cross_entropy)
    labels = small_pictures().labels[:16]
    for epoch in range(2):
        parameters = draw(MEDICAL, seed=0, epoch=epoch, images=16).parameters
        assert np.isfinite(view.train_on_batch(batch(parameters), labels))
    after = model.get_weights()
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    assert all((a == b).all() for a, b in zip(after, view.get_weights(), strict=True))


def test_a_batch_may_have_one_image():
    view = training_view(whole_network(), image_size=32, augmented=True)
    parameters = draw(MEDICAL, seed=0, epoch=0, images=1).parameters
    assert view.predict_on_batch(batch(parameters)).shape == (1, 3)


def test_what_takes_no_pixels_is_its_own_view():
    keras = load_keras()
    model = whole_network()
    assert training_view(model, image_size=None, augmented=False) is model
    age = keras.Input((4,), name="age")
    features_only = keras.Model({"age": age}, keras.layers.Dense(3)(age))
    assert training_view(features_only, image_size=32, augmented=True) is features_only


def test_low_precision_is_not_for_augmentation():
    keras = load_keras()
    parameters = draw(WILD, seed=0, epoch=0, images=4).parameters
    pictures = film(33).astype(np.uint8).repeat(4, axis=0)
    expected = augmented(pictures, parameters)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        image = keras.Input((33, 33, 1), name="image", dtype="float32")
        same = keras.Model({"image": image}, keras.layers.Identity(dtype="float32")(image))
        view = training_view(same, image_size=33, augmented=True)
        found = view.predict_on_batch({"image": pictures, "augmentation": parameters})
    finally:
        keras.config.set_dtype_policy("float32")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., 0], expected, atol=BACKENDS_DIFFER)


# On every backend

# Grey levels: a place in the picture is rounded to 1/100,000 of a pixel, and noise to 1e-5.
BACKENDS_DIFFER = 0.02


def test_compiles_under_tensorflows_xla():
    if load_keras().backend.backend() != "tensorflow":
        pytest.skip("another backend is in use")
    import tensorflow as tf

    pictures = film(33).repeat(6, axis=0)[..., None]
    wild = draw(WILD, seed=0, epoch=0, images=6).parameters
    for compiled in (True, False):
        function = tf.function(augment, jit_compile=compiled, autograph=False)
        found = function(tf.constant(pictures), tf.constant(wild)).numpy()
        np.testing.assert_allclose(found[..., 0], augmented(film(33), wild), atol=BACKENDS_DIFFER)
        zeros = function(tf.constant(pictures), tf.constant(rows(key=np.arange(6)))).numpy()
        np.testing.assert_array_equal(zeros, pictures)
    view = training_view(whole_network(), image_size=32, augmented=True)
    view.compile("sgd", masked_cross_entropy, jit_compile=True)
    parameters = draw(MEDICAL, seed=0, epoch=0, images=16).parameters
    assert np.isfinite(view.train_on_batch(batch(parameters), small_pictures().labels[:16]))


# Goes through a model's own step, which each backend compiles in its own way.
WORKER = """
import sys
import numpy as np
from cxrbench.modeling.inputs import training_view
from cxrbench.modeling.backend import load_keras

keras = load_keras()
with np.load(sys.argv[1]) as file:
    fed = dict(file)
side = fed["image"].shape[1]
image = keras.Input((side, side, 1), name="image")
model = keras.Model({"image": image}, keras.layers.Identity()(image))
view = training_view(model, image_size=side, augmented=True)
varied = view.predict_on_batch(fed)
fed["augmentation"][:, :-1] = 0
np.savez(sys.argv[2], varied=varied, same=view.predict_on_batch(fed))
"""


@pytest.mark.parametrize(
    "name", ["tensorflow", "jax", pytest.param("torch", marks=pytest.mark.torch)]
)
def test_every_backend_gives_the_same_pictures(name, tmp_path):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    parameters = draw(WILD, seed=4, epoch=1, images=12).parameters
    pictures = np.concatenate([film(33, seed) for seed in range(12)])
    np.savez(tmp_path / "fed.npz", image=pictures.astype(np.uint8), augmentation=parameters)
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path / "fed.npz"), str(tmp_path / "found.npz")],
        env={**os.environ, "KERAS_BACKEND": name},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["same"][..., 0], pictures)
        np.testing.assert_allclose(
            found["varied"][..., 0], augmented(pictures, parameters), atol=BACKENDS_DIFFER
        )
