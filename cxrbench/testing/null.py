"""The null test of a fusion: it must not lose much by a feature without information."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cxrbench.errors import PluginError
from cxrbench.interfaces import Fusion
from cxrbench.metrics.auroc import label_auroc
from cxrbench.modeling.assemble import (
    build_top,
    build_trunk,
    feature_statistics,
    image_statistics,
)
from cxrbench.modeling.inputs import Inputs
from cxrbench.modeling.linear import fit_linear_head
from cxrbench.modeling.predict import keras_predictor, predict_logits
from cxrbench.modeling.train import TrainSettings, train
from cxrbench.output.display import SilentDisplay
from cxrbench.testing.networks import LABELS, STAND_IN_SIZE, Sample, StandIn

MARGIN = 0.05
"""The macro AUROC that a fusion may lose here.

``late`` loses nothing, ``attention`` 0.01, ``concat`` and ``gated`` 0.03. Sums of dense layers,
which mix the noise of one input into all numbers, lose 0.07, and the bare vectors side by side
0.10.
"""

_DRAWS = 2
_NOISE = 256
_PARTS = {"train": 320, "val": 120, "test": 2000}
_SETTINGS = TrainSettings(epochs=60, batch_size=32, learning_rate=3e-4, patience=10, seed=0)


def noise(sample: Sample) -> str:
    """A recipe with 256 columns of noise is at most `MARGIN` worse than without them.

    Both are trained as a probe on drawn cohorts of 320 training images, with the head ``mlp``
    unless the fusion has linear heads only.
    """
    fusion = sample.subject.part
    scores = []
    for draw in range(_DRAWS):
        inputs = drawn_cohort(draw, maps=fusion.image_input == "feature_map")
        without = replace(inputs, features={"signal": inputs.features["signal"]})
        scores.append([macro_auroc(fusion, one, seed=draw) for one in (without, inputs)])
    before, after = np.mean(scores, axis=0)
    result = f"macro AUROC {before:.3f} without noise, {after:.3f} with it"
    if not before - after <= MARGIN:
        raise PluginError(
            f"{sample.subject.text} loses too much by a feature without information",
            expected=f"a loss of at most {MARGIN} in macro AUROC by 256 columns of noise",
            found=result,
            fix="pass each feature through a dense layer, and concatenate them instead of a sum",
        )
    return result


def drawn_cohort(draw: int, *, maps: bool) -> Inputs:
    """Embeddings or feature maps, the features ``signal`` and ``noise``, and three labels.

    A label moves all channels of the image, and all columns of ``signal``. ``noise`` is as long as
    a bag of visual words.
    """
    rng = np.random.default_rng((17, draw))
    count = sum(_PARTS.values())
    labels = (rng.random((count, LABELS)) < 0.3).astype(np.float32)
    image, signal = (
        labels @ rng.normal(0, 0.5, (LABELS, width)) + rng.normal(0, 1, (count, width))
        for width in (8, 16)
    )
    if maps:
        image = image[:, None, None] + rng.normal(0, 1, (count, 4, 4, 8))
    features = {"noise": rng.normal(0, 1, (count, _NOISE)), "signal": signal}
    vectors = {name: values.astype(np.float32) for name, values in features.items()}
    return Inputs(image.astype(np.float32), vectors, labels)


def macro_auroc(fusion: Fusion, inputs: Inputs, *, seed: int) -> float:
    """The score of the fusion on the test images after training on these inputs."""
    edges = np.cumsum([0, *_PARTS.values()])
    rows = dict(zip(_PARTS, np.split(np.arange(edges[-1]), edges[1:-1]), strict=True))
    statistics = {
        name: feature_statistics(vectors, rows["train"])
        for name, vectors in inputs.features.items()
    }
    assert inputs.image is not None
    if fusion.linear_head == "late":
        logits = _late_logits(inputs, rows["train"], rows["test"], seed)
        return float(np.mean(label_auroc(inputs.labels[rows["test"]], logits)))
    statistics["image"] = image_statistics(inputs.image, rows["train"])
    trunk = build_trunk(StandIn(), STAND_IN_SIZE, None, seed)
    model = build_top(trunk, fusion, statistics, labels=LABELS, seed=seed).top
    train(
        model,
        inputs,
        train_rows=rows["train"],
        val_rows=rows["val"],
        settings=replace(_SETTINGS, seed=seed),
        display=SilentDisplay(),
    )
    logits = predict_logits(keras_predictor(model, inputs), inputs, rows["test"], 500)
    return float(np.mean(label_auroc(inputs.labels[rows["test"]], logits)))


def _late_logits(inputs: Inputs, train_rows: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    assert inputs.image is not None
    parts = {"image": inputs.image, **inputs.features}
    head = fit_linear_head(
        {name: values[train_rows] for name, values in parts.items()},
        inputs.labels[train_rows],
        train_rows.astype(str).tolist(),
        seed=seed,
        late=True,
    )
    logits: np.ndarray = np.hstack([values[rows] for values in parts.values()]) @ head.kernel
    return logits + head.bias
