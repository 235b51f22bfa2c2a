"""Attention and gates: what they compute, beside the papers' formulas in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from cxrbench_attention import Attention, Gated

from cxrbench import CxrbenchError
from cxrbench.testing import checks_for

RNG = np.random.default_rng(0)
MAP = RNG.normal(size=(3, 2, 4, 6)).astype(np.float32)
FEATURES = {
    "orb": RNG.normal(size=(3, 5)).astype(np.float32),
    "sift": RNG.normal(size=(3, 7)).astype(np.float32),
    "hog": RNG.normal(size=(3, 4)).astype(np.float32),
}


def fused(fusion, image, features):
    """The fusion as a model, with drawn biases, and its output."""
    keras.utils.set_random_seed(0)
    inputs = {name: keras.Input(array.shape[1:], name=name) for name, array in features.items()}
    tensor = None if image is None else keras.Input(image.shape[1:], name="image")
    output = fusion.fuse(tensor, inputs)
    model = keras.Model({**inputs, **({} if image is None else {"image": tensor})}, output)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(keras.ops.convert_to_numpy(weight) + rng.normal(0, 0.3, weight.shape))
    given = {**features, **({} if image is None else {"image": image})}
    return model, keras.ops.convert_to_numpy(model(given, training=False))


def weights_of(model, layer):
    return model.get_layer(layer).get_weights()


def standardised(model, rows):
    gamma, beta = weights_of(model, "context")
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(rows.var(axis=-1, keepdims=True) + 1e-3) * gamma + beta


def multi_head(model, queries, places):
    """MultiHead(Q, A, A) by the formulas of Vaswani et al., section 3.2."""
    query, query_bias, key, key_bias, value, value_bias, out, out_bias = weights_of(
        model, "attention"
    )
    total = np.zeros((*queries.shape[:2], out.shape[-1]))
    for head in range(query.shape[1]):
        q = queries @ query[:, head] + query_bias[head]
        k = places @ key[:, head] + key_bias[head]
        v = places @ value[:, head] + value_bias[head]
        score = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]))
        total += (score / score.sum(axis=-1, keepdims=True)) @ v @ out[head]
    return total + out_bias


@pytest.mark.parametrize("names", [("orb",), ("orb", "sift")])
def test_features_query_the_map_as_the_paper_says(names):
    features = {name: FEATURES[name] for name in names}
    model, output = fused(Attention(units=8, heads=2), MAP, features)
    rows = [x @ w + b for n, x in features.items() for w, b in [weights_of(model, f"{n}_query")]]
    queries = np.stack(rows, axis=1)
    found = multi_head(model, queries, MAP.reshape(3, 8, 6))
    context = standardised(model, queries + found).reshape(3, -1)
    expected = np.concatenate([MAP.mean(axis=(1, 2)), context], axis=1)
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-4)


def test_attention_without_a_map_has_nothing_to_find():
    model, output = fused(Attention(units=8, heads=2), None, {"orb": FEATURES["orb"]})
    kernel, bias = weights_of(model, "orb_query")
    expected = standardised(model, FEATURES["orb"] @ kernel + bias)
    np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-4)


def test_attention_without_features_is_the_pooled_map():
    _, output = fused(Attention(), MAP, {})
    np.testing.assert_allclose(output, MAP.mean(axis=(1, 2)), atol=1e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def said(model, name, x):
    kernel, bias = weights_of(model, f"{name}_h")
    return np.tanh(x @ kernel + bias)


def test_two_inputs_share_one_gate():
    embedding = MAP.mean(axis=(1, 2))
    model, output = fused(Gated(units=8), embedding, {"orb": FEATURES["orb"]})
    kernel, bias = weights_of(model, "z")
    z = sigmoid(np.concatenate([embedding, FEATURES["orb"]], axis=1) @ kernel + bias)
    expected = z * said(model, "image", embedding) + (1 - z) * said(model, "orb", FEATURES["orb"])
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_of_three_inputs_each_has_its_own_gate():
    model, output = fused(Gated(units=8), None, FEATURES)
    beside = np.concatenate(list(FEATURES.values()), axis=1)
    expected = np.zeros((3, 8))
    for name, x in FEATURES.items():
        kernel, bias = weights_of(model, f"{name}_z")
        expected += sigmoid(beside @ kernel + bias) * said(model, name, x)
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_one_input_alone_is_not_gated():
    model, output = fused(Gated(units=8), None, {"orb": FEATURES["orb"]})
    np.testing.assert_allclose(output, said(model, "orb", FEATURES["orb"]), atol=1e-5)


@pytest.mark.parametrize(
    ("fusion", "image"),
    [(Attention(units=8, heads=2), MAP), (Gated(units=8), MAP[:, 0, 0]), (Gated(units=8), None)],
)
def test_an_export_opens_with_keras_alone(fusion, image, tmp_path):
    features = {name: FEATURES[name] for name in ("orb", "sift")}
    model, output = fused(fusion, image, features)
    model.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    given = {**features, **({} if image is None else {"image": image})}
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(opened(given)), output)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in model.layers)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Attention(units=0), "attention: units cannot be 0"),
        (lambda: Attention(units=10, heads=4), "attention: heads cannot be 4"),
        (lambda: Attention(heads=0), "attention: heads cannot be 0"),
        (lambda: Attention(dropout=1.0), "attention: dropout cannot be 1.0"),
        (lambda: Gated(units=-1), "gated: units cannot be -1"),
        (lambda: Gated(units=10**9), "gated: units cannot be 1000000000"),
        (lambda: Gated(dropout=-0.1), "gated: dropout cannot be -0.1"),
    ],
)
def test_parameters_that_cannot_work_are_refused(make, told):
    with pytest.raises(CxrbenchError, match=told):
        make()


@pytest.mark.parametrize("check", checks_for("attention"), ids=str)
def test_conformance(check):
    check()
