"""A recipe's model: a trunk (pixels to a map) and a top (map and features to logits)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrbench.errors import CxrbenchError, PluginError, SettingsError, WeightsError
from cxrbench.interfaces import Backbone, Fusion
from cxrbench.modeling.backend import load_keras, set_seed

HEAD_UNITS = 1024
HEAD_DROPOUT = 0.5
# A feature that is (nearly) constant in training carries no information; dividing by its tiny
# deviation would turn a rare difference in another image into thousands.
_SMALLEST_DEVIATION = 1e-6
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and variance of a feature vector over the training images, each (D,) float32."""

    mean: np.ndarray
    variance: np.ndarray

    def standardise(self, vectors: np.ndarray) -> np.ndarray:
        """As the network standardises vectors (N, D)."""
        standardised: np.ndarray = (vectors - self.mean) / np.sqrt(self.variance)
        return standardised


@dataclass(frozen=True, eq=False)
class Network:
    """The two halves of a model.

    ``trunk`` maps grey images (N, S, S, 1) to a map (N, h, w, C), and is None without a backbone.
    ``top`` maps ``{"image": embedding or map, NAME: feature vector}`` to logits (N, L).
    ``pools`` says that the top wants the pooled map. ``image_statistics`` are those by which it
    standardises the output of the trunk, if it does.
    """

    trunk: Any | None
    top: Any
    pools: bool
    image_statistics: Statistics | None = None

    def embedder(self) -> Any | None:
        """A model from images to the top's input: the embedding (N, C), or the map."""
        return None if self.trunk is None else embedder_of(self.trunk, pools=self.pools)

    def whole(self, *, probabilities: bool = False) -> Any:
        """A model from ``{"image": pixels, NAME: feature vector}`` to logits or probabilities."""
        keras = load_keras()
        inputs = {
            tensor.name: keras.Input(tensor.shape[1:], name=tensor.name)
            for tensor in self.top.inputs
            if tensor.name != "image"
        }
        crossing = dict(inputs)
        embedder = self.embedder()
        if embedder is not None:
            inputs["image"] = keras.Input(embedder.input_shape[1:], name="image")
            crossing["image"] = embedder(inputs["image"])
        output = self.top(crossing)
        if probabilities:
            output = keras.layers.Activation("sigmoid", name="probability", dtype="float32")(output)
        return keras.Model(inputs, output, name="cxrbench")


def feature_statistics(vectors: np.ndarray, train_rows: np.ndarray) -> Statistics:
    """Statistics of (N, D) over the training rows only."""
    train = vectors[train_rows].astype(np.float64)
    variance = train.var(axis=0)
    variance[variance < _SMALLEST_DEVIATION**2] = 1.0
    return Statistics(train.mean(axis=0).astype(np.float32), variance.astype(np.float32))


def image_statistics(outputs: np.ndarray, train_rows: np.ndarray) -> Statistics:
    """Statistics of the channels of embeddings (N, C) or maps (N, h, w, C) over the training rows.

    They are read in small batches, because they may be larger than the memory.
    """
    batches = np.array_split(train_rows, max(1, len(train_rows) // _ROWS_AT_ONCE))

    def mean_of(function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        sums = [function(_channels(outputs[rows])).sum(axis=0) for rows in batches]
        mean: np.ndarray = np.sum(sums, axis=0) / len(_channels(outputs[:1])) / len(train_rows)
        return mean

    mean = mean_of(lambda values: values)
    variance = mean_of(lambda values: (values - mean) ** 2)
    variance[variance < _SMALLEST_DEVIATION**2] = 1.0
    return Statistics(mean.astype(np.float32), variance.astype(np.float32))


def _channels(outputs: np.ndarray) -> np.ndarray:
    return outputs.reshape(-1, outputs.shape[-1]).astype(np.float64)


def build_trunk(backbone: Backbone, image_size: int, weights: str | None, seed: int) -> Any:
    """Build the backbone with its weights; the same seed gives the same random weights.

    Raises
    ------
    WeightsError : the weights cannot be loaded or do not fit.
    SettingsError : the backbone cannot be built for this image size.
    PluginError : the backbone's output is not a feature map.
    CxrbenchError : the backbone itself refuses.
    """
    set_seed(seed)
    # Keras raises a bare Exception for a failed download and a ValueError for a misfit, so every
    # error of building is shown to the user.
    try:
        # Keras shows a download on standard output, which may carry JSON.
        with redirect_stdout(sys.stderr):
            trunk = backbone.build(image_size, weights)
    except CxrbenchError:  # the backbone's own advice
        raise
    except Exception as error:
        raise _build_error(backbone, image_size, weights, error) from error
    shape = getattr(trunk, "output_shape", ())
    if len(shape) != 4:
        raise PluginError(
            f"the backbone {backbone.name!r} does not return a feature map",
            expected="a Keras model whose output has the shape (N, h, w, C)",
            found=str(shape) if shape else f"build returned {trunk!r}",
            fix="leave out the layers after the last convolutions: include_top=False, no pooling",
        )
    return trunk


def _build_error(
    backbone: Backbone, image_size: int, weights: str | None, error: Exception
) -> CxrbenchError:
    """The weights are at fault only if the backbone can be built without them."""
    reason = " ".join(str(error).split())
    if weights is None or not _builds(backbone, image_size):
        if not _builds(backbone, backbone.image_size):
            return PluginError(
                f"the backbone {backbone.name!r} cannot be built",
                expected="build(image_size, weights) returns a Keras model",
                found=f"{type(error).__name__}: {reason}",
                fix="correct its build method, or report the error to its author",
            )
        return SettingsError(
            f"the backbone {backbone.name!r} cannot be built for images of {image_size} pixels",
            expected=f"a suitable size; the backbone was designed for {backbone.image_size} pixels",
            found=reason,
            fix="choose another --image-size",
        )
    option = f"--weights {backbone.name}=FILE"
    if weights == "imagenet":
        return WeightsError(
            f"the ImageNet weights of {backbone.name} are neither cached nor downloadable",
            found=reason,
            fix="connect to the internet once, so that Keras can cache them; or name a file with "
            f"{option}; or use random weights with --weights none",
        )
    return WeightsError(
        f"the weights file does not fit {backbone.name}",
        expected=f"weights that Keras saved of {backbone.name} without its top",
        found=f"{weights}: {reason}",
        fix=f"check the file of {option}",
    )


def _builds(backbone: Backbone, image_size: int) -> bool:
    try:
        backbone.build(image_size, None)
    except Exception:  # the first failure is the one that is shown
        return False
    return True


def build_top(
    trunk: Any | None,
    fusion: Fusion,
    statistics: Mapping[str, Statistics],
    *,
    labels: int,
    seed: int,
    head: str = "mlp",
    l2: float = 0.0,
) -> Network:
    """Put fusion, Dense(1024, ReLU), Dropout(0.5) and Dense(labels) on top of the trunk.

    Each feature vector is standardised by its training statistics before the fusion, and so is the
    output of the trunk if there are ``statistics`` of ``"image"``. With the head ``linear``,
    Dense(labels) is all that follows the embedding and the feature vectors. Otherwise ``l2`` times
    the squares of all weights of the top, biases and scales excepted, is added to the loss.
    """
    keras = load_keras()
    set_seed(seed)
    pools = fusion.image_input == "embedding"
    inputs: dict[str, Any] = {}
    if trunk is not None:
        shape = trunk.output_shape[-1:] if pools else trunk.output_shape[1:]
        inputs["image"] = keras.Input(shape, name="image")
    features = {}
    for name, moments in statistics.items():
        if name != "image":
            inputs[name] = keras.Input(moments.mean.shape, name=name)
        standardise = keras.layers.Normalization(
            mean=moments.mean.tolist(),
            variance=moments.variance.tolist(),
            name=f"{name}_standardised",
            dtype="float32",
        )
        features[name] = standardise(inputs[name])
    image = features.pop("image", inputs.get("image"))
    if head == "linear":
        hidden = _beside(image, features)
    else:
        fusion_output = fusion.fuse(image, features)
        hidden = keras.layers.Dense(HEAD_UNITS, activation="relu", name="head")(fusion_output)
        hidden = keras.layers.Dropout(HEAD_DROPOUT, name="head_dropout")(hidden)
    # In float32 under any precision: a sigmoid of bfloat16 has only some 300 probabilities.
    logits = keras.layers.Dense(labels, name="logits", dtype="float32")(hidden)
    top = keras.Model(inputs, logits, name="top")
    if l2 and head != "linear":
        for weights in top.trainable_variables:
            if len(weights.shape) > 1:
                weights.regularizer = keras.regularizers.L2(l2)
    return Network(trunk, top, pools, statistics.get("image"))


def _beside(image: Any | None, features: Mapping[str, Any]) -> Any:
    parts = [*([] if image is None else [image]), *features.values()]
    if len(parts) == 1:
        return parts[0]
    return load_keras().layers.Concatenate(name="parts", dtype="float32")(parts)


def embedder_of(trunk: Any, *, pools: bool) -> Any:
    """A model from images to the embedding (N, C), or the trunk itself, which gives the map."""
    if not pools:
        return trunk
    keras = load_keras()
    pooled = keras.layers.GlobalAveragePooling2D(name="embedding")(trunk.output)
    return keras.Model(trunk.input, pooled, name=f"{trunk.name}_embedding")


def freeze_below(trunk: Any, freeze_at: str) -> None:
    """Freeze every layer before ``freeze_at``; the rest trains.

    Keras runs a frozen batch normalisation in inference mode, so its statistics do not change.
    """
    for layer in trunk.layers[: _position(trunk, freeze_at)]:
        layer.trainable = False


def split_trunk(trunk: Any, freeze_at: str) -> tuple[Any, Any] | None:
    """Split the trunk at ``freeze_at`` into two models that share its layers.

    Returns None if more than one tensor passes from below to above, or if nothing is computed
    below: then there is no single activation to store.
    """
    keras = load_keras()
    # Not the layers alone: a residual addition that is written as + is not a layer.
    operations = trunk.operations
    position = operations.index(trunk.layers[_position(trunk, freeze_at)])
    below = {id(operation) for operation in operations[:position]}
    crossing = {
        id(tensor): tensor
        for operation in operations[position:]
        for node in operation._inbound_nodes  # Keras has no public name for the inputs
        for tensor in node.input_tensors
        if id(tensor._keras_history.operation) in below
    }
    if len(crossing) != 1 or trunk.input is next(iter(crossing.values())):
        return None
    (activation,) = crossing.values()
    return keras.Model(trunk.input, activation), keras.Model(activation, trunk.output)


def _position(trunk: Any, freeze_at: str) -> int:
    names = [layer.name for layer in trunk.layers]
    if freeze_at not in names:
        raise PluginError(
            f"the backbone has no layer {freeze_at!r} to train from",
            expected="the name of one of its layers as freeze_at",
            found=f"{len(names)} layers, the last of them {', '.join(names[-5:])}",
            fix="give the first layer of the last stage a name, and set freeze_at to that name",
        )
    return names.index(freeze_at)
