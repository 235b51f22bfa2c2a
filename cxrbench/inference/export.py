"""Hand a run's model to people without cxrbench: written, run as they would, and compared."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench import __version__
from cxrbench.errors import RunError, SettingsError
from cxrbench.inference.trained import WEIGHTS_FILE, TrainedRun, example_inputs, load_trained
from cxrbench.modeling.backend import load_keras
from cxrbench.output.files import file_digest, write_json
from cxrbench.registry import Registry

FORMATS: Mapping[str, str] = {"keras": ".keras", "onnx": ".onnx", "saved-model": ""}
"""What can be written, and how the names of the files end; a SavedModel is a folder."""

TOLERANCE = 1e-4
"""The largest difference between a probability of the run's model and of what was exported."""

# Two sizes: a file may be written whose batch is always the one that it was traced with.
BATCHES = (1, 5)

_NEEDED = {"onnx": ("tf2onnx", "onnx", "onnxruntime")}


@dataclass(frozen=True)
class Exported:
    """What was written: the model, and the JSON file beside it that says how to use it.

    ``difference`` is the largest one between its probabilities and those of the run's model.
    """

    path: Path
    description: Path
    format: str
    difference: float


def export(run: Path, registry: Registry, *, format: str, output: Path | None = None) -> Exported:
    """Write the model of a complete run as ``keras``, ``onnx`` or ``saved-model``.

    ``output`` is by default named as the run is, in the current folder. What was written is run in
    a process of its own that has no cxrbench, and takes its name only if it gives the
    probabilities of the run's model. ONNX and SavedModel are written by TensorFlow, whatever the
    backend of this process is.

    Raises
    ------
    RunError : the run has no model, or what was exported does not run or differs from it.
    SettingsError : the format is unknown or needs missing packages, or the output exists.
    """
    _check_format(format)
    run = run.resolve()
    path = Path(f"{run.name}{FORMATS[format]}") if output is None else output
    description = path.with_name(f"{path.name}.json")
    _check_free(path, description)
    trained = load_trained(run, registry)
    inputs = example_inputs(trained, max(BATCHES))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cxrbench-export-", dir=path.parent) as folder:
            written = _write(trained.model, format, Path(folder))
            difference = compare_elsewhere(trained.model, inputs, written, format, Path(folder))
            told = describe(trained, format, inputs, written)
            write_json(Path(folder, "description"), told)
            _check_free(path, description)
            os.replace(Path(folder, "description"), description)
            _take_name(written, path, description)
    except OSError as error:
        raise RunError(
            f"cannot write the export {path}",
            found=error.strerror or str(error),
            fix="make room there, or choose another place with --output",
        ) from error
    return Exported(path, description, format, difference)


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise SettingsError(
            f"--format cannot be {format!r}", expected=" or ".join(FORMATS), found=repr(format)
        )
    missing = [name for name in _NEEDED.get(format, ()) if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"--format {format} needs packages that are not installed",
            expected=", ".join(_NEEDED[format]),
            found=f"no {', no '.join(missing)}",
            fix=f"pip install 'cxrbench[{format}]'",
        )


def _check_free(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise SettingsError(
                f"{path} is there already, and is not overwritten",
                fix="choose another place with --output, or remove it",
            )


def _take_name(written: Path, path: Path, description: Path) -> None:
    try:
        os.replace(written, path)
    except OSError:
        description.unlink()
        raise


# Writing


def _write(model: Any, format: str, folder: Path) -> Path:
    keras_file = folder / "model.keras"
    model.save(keras_file)
    if format == "keras":
        return keras_file
    written = folder / f"model{FORMATS[format]}"
    _in_process(_EXPORT, format, keras_file, written, backend="tensorflow", doing="written")
    keras_file.unlink()
    return written


# A tensor that a layer made when it was built would become an input of the ONNX file.
_EXPORT = """
import sys
import keras, tensorflow as tf
format, source, target = sys.argv[1:]
model = keras.models.load_model(source, compile=False, safe_mode=True)
for layer in model._flatten_layers():
    for name, value in list(vars(layer).items()):
        if isinstance(value, tf.Tensor):
            setattr(layer, name, value.numpy())
model({tensor.name: tf.zeros((1, *tensor.shape[1:])) for tensor in model.inputs})
kind = {"onnx": "onnx", "saved-model": "tf_saved_model"}[format]
model.export(target, format=kind, verbose=False)
"""

# What a stranger would write: no cxrbench, and the inputs by their names.
_RUN = """
import sys
sys.modules["cxrbench"] = None
import numpy as np
format, source, batches, results = sys.argv[1:]
if format == "keras":
    import keras
    predict = keras.models.load_model(source, safe_mode=True).predict_on_batch
elif format == "onnx":
    import onnxruntime
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    predict = lambda given: session.run(None, given)[0]
else:
    import tensorflow as tf
    model = tf.saved_model.load(source)
    predict = lambda given: model.serve(given).numpy()
with np.load(batches) as file:
    given = {name: file[name] for name in file.files}
found = {
    size: np.asarray(predict({name: value[: int(size)] for name, value in given.items()}))
    for size in %r
}
np.savez(results, **found)
"""


def _in_process(code: str, *arguments: object, backend: str, doing: str) -> None:
    """Run code on the CPU in a process of its own; `RunError` with its last words if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
    )
    if done.returncode:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise _not_exported(
            f"the model cannot be {doing} in this format",
            words[-1][:500] if words else f"exit code {done.returncode}",
        )


def _not_exported(problem: str, found: str, expected: str | None = None) -> RunError:
    return RunError(
        problem,
        expected=expected,
        found=found,
        fix="use another --format; nothing was left behind",
    )


# Comparing


def compare_elsewhere(
    model: Any, inputs: Mapping[str, np.ndarray], written: Path, format: str, folder: Path
) -> float:
    """The largest difference; `RunError` if it is too large, or what was written does not run."""
    batches, results = folder / "inputs.npz", folder / "outputs.npz"
    np.savez(batches, **inputs)  # type: ignore[arg-type]
    sizes = [str(size) for size in BATCHES]
    backend = load_keras().backend.backend()
    _in_process(
        _RUN % sizes, format, written, batches, results, backend=backend, doing="run once written"
    )
    worst = 0.0
    with np.load(results) as found:
        for size in BATCHES:
            batch = {name: value[:size] for name, value in inputs.items()}
            wanted = np.asarray(model.predict_on_batch(batch), dtype=np.float32)
            worst = max(worst, _difference(wanted, found[str(size)]))
    return worst


def _difference(wanted: np.ndarray, found: np.ndarray) -> float:
    problem = "what was exported is not the run's model"
    if wanted.shape != found.shape:
        raise _not_exported(
            problem, f"outputs of shape {found.shape}", f"outputs of shape {wanted.shape}"
        )
    worst = float(np.abs(wanted - found).max())
    if not worst <= TOLERANCE:  # NaN too
        raise _not_exported(
            problem,
            f"a difference of {worst:.3g}",
            f"probabilities that differ by at most {TOLERANCE:g}",
        )
    return worst


# Describing


def describe(
    trained: TrainedRun, format: str, inputs: Mapping[str, np.ndarray], written: Path
) -> dict[str, Any]:
    """What somebody without cxrbench needs to use the model, as plain values."""
    conditions = trained.run.conditions
    return {
        "format": format,
        "sha256": None if written.is_dir() else file_digest(written),
        "inputs": {name: _input(name, value, trained) for name, value in inputs.items()},
        "output": {
            "shape": [None, len(trained.label_names)],
            "dtype": "float32",
            "meaning": "the probability of each label, in the order of labels",
        },
        "labels": list(trained.label_names),
        "thresholds": dict(zip(trained.label_names, trained.thresholds, strict=True)),
        "preprocessing": None
        if trained.image_size is None
        else {
            "image_size": trained.image_size,
            "fit": conditions.settings.get("fit"),
            "clahe": conditions.settings.get("clahe"),
        },
        "run": {
            "run_key": conditions.run_key,
            "recipe": conditions.recipe,
            "protocol": conditions.protocol,
            "seed": conditions.seed,
            "dataset": conditions.dataset,
            "name": trained.name,
            "version": conditions.version,
            "weights_sha256": trained.run.files.get(WEIGHTS_FILE),
        },
        "exported_by": f"cxrbench {__version__}",
    }


def _input(name: str, value: np.ndarray, trained: TrainedRun) -> dict[str, Any]:
    if name == "image":
        meaning = "grey images from 0 (black) to 255 (white), normalised by the model itself"
    else:
        meaning = f"the feature vector that cxrbench's {name} encodes, standardised by the model"
    return {"shape": [None, *value.shape[1:]], "dtype": "float32", "meaning": meaning}
