"""The interfaces of parts that plugins provide, and the frozen values that modules exchange.

A part is a frozen dataclass that derives from one of the four bases below. Its fields are the
parameters that a recipe can set (``orb:nfeatures=1000``): use the types ``int``, ``float``,
``bool`` and ``str``, or ``Literal[...]`` for a choice, and give each field a default.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

if TYPE_CHECKING:
    import keras
    import numpy as np

API_VERSION = 1
"""The version of this file. A plugin module declares ``CXRBENCH_API = 1``."""

Distance = Literal["l2", "hamming"]


class Advance(Protocol):
    """Advances a progress bar by ``steps``, and shows a detail."""

    def __call__(self, steps: int = 1, detail: str = "") -> None: ...


class Display(Protocol):
    """The interface for reporting progress; `cxrbench.output.display` implements it."""

    def say(self, text: str) -> None:
        """Show one line that stays."""

    def task(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Show a progress bar of ``total`` steps for as long as the context lasts."""


@dataclass(frozen=True)
class Record:
    """The metadata of an image that a feature extractor may use besides the pixels.

    ``age`` in years, ``sex`` ``"F"`` or ``"M"``, ``view`` ``"PA"`` or ``"AP"``; None if unknown.
    """

    image_id: str
    age: float | None = None
    sex: str | None = None
    view: str | None = None


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """The features of one image.

    ``descriptors`` (n, d), uint8 or float32; n is 0 for an image without keypoints, and 1 for a
    feature vector of the whole image. ``keypoints`` (n, 4) float32: x, y, size (pixels of the
    image given to ``extract``) and angle (degrees); None if features have no position.
    """

    descriptors: np.ndarray
    keypoints: np.ndarray | None = None


@dataclass(frozen=True)
class Box:
    """A box around a finding, in pixels of the original image."""

    image_id: str
    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Exclusion:
    """A row or image that is left out, and the reason."""

    image_id: str
    reason: str


@dataclass(frozen=True)
class Fault:
    """A problem in a dataset's table, for `cxrbench data check`.

    ``check`` names a check, ``found`` is the value in the table; ``image_id`` may be ``""``.
    """

    check: str
    image_id: str
    found: str


@dataclass(frozen=True, eq=False)
class Cohort:
    """The table of images, patients and labels; one row per image, no pixels.

    ``labels`` (N, L) float32: 1, 0, or NaN if unknown. ``ages`` (N,) float32 in years, NaN if
    unknown. ``sexes`` and ``views`` are ``""`` if unknown. ``sources`` (N,) are the arguments of
    the dataset's ``read``, usually paths. Splits and intervals are based on ``patient_ids``.
    ``no_finding`` is the label for no finding, or None. ``excluded`` lists rows without an image,
    images without a row, and similar cases; ``absent`` of these rows count against --max-bad.

    ``patients_known`` is False if patients are unknown. ``patient_ids`` are then equal to
    ``image_ids``, no split by patient is possible, and the intervals of boards are over images.
    """

    name: str
    label_names: tuple[str, ...]
    image_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    labels: np.ndarray
    ages: np.ndarray
    sexes: tuple[str, ...]
    views: tuple[str, ...]
    sources: tuple[str, ...]
    no_finding: str | None = "No Finding"
    boxes: tuple[Box, ...] = ()
    excluded: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()
    patients_known: bool = True
    absent: int = 0

    def __len__(self) -> int:
        return len(self.image_ids)

    def record(self, row: int) -> Record:
        """The metadata that an extractor may use for the image in this row."""
        age = float(self.ages[row])
        return Record(
            image_id=self.image_ids[row],
            age=None if age != age else age,
            sex=self.sexes[row] or None,
            view=self.views[row] or None,
        )


@dataclass(frozen=True, eq=False)
class Examination:
    """The usable rows of a dataset, and every fault for which ``load`` would fail.

    ``cohort`` contains the rows without such a fault. ``has_images`` is False if the table names
    images but none of them exists.
    """

    cohort: Cohort
    faults: tuple[Fault, ...] = ()
    has_images: bool = True


class Part(ABC):
    """The base of all parts: the name that recipes use, and its aliases."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()


class Backbone(Part):
    """A CNN without its head: images to a feature map.

    ``image_size`` is the side in pixels that the network was designed for. ``freeze_at`` is the
    first layer that trains under ``finetune`` with pretrained weights.
    """

    image_size: ClassVar[int]
    freeze_at: ClassVar[str]

    @abstractmethod
    def build(self, image_size: int, weights: str | None) -> keras.Model:
        """Return a model from grey images (N, H, W, 1) in [0, 255] to a map (N, h, w, C).

        The model does its own preprocessing and is made of Keras' own layers only, so that it can
        be saved and opened anywhere. ``weights`` is None (random), ``"imagenet"``, or the path of
        a ``.weights.h5`` file; the layers are the same for all three, since a run's model is
        rebuilt with None and given its own weights. Do not catch errors of Keras: the harness turns
        them into advice. A `CxrbenchError` is shown as it is.
        """


class FittedEncoder(ABC):
    """A fitted encoder; its state consists of plain arrays."""

    @abstractmethod
    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Encode one image's vectors (n, d) float32, n may be 0, to one vector (D,) float32."""

    @property
    def word_count(self) -> int:
        """The number of visual words; 0, the default, for an encoder without visual words.

        The encoded vector consists of equally long blocks, one per word, in order.
        """
        return 0

    def words_of(self, vectors: np.ndarray) -> np.ndarray:
        """The word (n,) int, from 0, of each vector (n, d); only called with a ``word_count``."""
        raise NotImplementedError(f"{type(self).__name__} has no visual words")

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """The complete fitted state as plain arrays (saved as ``.npz`` without pickle)."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild the encoder from the result of ``arrays``."""


class Encoder(ABC):
    """Turns a varying number of vectors per image into one feature vector per image.

    An encoder is a frozen dataclass. Its fields are parameters of the extractor that uses it.
    ``fitted`` is the class that ``fit`` returns.
    """

    fitted: ClassVar[type[FittedEncoder]]

    @abstractmethod
    def fit(self, images: Iterable[np.ndarray], *, distance: Distance, seed: int) -> FittedEncoder:
        """Fit on the vectors (n, d) float32 of the training images, -1 and +1 for "hamming"."""


class FeatureExtractor(Part):
    """Hand-crafted features of one image.

    ``image_size`` is the side in pixels of the image passed to ``extract``, or None if no pixels
    are needed. ``encodings`` maps the values of the parameter ``encoding`` to encoders; the first
    is the default. ``distance`` is the distance between descriptors.
    """

    image_size: int | None
    encodings: ClassVar[Mapping[str, type[Encoder]]]
    distance: ClassVar[Distance] = "l2"

    @abstractmethod
    def extract(self, image: np.ndarray | None, record: Record) -> LocalFeatures:
        """The features of one image (H, W) uint8. A pure function, called from several threads."""

    def vectors(self, descriptors: np.ndarray) -> np.ndarray:
        """Descriptors (n, d) as float32 for the encoder; for "hamming", the bits as -1 and +1."""
        import numpy as np

        if self.distance == "hamming":
            return np.unpackbits(descriptors, axis=1).astype(np.float32) * 2 - 1
        return descriptors.astype(np.float32)


class Fusion(Part):
    """Joins the output of the backbone and the feature vectors.

    ``image_input`` is the required output of the backbone: ``"embedding"`` (N, C) or
    ``"feature_map"`` (N, h, w, C). ``linear_head`` can replace ``fuse`` if only the head trains:
    ``"joint"``, one regression on all parts; ``"late"``, one for each part; or ``"none"``.
    """

    image_input: ClassVar[Literal["embedding", "feature_map"]] = "embedding"
    linear_head: ClassVar[Literal["none", "joint", "late"]] = "none"

    @abstractmethod
    def fuse(self, image: Any, features: Mapping[str, Any]) -> Any:
        """Join Keras tensors into one (N, k), with Keras' own layers only.

        ``image`` is None without a backbone; ``features`` maps the names of extractors to
        standardised feature vectors (N, D), if there are any.
        """


class Dataset(Part):
    """A source of images and labels.

    ``defaults`` are settings that suit this dataset (``{"image_size": 64}``), used where the user
    gives none. Fields are the options of ``--data NAME:option=value``; ``path_options`` names
    those that say where something lies, which is no condition of a result. ``user_options`` are
    those that write a file or name a secret: a run directory neither records nor sets them.
    ``file_suffixes`` are endings such as ``".dcm"``, in small letters, of image files that
    ``read_new`` reads. ``general`` datasets, which recognise any CSV file, are tried last.
    """

    defaults: ClassVar[Mapping[str, object]] = {}
    file_suffixes: ClassVar[tuple[str, ...]] = ()
    path_options: ClassVar[tuple[str, ...]] = ("path",)
    user_options: ClassVar[tuple[str, ...]] = ()
    citation: ClassVar[str] = ""
    general: ClassVar[bool] = False

    @abstractmethod
    def load(self) -> Cohort:
        """Read the table, but no pixels. Raise `DataError` for unusable data."""

    def load_showing(self, display: Display, cache: Path) -> Cohort:
        """Like ``load``, for a dataset that loads slowly; cxrbench calls this method.

        It can show progress, and store data in the folder ``cache`` that make the next call faster.
        """
        return self.load()

    def examine(self, display: Display, cache: Path) -> Examination:
        """For `cxrbench data check`: load what can be loaded, and report all faults at once.

        By default, the result of ``load_showing``; its `DataError` is then the only fault found.
        """
        return Examination(self.load_showing(display, cache))

    @classmethod
    def recognise(cls, path: Path) -> Dataset | None:
        """Return the dataset at this path, or None if the path does not have this layout."""
        return None

    def read(self, source: str, *, max_pixels: int) -> bytes | np.ndarray:
        """Read one image: the bytes of a file, or grey pixels (H, W) uint8 or uint16.

        Called from several threads. Raise `UnreadableImage` for an image that should be left out.
        A reader that decodes images itself must reject more than ``max_pixels`` pixels before it
        allocates memory for them.
        """
        return Path(source).read_bytes()

    def read_new(self, source: str, *, max_pixels: int) -> bytes | np.ndarray:
        """Like ``read``, for a path that ``load`` has not seen; rejects other kinds of files."""
        return self.read(source, max_pixels=max_pixels)

    def signature(self, source: str) -> str:
        """A cheap text that changes with the image: by default size, time, digest of 64 kB ends."""
        # O_NONBLOCK: a pipe does not keep the program waiting.
        with open(source, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            stat, digest = os.fstat(file.fileno()), hashlib.sha256(file.read(2**16))
            file.seek(max(2**16, stat.st_size - 2**16))
            digest.update(file.read(2**16))
        return f"{stat.st_size}:{stat.st_mtime_ns}:{digest.hexdigest()}"

    def official_parts(self, cohort: Cohort, folder: Path | None) -> tuple[str, ...] | None:
        """Each image's published split: ``train``, ``val``, ``test``, ``train_val`` or ``""``.

        ``""`` is an image in no split. ``folder`` has the lists; None: the dataset's own place.
        The result is None if this dataset has no official split.
        """
        return None

    def official_list(self, folder: Path | None) -> tuple[str, str | None]:
        """The name of the official split, and its SHA-256 if it is lists of images in files."""
        return f"{self.name}-official", None
