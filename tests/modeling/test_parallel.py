"""Several devices share each batch: the numbers of one device, on every backend."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cxrbench.errors import DeviceError, SettingsError
from cxrbench.modeling import parallel
from cxrbench.modeling.parallel import check_batch_size, distributed

# All of it in one process for each backend: importing is most of the time. There are three virtual
# devices, of which two are used.
PROBE = """
import json, sys
from pathlib import Path
import numpy as np
from small_cnn import SmallCNN, small_pictures
from cxrbench.errors import CxrbenchError
from cxrbench.modeling.backend import load_keras, set_seed
from cxrbench.modeling.parallel import available, distributed, predict_batch, train_batch
from cxrbench.modeling.train import masked_cross_entropy

keras, folder = load_keras(), Path(sys.argv[1])
name, ops, layers = keras.backend.backend(), keras.ops, keras.layers
if name == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)

pictures = small_pictures()
inputs = {"image": pictures.image[:, :, :, None].astype(np.float32), **pictures.features}
labels = pictures.labels.copy()
labels[:10, 1] = np.nan  # the two halves of a batch know different numbers of labels

def batch(rows):
    return {key: array[rows] for key, array in inputs.items()}, labels[rows]

class Scaled(layers.Layer):
    def call(self, image):
        return image / 255

def built(plain=False):
    set_seed(0)
    image, age = keras.Input((32, 32, 1), name="image"), keras.Input((4,), name="age")
    if plain:
        maps = layers.Conv2D(4, 3, 4, activation="tanh")(Scaled()(image))
    else:
        maps = SmallCNN().build(32, None)(image)
    joined = layers.Concatenate()([layers.Flatten()(maps), layers.Rescaling(1 / 50)(age)])
    if not plain:
        joined = layers.Dropout(0.3, seed=1)(joined)
    model = keras.Model({"image": image, "age": age}, layers.Dense(3)(joined))
    # With a large epsilon Adam no longer hides a gradient that is too large by a factor.
    adam = keras.optimizers.Adam(0.1, epsilon=1.0) if plain else keras.optimizers.Adam(3e-3)
    model.compile(adam, masked_cross_entropy)
    model.optimizer.build(model.trainable_variables)
    return model

def steps(model, count, step=train_batch):
    halves = [np.arange(32), np.arange(32, 64)]
    return [step(model, *batch(halves[i % 2])) for i in range(count)]

def everything(model):
    return [*model.variables, *model.optimizer.variables]

def values(model):
    return [np.array(ops.convert_to_numpy(variable)) for variable in everything(model)]

def trained(step=train_batch, predict=predict_batch):
    model = built(plain=True)
    losses = steps(model, 5, step)
    model.optimizer.learning_rate = 1e-2
    losses += steps(model, 1, step)
    logits = predict(model, batch(np.arange(64, 96))[0])
    flat = np.concatenate([weight.ravel() for weight in model.get_weights()])
    state = np.concatenate([value.ravel() for value in values(model)]).astype(np.float64)
    return {"losses": np.array(losses), "weights": flat, "logits": logits, "state": state}

def told(call):
    try:
        call()
    except CxrbenchError as error:
        return f"{type(error).__name__}: {error}"

def as_before():
    if name == "tensorflow":
        return not tf.distribute.has_strategy()
    return keras.distribution.distribution() is None

def main():
    found, rows = {}, np.arange(64, 96)
    with distributed("cpu", 1):
        np.savez(folder / "one.npz", **trained())
        on_batch = keras.Model.train_on_batch, keras.Model.predict_on_batch
        np.savez(folder / "keras.npz", **trained(*on_batch))
    found["before"] = as_before()
    with distributed("cpu", 2):
        np.savez(folder / "two.npz", **trained())

        model = built()
        found["losses"] = steps(model, 20)
        # As from a checkpoint: everything is put back, then the same steps give the same.
        kept = values(model)
        first = steps(model, 4), values(model)
        for variable, value in zip(everything(model), kept):
            variable.assign(value)
        second = steps(model, 4), values(model)
        found["again"] = [first[0], second[0]]
        found["differs"] = max(float(np.abs(a - b).max()) for a, b in zip(first[1], second[1]))
        shared, weights = predict_batch(model, batch(rows)[0]), model.get_weights()
        found["indivisible"] = [
            told(lambda: train_batch(model, *batch(rows[:5]))),
            told(lambda: predict_batch(model, batch(rows[:5])[0])),
        ]
        model.set_weights([weight * 0 for weight in weights])
        found["zero"] = float(np.abs(predict_batch(model, batch(rows)[0])).max())
    single = built()
    single.set_weights(weights)
    np.savez(folder / "logits.npz", two=shared, one=predict_batch(single, batch(rows)[0]))

    found["available"] = available("cpu")
    found["missing"] = told(lambda: distributed("cpu", 1000).__enter__())
    found["missing_gpus"] = told(lambda: distributed("gpu", 1000).__enter__())
    try:
        with distributed("cpu", 2):
            raise KeyError
    except KeyError:
        found["after"] = as_before()
    print(json.dumps(found))

if __name__ == "__main__":
    main()
"""

BACKENDS = ["tensorflow", pytest.param("jax", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=BACKENDS)
def probed(request, tmp_path_factory) -> tuple[dict, Path]:
    """What the probe printed, and the folder of the arrays that it saved."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    environment = {
        **os.environ,
        "KERAS_BACKEND": request.param,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=3 --xla_backend_optimization_level=0",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        ),
    }
    script = folder / "probe.py"
    script.write_text(PROBE)
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), folder


def saved(probed, name: str) -> dict[str, np.ndarray]:
    with np.load(probed[1] / f"{name}.npz") as file:
        return dict(file)


def test_two_devices_train_as_one_does(probed):
    one, two = saved(probed, "one"), saved(probed, "two")
    assert np.ptp(one["losses"]) > 1e-2
    for part in ("losses", "weights", "logits", "state"):
        np.testing.assert_allclose(two[part], one[part], rtol=2e-4, atol=2e-5)


def test_one_device_is_keras_to_the_bit(probed):
    one, kerass = saved(probed, "one"), saved(probed, "keras")
    for part in ("losses", "weights", "logits", "state"):
        np.testing.assert_array_equal(one[part], kerass[part])


def test_with_batch_normalisation_and_dropout_it_learns(probed):
    losses = probed[0]["losses"]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])


def test_what_was_saved_and_put_back_goes_on_as_it_would_have(probed):
    first, second = probed[0]["again"]
    np.testing.assert_allclose(second, first, rtol=1e-6)
    assert probed[0]["differs"] < 1e-6
    assert len(set(first)) == 4


def test_the_weights_predict_the_same_on_one_device(probed):
    logits = saved(probed, "logits")
    assert np.ptp(logits["one"]) > 0.1
    np.testing.assert_allclose(logits["two"], logits["one"], atol=1e-5)
    assert probed[0]["zero"] == 0


def test_more_devices_than_there_are_is_an_error_with_advice(probed):
    found = probed[0]["available"]
    assert found >= 2
    assert probed[0]["missing"].startswith("DeviceError: --devices 1000 needs more CPU devices")
    for part in (
        "expected: at least 1000",
        f"got: {found}",
        f"to do: use --devices {found} or fewer",
    ):
        assert part in probed[0]["missing"]
    assert probed[0]["missing_gpus"].startswith("DeviceError: --devices 1000 needs more GPU")


def test_a_batch_that_cannot_be_shared_is_an_error_with_advice(probed):
    for told in probed[0]["indivisible"]:
        assert told.startswith("SettingsError: a batch of 5 images")
        assert "batch size of 4" in told


def test_what_was_before_comes_back(probed):
    assert probed[0]["before"]
    assert probed[0]["after"]


def test_pytorch_computes_on_one_device(monkeypatch):
    monkeypatch.setattr(parallel, "backend_name", lambda: "torch")
    with (
        pytest.raises(DeviceError, match=r"--devices 2 does not work(?s:.*)to jax or tensorflow"),
        distributed("cpu", 2),
    ):
        pass


@pytest.mark.parametrize(("batch_size", "devices"), [(32, 1), (32, 2), (33, 3), (8, 8)])
def test_batches_that_can_be_shared(batch_size, devices):
    check_batch_size(batch_size, devices)


@pytest.mark.parametrize(
    ("batch_size", "devices", "advice"), [(33, 2, "size of 32"), (3, 8, "size of 8")]
)
def test_batches_that_cannot_be_shared(batch_size, devices, advice):
    with pytest.raises(SettingsError, match=advice):
        check_batch_size(batch_size, devices)
