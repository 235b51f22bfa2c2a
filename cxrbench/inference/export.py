"""Export a run's model for use without cxrbench: written, run without it, and compared."""

from __future__ import annotations

import json
import os
import shutil
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
from cxrbench.interfaces import Display
from cxrbench.modeling.backend import load_keras
from cxrbench.output.display import SilentDisplay
from cxrbench.output.files import file_digest, write_json
from cxrbench.registry import Registry

FORMATS: Mapping[str, str] = {"keras": ".keras", "onnx": ".onnx", "saved-model": ""}
"""The formats and the endings of their files; a SavedModel is a folder."""

TOLERANCE = 1e-4
"""The largest difference between a probability of the run's model and of the export."""

# Two sizes: an export may only take the batch size that it was traced with.
BATCHES = (1, 5)

_NEEDED = {"onnx": ("tf2onnx", "onnx", "onnxruntime")}


@dataclass(frozen=True)
class Exported:
    """The exported model, and the JSON file next to it that says how to use it.

    ``difference`` is the largest one between its probabilities and those of the run's model.
    """

    path: Path
    description: Path
    format: str
    difference: float


def export(
    run: Path,
    registry: Registry,
    *,
    format: str,
    output: Path | None = None,
    display: Display | None = None,
) -> Exported:
    """Write the model of a complete run as ``keras``, ``onnx`` or ``saved-model``.

    ``output`` is by default the name of the run, in the current folder. The export is run in a
    process without cxrbench, and takes its name only if it gives the probabilities of the run's
    model. ONNX and SavedModel are always written by TensorFlow.

    Raises
    ------
    RunError : the run has no model, or the export does not run or differs from the run's model.
    SettingsError : the format is unknown or needs missing packages, or the output exists.
    """
    display = display or SilentDisplay()
    check_format(format)
    run = run.resolve()
    path = Path(f"{run.name}{FORMATS[format]}") if output is None else output
    description = check_free(path)
    display.say("loading the model…")
    trained = load_trained(run, registry)
    inputs = example_inputs(trained, max(BATCHES))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.name}-cxrbench-export-"
        _remove_left_over(path.parent, prefix)
        with tempfile.TemporaryDirectory(
            prefix=f"{prefix}{os.getpid()}-", dir=path.parent
        ) as folder:
            display.say(f"writing the model as {format}…")
            model_path = _write(trained.model, format, Path(folder))
            display.say("checking the export in a process without cxrbench…")
            difference = compare_elsewhere(trained.model, inputs, model_path, format, Path(folder))
            write_json(Path(folder, "description"), describe(trained, format, inputs, model_path))
            check_free(path)
            os.replace(Path(folder, "description"), description)
            _take_name(model_path, path, description)
    except OSError as error:
        raise RunError(
            f"cannot write the export {path}",
            found=error.strerror or str(error),
            fix="make room there, or choose another place with --output",
        ) from error
    return Exported(path, description, format, difference)


def _remove_left_over(parent: Path, prefix: str) -> None:
    """Remove what exports to the same place left when they were killed."""
    for place in parent.iterdir():
        process = place.name.removeprefix(prefix).partition("-")[0]
        if not place.name.startswith(prefix) or place.is_symlink() or not process.isdecimal():
            continue
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(place)
        except PermissionError:  # the export of another user goes on
            continue


def check_format(format: str) -> None:
    """Raise `SettingsError` unless the format is known and its packages are installed."""
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


def check_free(path: Path) -> Path:
    """The place of the description of an export to ``path``; `SettingsError` if one is taken."""
    description = path.with_name(f"{path.name}.json")
    taken = [place for place in (path, description) if os.path.lexists(place)]
    # A kill between the two leaves the description alone.
    if taken and not (taken == [description] and _is_description(description)):
        raise SettingsError(
            f"{taken[0]} already exists and is not overwritten",
            fix="choose another place with --output, or remove it",
        )
    return description


def _is_description(path: Path) -> bool:
    try:
        values = json.loads(path.read_bytes())
        return not path.is_symlink() and str(values["exported_by"]).startswith("cxrbench ")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _take_name(model_path: Path, path: Path, description: Path) -> None:
    try:
        os.replace(model_path, path)
    except OSError:
        description.unlink()
        raise


# Writing


def _write(model: Any, format: str, folder: Path) -> Path:
    keras_file = folder / "model.keras"
    model.save(keras_file)
    if format == "keras":
        return keras_file
    model_path = folder / f"model{FORMATS[format]}"
    _in_process(_EXPORT, format, keras_file, model_path, backend="tensorflow", step="written")
    keras_file.unlink()
    return model_path


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

# As a user without cxrbench would write it, with the inputs by their names.
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


def _in_process(code: str, *arguments: object, backend: str, step: str) -> None:
    """Run code on the CPU in another process; `RunError` with its last line if it fails."""
    process = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # ONNX Runtime writes a device id into the user's cache folder, and sends it.
            "ORT_DISABLE_TELEMETRY": "1",
        },
        capture_output=True,
        text=True,
    )
    if process.returncode:
        lines = [line.strip() for line in process.stderr.splitlines() if line.strip()]
        raise _not_exported(
            f"the model cannot be {step} in this format",
            lines[-1][:500] if lines else f"exit code {process.returncode}",
        )


def _not_exported(problem: str, result: str, expected: str | None = None) -> RunError:
    return RunError(
        problem,
        expected=expected,
        found=result,
        fix="use another --format; no files were written",
    )


# Comparing


def compare_elsewhere(
    model: Any, inputs: Mapping[str, np.ndarray], model_path: Path, format: str, folder: Path
) -> float:
    """The largest difference; `RunError` if it is too large, or if the export does not run."""
    batches, results = folder / "inputs.npz", folder / "outputs.npz"
    np.savez(batches, **inputs)  # type: ignore[arg-type]
    sizes = [str(size) for size in BATCHES]
    backend = load_keras().backend.backend()
    _in_process(
        _RUN % sizes, format, model_path, batches, results, backend=backend, step="run once written"
    )
    worst = 0.0
    with np.load(results) as outputs:
        for size in BATCHES:
            batch = {name: value[:size] for name, value in inputs.items()}
            expected = np.asarray(model.predict_on_batch(batch), dtype=np.float32)
            worst = max(worst, _difference(expected, outputs[str(size)]))
    return worst


def _difference(expected: np.ndarray, outputs: np.ndarray) -> float:
    problem = "the export differs from the run's model"
    if expected.shape != outputs.shape:
        raise _not_exported(
            problem, f"outputs of shape {outputs.shape}", f"outputs of shape {expected.shape}"
        )
    worst = float(np.abs(expected - outputs).max())
    if not worst <= TOLERANCE:  # NaN too
        raise _not_exported(
            problem,
            f"a difference of {worst:.3g}",
            f"probabilities that differ by at most {TOLERANCE:g}",
        )
    return worst


# Describing


def describe(
    trained: TrainedRun, format: str, inputs: Mapping[str, np.ndarray], model_path: Path
) -> dict[str, Any]:
    """The values that a user without cxrbench needs, ready for JSON."""
    conditions = trained.run.conditions
    return {
        "format": format,
        "sha256": None if model_path.is_dir() else file_digest(model_path),
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
        meaning = "grey images from 0 (black) to 255 (white); the model normalises them itself"
    else:
        meaning = (
            f"feature vectors as cxrbench encodes those of {name}; the model standardises them"
        )
    return {"shape": [None, *value.shape[1:]], "dtype": "float32", "meaning": meaning}
