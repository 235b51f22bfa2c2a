"""Saliency maps of a trained model: Grad-CAM, Grad-CAM++ and occlusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal, cast, get_args

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.inference.inputs import ReadyImage, model_inputs
from cxrbench.inference.trained import TrainedRun
from cxrbench.interfaces import LocalFeatures
from cxrbench.modeling.assemble import Network
from cxrbench.modeling.backend import load_keras, value_and_gradient
from cxrbench.modeling.predict import padded_batches
from cxrbench.parameters import nearest
from cxrbench.recipe import Recipe
from cxrbench.store.image_pass import in_order


def logits_and_gradients(
    network: Network, maps: np.ndarray, features: Mapping[str, np.ndarray], labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One label's logit of each image, (N,), and its gradient at the feature map, (N, h, w, C).

    Parameters
    ----------
    maps : (N, h, w, C) float32, the output of the trunk.
    features : for each feature of the recipe its vectors (N, D) float32, not standardised.
    labels : (N,) int, the place of the label of each image.
    """
    keras = load_keras()
    places = keras.ops.one_hot(labels, network.top.output_shape[-1])
    vectors = {name: keras.ops.convert_to_tensor(array) for name, array in features.items()}

    def logits(point: Any) -> Any:
        crossing = keras.ops.mean(point, axis=(1, 2)) if network.pools else point
        output = network.top({**vectors, "image": crossing}, training=False)
        return keras.ops.sum(output * places, axis=1)

    return value_and_gradient(logits, maps)


def gradcam(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Grad-CAM, (N, h, w) float32, not negative: channels weighted by their mean gradient.

    ``maps`` and ``gradients`` are (N, h, w, C).

    References
    ----------
    Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based
    localization, ICCV 2017, equations 1 and 2.
    """
    weights = gradients.mean(axis=(1, 2))
    return np.maximum(np.einsum("nhwc,nc->nhw", maps, weights), 0)


def gradcam_plus_plus(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Grad-CAM++, (N, h, w) float32, not negative: places with a positive gradient weigh more.

    The score is the exponential of the logit, as in the paper, so that higher derivatives are
    powers of the gradient. The factor exp(logit), the same for all of a map, is left out.

    References
    ----------
    Chattopadhay et al., Grad-CAM++: generalized gradient-based visual explanations for deep
    convolutional networks, WACV 2018, equations 10 and 19.
    """
    squares = gradients**2
    below = 2 * squares + maps.sum(axis=(1, 2), keepdims=True) * squares * gradients
    alpha = np.divide(squares, below, out=np.zeros_like(squares), where=below != 0)
    weights = (alpha * np.maximum(gradients, 0)).sum(axis=(1, 2))
    return np.maximum(np.einsum("nhwc,nc->nhw", maps, weights), 0)


Place = tuple[int, int]
"""Row and column of the cell in a patch's upper left corner."""


@dataclass(frozen=True)
class Occlusion:
    """A square patch that moves over a square picture cell by cell.

    The picture has ``cells`` × ``cells`` cells, and the patch covers ``patch`` × ``patch`` of them:
    its side is patch/cells of the picture's, its stride 1/cells. It is filled with the picture's
    mean grey.

    References
    ----------
    Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
    """

    cells: int = 10
    patch: int = 2

    @property
    def places(self) -> tuple[Place, ...]:
        """Every place of the patch, row by row."""
        steps = range(self.cells - self.patch + 1)
        return tuple((row, column) for row in steps for column in steps)

    def occluded(self, image: np.ndarray, place: Place) -> np.ndarray:
        """A copy of the picture (S, S) uint8 with the patch there; S may be any side."""
        edges = np.rint(np.linspace(0, len(image), self.cells + 1)).astype(int)
        row, column = place
        rows = slice(edges[row], edges[row + self.patch])
        columns = slice(edges[column], edges[column + self.patch])
        changed = image.copy()
        changed[rows, columns] = np.rint(image.mean())
        return changed

    def map(self, falls: np.ndarray) -> np.ndarray:
        """From the fall of each logit at each place, (P, L), to (L, cells, cells) float32.

        A cell has the mean fall over the patches that cover it, and 0 where the logit rises.
        """
        total = np.zeros((falls.shape[1], self.cells, self.cells))
        covered = np.zeros((self.cells, self.cells))
        for (row, column), fall in zip(self.places, falls, strict=True):
            at = np.s_[row : row + self.patch, column : column + self.patch]
            total[:, *at] += fall[:, None, None]
            covered[at] += 1
        return np.maximum(total / covered, 0).astype(np.float32)


def upsampled(maps: np.ndarray, size: int) -> np.ndarray:
    """Maps (N, h, w) as (N, size, size) float32, bilinear between the centres of the cells.

    Outside the outermost centres the values go on as they are at the edge.
    """
    import cv2

    result = np.empty((len(maps), size, size), np.float32)
    for coarse, fine in zip(maps, result, strict=True):
        cv2.resize(
            np.ascontiguousarray(coarse, np.float32),
            (size, size),
            dst=fine,
            interpolation=cv2.INTER_LINEAR,
        )
    return result


Method = Literal["gradcam", "gradcam++", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)
_CAMS = {"gradcam": gradcam, "gradcam++": gradcam_plus_plus}


def uses_pixels(recipe: Recipe) -> bool:
    """Whether the recipe has a backbone, or a feature of the image."""
    extractors = [feature.extractor for feature in recipe.features]
    return recipe.backbone is not None or any(one.image_size is not None for one in extractors)


def choose_method(name: str, trained: TrainedRun) -> Method:
    """``auto`` is ``gradcam`` where there is a backbone, else ``occlusion``.

    Raises
    ------
    SettingsError : there is no such method, or the recipe of the run does not allow it.
    """
    recipe = trained.recipe
    if name not in ("auto", *METHODS):
        raise SettingsError(
            f"--method cannot be {name!r}",
            expected=f"auto, {', '.join(METHODS)}",
            found=repr(name),
            fix=nearest(name, ("auto", *METHODS)) or None,
        )
    if not uses_pixels(recipe):
        raise SettingsError(
            f"the recipe {recipe.text!r} uses no pixels, so there is no saliency map",
            expected="a run with a backbone, or with features of the image",
            found=", ".join(feature.name for feature in recipe.features),
            fix="name another run",
        )
    if name == "auto":
        return "occlusion" if recipe.backbone is None else "gradcam"
    if name in _CAMS and recipe.backbone is None:
        raise SettingsError(
            f"--method {name} needs a backbone, but {recipe.text!r} has none",
            expected="--method occlusion, or auto",
            found=name,
            fix="remove --method",
        )
    return cast("Method", name)


@dataclass(frozen=True, eq=False)
class Saliency:
    """Makes the saliency maps of images.

    ``batch_size`` images are computed at once; ``threads`` extract the features of occluded images.
    """

    trained: TrainedRun
    method: Method
    occlusion: Occlusion = field(default_factory=Occlusion)
    batch_size: int = 8
    threads: int = 1

    @property
    def side(self) -> int:
        """The side of the maps: the backbone's pixels, else the largest that an extractor sees."""
        sizes = (feature.extractor.image_size for feature in self.trained.recipe.features)
        return self.trained.image_size or max(size for size in sizes if size is not None)

    def scores(self, images: Sequence[ReadyImage]) -> np.ndarray:
        """Probabilities (n, L) float32."""
        return self._in_batches(self.trained.model, [image.inputs for image in images])

    def maps(
        self, images: Sequence[ReadyImage], labels: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        """For each image (k, S, S) float32, one map for each of its labels (k).

        They are over the pixels that the network sees; `ReadyImage.unfit` maps them to the pixels
        of the original. They are not negative; a map of zeros has no evidence for the label.
        """
        coarse = self._occlusion if self.method == "occlusion" else self._cam
        return [upsampled(maps, self.side) for maps in coarse(images, labels)]

    def logits_with(self, image: ReadyImage, feature: str, vectors: np.ndarray) -> np.ndarray:
        """Logits (n, L) of an image with each of these vectors (n, D) as one of its features."""
        network, count = self.trained.network, len(vectors)
        inputs = {name: np.repeat(value[None], count, 0) for name, value in image.inputs.items()}
        if network.trunk is not None:
            map_ = self._in_batches(network.trunk, [{"image": image.inputs["image"]}])
            crossing = map_.mean(axis=(1, 2)) if network.pools else map_
            inputs["image"] = np.repeat(crossing, count, 0)
        return np.asarray(network.top.predict_on_batch({**inputs, feature: vectors}), np.float32)

    @cached_property
    def _logits(self) -> Any:
        return self.trained.network.whole()

    def _cam(
        self, images: Sequence[ReadyImage], labels: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        network = self.trained.network
        backbone_inputs = [{"image": image.inputs["image"]} for image in images]
        maps = self._in_batches(network.trunk, backbone_inputs)
        owners = np.repeat(np.arange(len(images)), [len(places) for places in labels])
        targets = np.array([place for places in labels for place in places], int)
        result = np.empty((len(owners), *maps.shape[1:3]), np.float32)
        for rows, count in padded_batches(np.arange(len(owners)), self.batch_size):
            batch = maps[owners[rows]]
            features = {
                feature.name: np.stack([images[owners[row]].inputs[feature.name] for row in rows])
                for feature in self.trained.recipe.features
            }
            _, gradients = logits_and_gradients(network, batch, features, targets[rows])
            result[rows[:count]] = _CAMS[self.method](batch, gradients)[:count]
        return [result[owners == index] for index in range(len(images))]

    def _occlusion(
        self, images: Sequence[ReadyImage], labels: Sequence[Sequence[int]]
    ) -> list[np.ndarray]:
        maps = []
        for image, places in zip(images, labels, strict=True):
            work = partial(self._occluded, image)
            with closing(in_order(work, self.occlusion.places, self.threads)) as ready:
                inputs = [image.inputs, *ready]
            whole, *occluded = self._in_batches(self._logits, inputs)
            falls = whole[None] - np.stack(occluded)
            maps.append(self.occlusion.map(falls[:, list(places)]))
        return maps

    def _occluded(self, image: ReadyImage, place: Place) -> dict[str, np.ndarray]:
        pixels = {s: self.occlusion.occluded(fitted, place) for s, fitted in image.pixels.items()}
        local: dict[str, LocalFeatures] = {}
        for feature in self.trained.recipe.features:
            side = feature.extractor.image_size
            local[feature.name] = (
                image.local[feature.name]
                if side is None
                else feature.extractor.extract(pixels[side], image.image.record)
            )
        return model_inputs(self.trained, pixels, local)

    def _in_batches(self, model: Any, inputs: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """The outputs of a model for inputs without a batch axis, in batches of one size."""
        parts = []
        for rows, count in padded_batches(np.arange(len(inputs)), self.batch_size):
            batch = {name: np.stack([inputs[row][name] for row in rows]) for name in inputs[0]}
            feed = batch["image"] if model is self.trained.network.trunk else batch
            parts.append(np.asarray(model.predict_on_batch(feed), np.float32)[:count])
        return np.concatenate(parts)
