"""Concatenation: what is joined, and in which order; and what late fusion refuses."""

from __future__ import annotations

import numpy as np
import pytest

from cxrbench import CxrbenchError
from cxrbench.builtin.concat import Concat, Late
from cxrbench.modeling.backend import load_keras


def fused_model(fusion, embedding: int | None, features: dict[str, int]):
    keras = load_keras()
    keras.utils.set_random_seed(0)
    inputs = {name: keras.Input((width,), name=name) for name, width in features.items()}
    image = None if embedding is None else keras.Input((embedding,), name="image")
    output = fusion.fuse(image, inputs)
    return keras.Model({**inputs, **({} if image is None else {"image": image})}, output)


def arrays(**widths: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(5, width)).astype(np.float32) for name, width in widths.items()}


def test_the_embedding_stands_beside_each_feature_after_its_dense_layer():
    model = fused_model(Concat(units=3), 7, {"orb": 10, "sift": 4})
    given = arrays(image=7, orb=10, sift=4)
    output = np.asarray(model(given))
    assert output.shape == (5, 7 + 3 + 3)
    np.testing.assert_array_equal(output[:, :7], given["image"])
    for name, columns in (("orb", slice(7, 10)), ("sift", slice(10, 13))):
        kernel, bias = model.get_layer(f"{name}_dense").get_weights()
        expected = np.maximum(given[name] @ kernel + bias, 0)
        np.testing.assert_allclose(output[:, columns], expected, atol=1e-5)


@pytest.mark.parametrize(("embedding", "features", "width"), [(7, {}, 7), (None, {"orb": 10}, 256)])
def test_one_part_alone_is_passed_on(embedding, features, width):
    model = fused_model(Concat(), embedding, features)
    assert model.output_shape == (None, width)
    given = arrays(**({"image": embedding} if embedding else features))
    if embedding:
        np.testing.assert_array_equal(np.asarray(model(given)), given["image"])


def test_late_fusion_has_no_vector_for_another_head():
    with pytest.raises(CxrbenchError, match="no vector for a head that trains"):
        Late().fuse(None, {})
    assert (Concat.linear_head, Late.linear_head) == ("joint", "late")
