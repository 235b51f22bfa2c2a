"""The interfaces of parts that plugins provide, and the frozen values that modules exchange.

A part is a frozen dataclass that derives from one of the four bases below. Its fields are the
parameters that a recipe can set (``orb:nfeatures=1000``): use the types ``int``, ``float``,
``bool`` and ``str``, or ``Literal[...]`` for a choice, and give each field a default.
"""

from __future__ import annotations

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
    """Where long work reports its progress; `cxrbench.output.display` has the real ones."""

    def say(self, text: str) -> None:
        """Show one line that stays."""

    def task(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Show a progress bar of ``total`` steps for as long as the context lasts."""


@dataclass(frozen=True)
class Record:
    """What a feature extractor may know of an image besides its pixels; never its labels.

    ``age`` in years, ``sex`` ``"F"`` or ``"M"``, ``view`` ``"PA"`` or ``"AP"``; None where unknown.
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
    image given to ``extract``) and angle (degrees); None where features have no place.
    """

    descriptors: np.ndarray
    keypoints: np.ndarray | None = None


@dataclass(frozen=True)
class Box:
    """One radiologist's (or the phantom's) box, in pixels of the original image."""

    image_id: str
    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Exclusion:
    """A row or image that is not used, and why."""

    image_id: str
    reason: str


@dataclass(frozen=True)
class Fault:
    """Something wrong in a dataset's table, for `cxrbench data check`.

    ``check`` is the name of one of its checks, ``image_id`` ``""`` where no single image is meant,
    and ``found`` what stands there.
    """

    check: str
    image_id: str
    found: str


@dataclass(frozen=True, eq=False)
class Cohort:
    """The table of images, patients and labels; one row per image, no pixels.

    ``labels`` (N, L) float32: 1, 0, or NaN where unknown. ``ages`` (N,) float32 in years, NaN where
    unknown. ``sexes`` and ``views`` hold ``""`` where unknown. ``sources`` (N,) tell the dataset's
    ``read`` where each image is (a path, usually). ``patient_ids`` are what splits and intervals
    are built on. ``no_finding`` names the label that is not a finding, if there is one.
    ``excluded`` lists rows without an image, images without a row, and the like.

    ``patients_known`` is False where nobody can say whose images are whose. Each image then stands
    for a patient of its own (``patient_ids`` are the ``image_ids``), no split by patient can be
    made, and every board says that its intervals are over images.
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

    def __len__(self) -> int:
        return len(self.image_ids)

    def record(self, row: int) -> Record:
        """What an extractor may know of the image in this row."""
        age = float(self.ages[row])
        return Record(
            image_id=self.image_ids[row],
            age=None if age != age else age,
            sex=self.sexes[row] or None,
            view=self.views[row] or None,
        )


@dataclass(frozen=True, eq=False)
class Examination:
    """What of a dataset can be loaded, and every fault for which ``load`` would refuse the whole.

    ``cohort`` leaves out the rows with such a fault. Without ``has_images`` it has a row for each
    image that the table names, and none of them can be read.
    """

    cohort: Cohort
    faults: tuple[Fault, ...] = ()
    has_images: bool = True


class Part(ABC):
    """What all parts have: the name that recipes use, and other names for the same thing."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()


class Backbone(Part):
    """A CNN without its head: images to a feature map.

    ``image_size`` is the side in pixels that it was designed for, ``freeze_at`` the name of the
    first layer that trains under the ``finetune`` protocol.
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
    """An encoder after ``fit``: nothing but plain arrays."""

    @abstractmethod
    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Encode one image's vectors (n, d) float32, n may be 0, to one vector (D,) float32."""

    @property
    def word_count(self) -> int:
        """How many visual words there are, each with as many numbers of the vector, in order.

        0, the default, for an encoder without visual words.
        """
        return 0

    def words_of(self, vectors: np.ndarray) -> np.ndarray:
        """The word (n,) int, from 0, that each vector (n, d) of an image counts for.

        Only called if there is a ``word_count``; lets `cxrbench explain` show the words.
        """
        raise NotImplementedError(f"{type(self).__name__} has no visual words")

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that was fitted, as plain arrays (saved as ``.npz`` without pickle)."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from what ``arrays`` returned."""


class Encoder(ABC):
    """From a varying number of vectors per image to one feature vector per image.

    A frozen dataclass; its fields are recipe parameters of the extractor that uses it.
    ``fitted`` is the class that ``fit`` returns.
    """

    fitted: ClassVar[type[FittedEncoder]]

    @abstractmethod
    def fit(self, images: Iterable[np.ndarray], *, distance: Distance, seed: int) -> FittedEncoder:
        """Fit on the vectors (n, d) float32 of the training images, in order.

        With ``distance="hamming"`` the vectors hold -1 and +1.
        """


class FeatureExtractor(Part):
    """Hand-crafted features of one image.

    ``image_size`` is the side in pixels of the image that it looks at, None when it wants no
    pixels. ``encodings`` maps the names that a recipe can give to ``encoding=`` to encoders; the
    first is the default. ``distance`` says how descriptors are compared.
    """

    image_size: int | None
    encodings: ClassVar[Mapping[str, type[Encoder]]]
    distance: ClassVar[Distance] = "l2"

    @abstractmethod
    def extract(self, image: np.ndarray | None, record: Record) -> LocalFeatures:
        """Features of one image, (H, W) uint8 grey. Pure: called from several threads."""

    def vectors(self, descriptors: np.ndarray) -> np.ndarray:
        """Stored descriptors (n, d) as float32 vectors for the encoder.

        By default the same numbers; for ``distance="hamming"`` the bits as -1 and +1.
        """
        import numpy as np

        if self.distance == "hamming":
            return np.unpackbits(descriptors, axis=1).astype(np.float32) * 2 - 1
        return descriptors.astype(np.float32)


class Fusion(Part):
    """How the image and the feature vectors are joined.

    ``image_input`` says what it wants of the backbone: ``"embedding"`` (N, C) or
    ``"feature_map"`` (N, h, w, C).
    """

    image_input: ClassVar[Literal["embedding", "feature_map"]] = "embedding"

    @abstractmethod
    def fuse(self, image: Any, features: Mapping[str, Any]) -> Any:
        """Join Keras tensors into one (N, k), with Keras' own layers only.

        ``image`` is None in a recipe without a backbone; ``features`` maps extractor names to
        standardised feature vectors (N, D) and is empty in a recipe with a backbone alone.
        """


class Dataset(Part):
    """A source of images and labels.

    ``defaults`` are settings that suit this dataset (``{"image_size": 64}``), used where the user
    gives none. Fields are the options of ``--data NAME:option=value``; ``path_options`` names
    those that say where something lies, which is no condition of a result. ``file_suffixes`` are
    endings such as ``".dcm"``, in small letters, of image files that ``read_new`` reads.
    ``general`` datasets recognise a path by its form alone, such as any CSV file: they are tried
    after the others.
    """

    defaults: ClassVar[Mapping[str, object]] = {}
    file_suffixes: ClassVar[tuple[str, ...]] = ()
    path_options: ClassVar[tuple[str, ...]] = ("path",)
    citation: ClassVar[str] = ""
    general: ClassVar[bool] = False

    @abstractmethod
    def load(self) -> Cohort:
        """Read the table; no pixels. Raise `DataError` for what cannot be used."""

    def load_showing(self, display: Display, cache: Path) -> Cohort:
        """As ``load``, for a dataset that takes long: it can show its progress, and keep below the
        folder ``cache`` what makes the next call quick. This is what the harness calls.
        """
        return self.load()

    def examine(self, display: Display, cache: Path) -> Examination:
        """For `cxrbench data check`: load what can be loaded, and report all faults at once.

        By default what ``load_showing`` returns, with its `DataError` as the only fault that is
        found. ``display`` and ``cache`` are those of ``load_showing``.
        """
        return Examination(self.load_showing(display, cache))

    @classmethod
    def recognise(cls, path: Path) -> Dataset | None:
        """The dataset at this path if it has this dataset's layout, else None."""
        return None

    def read(self, source: str, *, max_pixels: int) -> bytes | np.ndarray:
        """One image: an encoded file's bytes, or grey pixels (H, W) uint8 or uint16.

        Called from several threads. Raise `UnreadableImage` for an image to leave out; a reader
        that decodes by itself refuses more than ``max_pixels`` before it allocates them.
        """
        return Path(source).read_bytes()

    def read_new(self, source: str, *, max_pixels: int) -> bytes | np.ndarray:
        """As ``read``, for a path that ``load`` has not seen: refuses what is no such image."""
        return self.read(source, max_pixels=max_pixels)

    def signature(self, source: str) -> str:
        """A cheap text that changes when the image does (by default, file size and time)."""
        stat = Path(source).stat()
        return f"{stat.st_size}:{stat.st_mtime_ns}"

    def official_parts(self, cohort: Cohort, folder: Path | None) -> tuple[str, ...] | None:
        """Each image's published part: ``train``, ``val``, ``test``, ``train_val`` or ``""``.

        An image in no part has ``""``. ``folder`` is where the lists are, None for the dataset's
        own place. None when this dataset has no official split.
        """
        return None
