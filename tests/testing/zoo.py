"""Deliberately broken plugins: a new plugin of each kind, with one thing spoilt."""

from __future__ import annotations

from dataclasses import dataclass

from cxrbench.registry import HOOKS
from cxrbench.scaffold import render

NAMES = {kind: f"odd_{kind}" for kind in HOOKS}
MODULES = {kind: f"cxrbench_odd_{kind}" for kind in HOOKS}


def sound(kind: str) -> str:
    """The module of a new plugin."""
    return render(kind, NAMES[kind])[f"{MODULES[kind]}.py"]


# An encoder that centres vectors: something is fitted, saved and loaded.
_ENCODER = """
@dataclass(frozen=True, eq=False)
class FittedCentre(FittedEncoder):
    mean: object

    def transform(self, vectors):
        import numpy as np

        if not len(vectors):
            return np.zeros(vectors.shape[1], np.float32)
        return (vectors[0] - self.mean).astype(np.float32)

    def arrays(self):
        return {"mean": self.mean}

    @classmethod
    def from_arrays(cls, arrays):
        return cls(arrays["mean"])


@dataclass(frozen=True)
class Centre(Encoder):
    fitted = FittedCentre

    def fit(self, images, *, distance, seed):
        import numpy as np

        return FittedCentre(np.concatenate(list(images)).mean(axis=0))


@dataclass(frozen=True)
class OddFeature("""


def centred() -> str:
    """A feature with an encoder that fits the mean of the training images."""
    return (
        sound("feature")
        .replace("@dataclass(frozen=True)\nclass OddFeature(", _ENCODER.lstrip())
        .replace("    Encoder,\n", "    Encoder,\n    FittedEncoder,\n")
        .replace('{"identity": Identity}', '{"centre": Centre}')
    )


@dataclass(frozen=True)
class Broken:
    """What is spoilt (``good`` becomes ``bad``), which check tells it, and in which words."""

    kind: str
    check: str
    good: str
    bad: str
    told: str
    encoder: bool = False

    def text(self) -> str:
        """The spoilt module."""
        text = centred() if self.encoder else sound(self.kind)
        assert text.count(self.good) >= 1, self.good
        return text.replace(self.good, self.bad, 1)


_HISTOGRAM = "counts / image.size"
_ROW = "return LocalFeatures((counts / image.size).astype(np.float32)[None])"
_STATE = "\n@dataclass(frozen=True)\nclass Odd"
_MEAN = "np.concatenate(list(images)).mean(axis=0)"
_SHARED = "import time; shared.append(image.copy()); time.sleep(0.002); image = shared[-1]"
_MAPS = "        model = keras.Model(grey, maps, name=self.name)"
_JOINED = 'keras.layers.Concatenate(name="joined")(projected)'
_ALONE = "        if len(projected) == 1:"
_READ = "        if positive:\n"


def _before(line: str, *added: str) -> str:
    """The line, after others of its indent."""
    indent = line[: len(line) - len(line.lstrip())]
    return "".join(f"{indent}{one}\n" for one in added) + line


# Only in the process of the check, and not in that of the tests.
_ABORT = "import os, sys; sys.argv[0] == '-c' and 'keras' in sys.modules and os.abort()"

ZOO = {
    # Every kind
    "eq_false": Broken(
        "feature", "registration", "(frozen=True)", "(frozen=True, eq=False)", "are not equal"
    ),
    "does_not_load": Broken(
        "feature", "registration", "CXRBENCH_API = 1", "CXRBENCH_API = 0", "CXRBENCH_API = 0"
    ),
    "imports_pandas": Broken(
        "feature", "import", "CXRBENCH_API", "import pandas\n\nCXRBENCH_API", "imports pandas"
    ),
    "works_at_import": Broken(
        "fusion",
        "import",
        "CXRBENCH_API",
        "import time\n\nwhile time.process_time() < 2:\n    pass\n\nCXRBENCH_API",
        "takes too long",
    ),
    # Features
    "float64": Broken("feature", "shapes", "np.float32", "np.float64", "float64"),
    "one_dimension": Broken("feature", "shapes", "[None])", ")", "an array (32,) float32"),
    "width_varies": Broken(
        "feature", "shapes", "bins=self.bins", "bins=2 + int(image.sum() % 50)", "one width d"
    ),
    "finds_nothing": Broken("feature", "shapes", "[None])", "[None][:0])", "finds nothing"),
    "row_and_column": Broken(
        "feature",
        "shapes",
        "[None])",
        "[None], np.array([[image.shape[0] + 9, 0, 1, 0]], np.float32))",
        "outside of the image",
    ),
    "draws": Broken(
        "feature", "determinism", _HISTOGRAM, "np.random.random(self.bins)", "second time"
    ),
    "paints": Broken(
        "feature", "determinism", _ROW, f"image[:9] = 7\n        {_ROW}", "changes the image"
    ),
    "no_contrast": Broken(
        "feature", "images", _HISTOGRAM, "counts / image.std()", "not finite"
    ),
    "raises_on_black": Broken(
        "feature", "images", _ROW, f"assert image.any()\n        {_ROW}", "'black (stretch)'"
    ),
    "shares_a_buffer": Broken(
        "feature",
        "threads",
        "        counts, _ =",
        f"        {_SHARED}\n        counts, _ =",
        "threads at once",
    ),
    "clashes_with_keras": Broken(
        "feature",
        "beside-keras",
        _ROW,
        f"{_ABORT}\n        {_ROW}",
        "killed by SIGABRT",
    ),
    "sleeps": Broken(
        "feature", "speed", _ROW, f"import time; time.sleep(0.3)\n        {_ROW}", "is too slow"
    ),
    # Encoders
    "fits_noise": Broken(
        "feature", "encoding", _MEAN, f"{_MEAN} + np.random.random()", "fitted differently", True
    ),
    "encodes_float64": Broken(
        "feature", "encoding", ").astype(np.float32)\n\n    def arr",
        ").astype(float)\n\n    def arr",
        "float64", True,
    ),
    "fails_on_nothing": Broken(
        "feature", "encoding", "if not len(vectors)", "if False", "IndexError", True
    ),
    "learns_in_transform": Broken(
        "feature",
        "training-only",
        "        return (vectors[0]",
        "        self.mean[:] = 0.9 * self.mean + 0.1 * vectors[0]\n        return (vectors[0]",
        "outside of the training split",
        True,
    ),
    "learns_in_extract": Broken(
        "feature",
        "training-only",
        _HISTOGRAM,
        "counts / max(shared.append(image.max()) or shared)",
        "outside of the training split",
    ),
    "forgets": Broken(
        "feature", "saving", 'cls(arrays["mean"])', 'cls(0 * arrays["mean"])',
        "after it was loaded", True,
    ),
    "saves_an_object": Broken(
        "feature", "saving", '{"mean": self.mean}', '{"mean": self.mean, "by": self}',
        "got: by", True,
    ),
    # Backbones
    "no_map": Broken(
        "backbone", "shapes", _MAPS,
        _before(_MAPS, "maps = keras.layers.Flatten()(maps)"), "not return a feature map",
    ),
    "no_such_layer": Broken("backbone", "shapes", '"stage4"', '"stage5"', "no layer 'stage5'"),
    "half_precision": Broken(
        "backbone", "shapes", _MAPS,
        _before(_MAPS, 'maps = keras.ops.cast(maps, "float16")'), "float16",
    ),
    "own_seed": Broken(
        "backbone", "determinism", "use_bias=False",
        "kernel_initializer=keras.initializers.HeNormal(__import__('time').time_ns() % 10**9)",
        "other weights for the same seed",
    ),
    "looks_at_the_batch": Broken(
        "backbone", "batches", _MAPS,
        _before(_MAPS, "maps = maps - keras.ops.mean(maps, axis=0, keepdims=True)"),
        "in batches of 1",
    ),
    "divides_by_contrast": Broken(
        "backbone", "images", 'name="scaled")(grey)',
        'name="scaled")(grey / keras.ops.std(grey, axis=(1, 2, 3), keepdims=True))',
        "are not finite",
    ),
    "number_outside_of_weights": Broken(
        "backbone", "saving", "1 / 127.5", "__import__('numpy').random.random() / 127.5",
        "after its weights were loaded",
    ),
    "lambda_layer": Broken(
        "backbone", "export", _MAPS,
        _before(_MAPS, "maps = keras.layers.Lambda(lambda t: t * 2)(maps)"),
        "cannot be used without cxrbench",
    ),
    "stops_gradients": Broken(
        "backbone", "gradients-tensorflow", _MAPS,
        _before(_MAPS, "maps = keras.ops.stop_gradient(maps)"), "no gradient through to 'image'",
    ),
    "tensorflow_only": Broken(
        "backbone", "gradients-jax", _MAPS,
        _before(_MAPS, "maps = keras.layers.Lambda(lambda t: t * 2)(maps)"),
        "no gradients on jax",
    ),
    # Fusions
    "wants_an_image": Broken(
        "fusion", "shapes", "{} if image is None else", "", "cannot join features alone"
    ),
    "keeps_the_map": Broken(
        "fusion", "shapes", _ALONE,
        "        projected = [keras.ops.expand_dims(one, 1) for one in projected]\n" + _ALONE,
        "one vector",
    ),
    "attends_to_the_batch": Broken(
        "fusion", "batches", _JOINED, f"keras.ops.softmax({_JOINED}, axis=0)", "in batches of 1"
    ),
    "divides_by_length": Broken(
        "fusion", "images", _JOINED, "keras.ops.log(0 * features['orb'] - 1)", "are not finite"
    ),
    "forgets_the_image": Broken(
        "fusion", "gradients-tensorflow", _JOINED, "projected[-1]", "gradient through to 'image'"
    ),
    "adds_up": Broken(
        "fusion", "noise", _JOINED, 'keras.layers.Add(name="sum")(projected)', "loses too much"
    ),
    # Datasets
    "label_of_2": Broken("dataset", "shapes", "patient % 2", "patient % 3", "labels"),
    "no_such_setting": Broken("dataset", "shapes", '"epochs": 5', '"epoch": 5', "'epoch'"),
    "other_table": Broken(
        "dataset", "determinism", "default_rng(0)", "default_rng()", "when it is loaded a second"
    ),
    "other_pixels": Broken(
        "dataset", "determinism", "default_rng(row)", "default_rng()", "another image a second time"
    ),
    "missing_images": Broken(
        "dataset", "images", _READ,
        f"        if row % 5:\n            raise UnreadableImage('no file')\n{_READ}", "no file",
    ),
    "reads_nothing": Broken(
        "dataset", "images", "return image\n", "return None\n", "something other than an image"
    ),
    "shares_a_reader": Broken(
        "dataset", "threads", _READ, f"        {_SHARED}\n{_READ}", "threads at once"
    ),
    "short_split": Broken(
        "dataset", "splitting", "    def signature",
        "    def official_parts(self, cohort, folder):\n        return ('train',)\n\n"
        "    def signature",
        "official",
    ),
    "takes_everything": Broken(
        "dataset", "recognising", "    def signature",
        "    @classmethod\n    def recognise(cls, path):\n        return cls()\n\n"
        "    def signature",
        "recognises any path",
    ),
    "reads_slowly": Broken(
        "dataset", "speed", _READ, f"        import time; time.sleep(0.2)\n{_READ}", "is too slow"
    ),
}  # fmt: skip


def module_text(broken: Broken) -> str:
    """The spoilt module, with a list that some of them share between calls."""
    return broken.text().replace("CXRBENCH_API", "shared = []\n\nCXRBENCH_API", 1)
