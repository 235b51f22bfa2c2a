"""Backends and devices: what is not there is said, and start-up noise is not."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
import textwrap

import pytest

from cxrbench.errors import DeviceError, OutOfMemory
from cxrbench.modeling import backend
from cxrbench.modeling.backend import (
    choose_device,
    choose_precision,
    device_scope,
    hardware,
    load_keras,
    precision_scope,
    unused_gpu,
)
from cxrbench.modeling.batch_size import memory_advice


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**known, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_unknown_backend_is_an_error_with_advice(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "nonsense")
    monkeypatch.delitem(sys.modules, "keras", raising=False)  # another test may have it
    with pytest.raises(DeviceError) as raised:
        load_keras()
    told = str(raised.value)
    assert "tensorflow, jax, torch" in told
    assert "got: KERAS_BACKEND=nonsense" in told
    assert "unset" in told


@pytest.mark.parametrize(
    ("name", "module", "advice"),
    [
        ("tensorflow", "tensorflow", "pip install tensorflow"),
        ("jax", "jax", "pip install 'cxrbench[jax]'"),
        ("torch", "torch", "pip install 'cxrbench[torch]'"),
    ],
)
def test_a_backend_that_is_not_installed_is_an_error_with_advice(name, module, advice, tmp_path):
    (tmp_path / f"{module}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')"
    )
    done = python(
        """
        from cxrbench.errors import DeviceError, OutOfMemory
        from cxrbench.modeling.backend import load_keras
        try:
            load_keras()
        except DeviceError as error:
            print(error)
        """,
        KERAS_BACKEND=name,
        PYTHONPATH=str(tmp_path),
    )
    assert f"expected: an installation of {name}" in done.stdout, done.stderr
    assert f"No module named '{module}'" in done.stdout
    assert advice in done.stdout


def test_auto_takes_what_is_there_and_gpu_insists(monkeypatch):
    monkeypatch.setattr(backend, "gpu_names", lambda: ())
    assert choose_device("auto") == "cpu"
    assert choose_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match=r"--device gpu(?s:.*)only the CPU(?s:.*)--device cpu"):
        choose_device("gpu")
    monkeypatch.setattr(backend, "gpu_names", lambda: ("Big GPU",))
    assert choose_device("auto") == "gpu"
    assert choose_device("gpu") == "gpu"
    assert choose_device("cpu") == "cpu"
    assert hardware("gpu")["device"] == "Big GPU"


def test_the_hardware_is_told_in_plain_values():
    told = json.loads(json.dumps(hardware("cpu")))
    assert told["cpus"] == len(os.sched_getaffinity(0))
    assert told["machine"] == platform.machine()
    assert told["device"]


def test_models_live_on_the_device():
    keras = load_keras()
    with device_scope("cpu"):
        value = keras.ops.ones((2,)) + 1
    assert keras.ops.convert_to_numpy(value).tolist() == [2, 2]


NOISE = """
    import os, sys
    from cxrbench.modeling.backend import choose_device, device_scope, load_keras, release
    os.write(2, b"before\\n")
    keras = load_keras()
    with device_scope(choose_device("auto")):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        model.train_on_batch(keras.ops.ones((4, 2)), keras.ops.ones((4, 1)))
    release()
    os.write(2, b"after\\n")
    print(keras.backend.backend())
"""


def test_start_up_says_nothing_and_other_messages_are_kept():
    done = python(NOISE)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "tensorflow\n"
    assert done.stderr == "before\nafter\n"


def test_a_failed_import_shows_what_was_held_back(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'the library cannot be loaded\\n')\nraise ImportError('broken')\n"
    )
    done = python(
        "from cxrbench.modeling.backend import load_keras\nload_keras()",
        PYTHONPATH=str(tmp_path),
        KERAS_BACKEND="tensorflow",
    )
    assert done.returncode == 1
    assert "the library cannot be loaded" in done.stderr
    assert "DeviceError" in done.stderr


# Precision


def test_precision_holds_in_its_context_only():
    keras = load_keras()
    with precision_scope("bfloat16"):
        layer = keras.layers.Dense(2)
        layer.build((None, 3))
        assert layer.compute_dtype == "bfloat16"
        assert layer.variable_dtype == "float32"
    assert keras.layers.Dense(2).compute_dtype == "float32"
    with pytest.raises(KeyError), precision_scope("bfloat16"):
        raise KeyError
    assert keras.config.dtype_policy().name == "float32"


def test_auto_is_float32_on_a_cpu(monkeypatch):
    assert choose_precision("auto", "cpu") == "float32"
    assert choose_precision("bfloat16", "cpu") == "bfloat16"
    monkeypatch.setattr(backend, "_has_bfloat16", lambda: True)
    assert choose_precision("auto", "gpu") == "bfloat16"
    assert choose_precision("float32", "gpu") == "float32"
    monkeypatch.setattr(backend, "_has_bfloat16", lambda: False)
    assert choose_precision("auto", "gpu") == "float32"


# Memory

# A network that runs, and then a batch for which the process may take too little more.
HUNGRY = """
    import resource
    import numpy as np
    from cxrbench.errors import OutOfMemory
    from cxrbench.modeling.backend import load_keras
    from cxrbench.modeling.batch_size import memory_advice

    keras = load_keras()
    image = keras.Input((64, 64, 1))
    maps = keras.layers.Conv2D(64, 3, padding="same")(image)
    model = keras.Model(image, keras.layers.Conv2D(64, 3, padding="same")(maps))
    model.predict_on_batch(np.zeros((1, 64, 64, 1), "float32"))
    batch = np.zeros((4096, 64, 64, 1), "float32")
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 700_000_000,) * 2)
    try:
        with memory_advice("predicting in batches of 4096"):
            model.predict_on_batch(batch)
    except OutOfMemory as error:
        print(error)
"""


@pytest.mark.parametrize("name", ["tensorflow", pytest.param("torch", marks=pytest.mark.torch)])
def test_memory_that_runs_out_is_told_with_advice(name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    # TensorFlow's kernels with oneDNN, its choice on some processors, crash where memory runs out.
    done = python(HUNGRY, KERAS_BACKEND=name, TF_ENABLE_ONEDNN_OPTS="0")
    assert "memory ran out while predicting in batches of 4096" in done.stdout, done.stderr
    assert "use a smaller --batch-size" in done.stdout


def test_jaxs_way_of_saying_that_memory_ran_out_is_known():
    # Not provoked: with too little memory JAX 0.10 at times ends the process by itself.
    done = python(
        """
        import jax
        from cxrbench.modeling.batch_size import is_out_of_memory

        for said in ("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.", "INTERNAL: other"):
            print(is_out_of_memory(jax.errors.JaxRuntimeError(said)))
        """,
        KERAS_BACKEND="jax",
    )
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_other_errors_are_not_taken_for_memory():
    with pytest.raises(ValueError, match="own"), memory_advice("training"):
        raise ValueError("own")
    with pytest.raises(DeviceError), memory_advice("training"):
        raise DeviceError("no device")
    told = pytest.raises(OutOfMemory, match=r"while training\n  got: MemoryError")
    with told, memory_advice("training"):
        raise MemoryError


def keras_json(folder, text):
    (folder / "keras.json").write_text(text)
    return {"KERAS_HOME": str(folder)}


REPORT = """
from cxrbench.modeling.backend import load_keras
from cxrbench.errors import DeviceError
try:
    keras = load_keras()
    config = keras.config
    print(config.floatx(), config.image_data_format(), config.epsilon(), config.dtype_policy().name)
except DeviceError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "text",
    [
        '{"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}',
        '{"floatx": "float64", "backend": "tensorflow"}',
        "{}",
        "no JSON",
    ],
)
def test_values_of_keras_json_shape_no_result(tmp_path, text):
    said = python(REPORT, **keras_json(tmp_path, text))
    assert said.stdout == "float32 channels_last 1e-07 float32\n", said.stderr


@pytest.mark.parametrize(
    "text",
    ['{"backend": "theano"}', '{"floatx": "float8"}', '{"epsilon": 1}', "[1, 2]"],
)
def test_a_keras_json_that_cannot_work_is_named(tmp_path, text):
    said = python(REPORT, **keras_json(tmp_path, text))
    assert str(tmp_path / "keras.json") in said.stdout, said.stderr
    assert "remove" in said.stdout
    assert "Traceback" not in said.stderr


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="PyTorch is installed")
def test_a_backend_of_keras_json_that_is_not_installed_is_the_one_that_is_expected(tmp_path):
    said = python(REPORT, **keras_json(tmp_path, '{"backend": "torch"}'))
    assert "expected: an installation of torch" in said.stdout, said.stderr
    assert str(tmp_path / "keras.json") in said.stdout
    assert "pip install 'cxrbench[torch]'" in said.stdout


def test_the_environment_overrides_keras_json(tmp_path):
    settings = keras_json(tmp_path, '{"backend": "theano"}')
    said = python(REPORT, **settings, KERAS_BACKEND="tensorflow")
    assert said.stdout.startswith("float32 "), said.stdout + said.stderr


def test_a_gpu_that_the_backend_cannot_use_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(backend, "gpu_names", lambda: ())
    assert unused_gpu(tmp_path / "none") is None
    assert unused_gpu(tmp_path) is None
    (tmp_path / "0000:00:1e.0").mkdir()
    sentence = unused_gpu(tmp_path)
    assert sentence is not None
    assert "this machine has a GPU, but" in sentence
    assert "install" in sentence
    (tmp_path / "0000:00:1f.0").mkdir()
    assert "this machine has 2 GPUs" in str(unused_gpu(tmp_path))
    monkeypatch.setattr(backend, "gpu_names", lambda: ("one",))
    assert unused_gpu(tmp_path) is None
    monkeypatch.setattr(backend, "gpu_names", lambda: ())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden by the user
    assert unused_gpu(tmp_path) is None


def test_tensorflow_does_not_give_advice_about_the_models_of_several_runs():
    pytest.importorskip("tensorflow")
    done = python(
        """
        import logging
        from cxrbench.modeling.backend import load_keras
        load_keras()
        logger = logging.getLogger("tensorflow")
        logger.warning("5 out of the last 13 calls to %s triggered tf.function retracing.", "f")
        logger.warning("another warning")
        """,
        KERAS_BACKEND="tensorflow",
    )
    assert done.returncode == 0, done.stderr
    assert "another warning" in done.stderr
    assert "retracing" not in done.stderr
