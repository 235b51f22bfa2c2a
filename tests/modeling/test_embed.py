"""Embeddings: computed once, whole or not there, the same bytes whatever happened in between."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from small_cnn import SmallCNN

import cxrbench.store.stores as store_module
from cxrbench.errors import CacheError, RunError
from cxrbench.modeling.assemble import build_trunk
from cxrbench.modeling.embed import BATCH, embed, embedding_predictor, network_digest
from cxrbench.output.display import SilentDisplay

COUNT = 700
ABOUT = {"images": "abc", "network": "def"}


class Means:
    """Stands for a predictor: three numbers of each picture, and a line for each batch."""

    def __init__(self, log: Path, delay: float = 0.0):
        self.log, self.delay = log, delay

    def __call__(self, batch):
        assert batch["image"].shape == (BATCH, 8, 8)
        assert batch["image"].dtype == np.uint8
        images = batch["image"].astype(np.float32)
        time.sleep(self.delay)
        with self.log.open("a") as file:
            file.write("batch\n")
        return np.stack([images.mean((1, 2)), images.std((1, 2)), images[:, 0, 0]], 1)


class ListDisplay(SilentDisplay):
    def __init__(self):
        self.said, self.steps, self.total = [], 0, 0

    def say(self, text):
        self.said.append(text)

    @contextmanager
    def task(self, description, total):
        self.total = total

        def advance(steps=1, detail=""):
            self.steps += steps

        yield advance


def pictures(count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8), np.uint8)


def embedded(folder: Path, about=ABOUT, pixels=None, display=None, delay=0.0) -> np.ndarray:
    return embed(
        lambda: Means(folder / "log", delay),
        pictures() if pixels is None else pixels,
        output_shape=(3,),
        about=about,
        cache=folder / "cache",
        display=display or SilentDisplay(),
    )


def expected(pixels: np.ndarray) -> np.ndarray:
    images = pixels.astype(np.float32)
    return np.stack([images.mean((1, 2)), images.std((1, 2)), images[:, 0, 0]], axis=1)


def batches(folder: Path) -> int:
    return (folder / "log").read_text().count("batch")


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "cache").rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def stores(folder: Path) -> list[Path]:
    return [path for path in (folder / "cache" / "embeddings").iterdir() if path.is_dir()]


def test_each_row_is_the_embedders_output(tmp_path):
    display = ListDisplay()
    result = embedded(tmp_path, display=display)
    assert (result.dtype, result.shape) == (np.float32, (COUNT, 3))
    np.testing.assert_allclose(result, expected(pictures()), rtol=1e-5)
    assert (display.steps, display.total) == (COUNT, COUNT)
    with pytest.raises(ValueError, match="read-only"):
        result[0] = 0


def test_a_second_call_reads_what_the_first_computed(tmp_path):
    first = embedded(tmp_path)
    done = batches(tmp_path)
    assert done == -(-COUNT // BATCH)
    second = embedded(tmp_path)
    assert batches(tmp_path) == done
    np.testing.assert_array_equal(first, second)


def test_another_condition_is_another_store(tmp_path):
    embedded(tmp_path)
    for number, changed in enumerate(({"images": "x"}, {"network": "x"}, {"size": 9}), start=2):
        embedded(tmp_path, {**ABOUT, **changed})
        assert len(stores(tmp_path)) == number


def test_feature_maps_keep_their_shape(tmp_path):
    class Maps(Means):
        def __call__(self, batch):
            return np.tile(super().__call__(batch)[:, None, None], (1, 2, 2, 1))

    pixels = pictures(40)
    maps = embed(
        lambda: Maps(tmp_path / "log"),
        pixels,
        output_shape=(2, 2, 3),
        about=ABOUT,
        cache=tmp_path / "cache",
        display=SilentDisplay(),
    )
    assert maps.shape == (40, 2, 2, 3)
    np.testing.assert_allclose(maps[:, 1, 0], expected(pixels), rtol=1e-5)


def test_half_precision_is_announced_rounded_and_takes_half_the_room(tmp_path):
    display = ListDisplay()
    made = {"cache": tmp_path / "cache", "about": ABOUT, "output_shape": (3,)}
    half = embed(
        lambda: Means(tmp_path / "log"), pictures(), dtype=np.float16, display=display, **made
    )
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, expected(pictures()).astype(np.float16))
    assert display.said == ["  storing 3 activations of each of 700 images: 0.0 MB in the cache"]
    assert (stores(tmp_path)[0] / "embeddings.bin").stat().st_size == COUNT * 3 * 2
    embedded(tmp_path)
    assert len(stores(tmp_path)) == 2


def test_what_half_precision_cannot_hold_is_an_error_with_advice(tmp_path):
    with pytest.raises(RunError, match=r"65,504(?s:.*)got: 70,000(?s:.*)--activations recompute"):
        embed(
            lambda: lambda batch: np.full((BATCH, 2), 7e4, np.float32),
            pictures(40),
            output_shape=(2,),
            about=ABOUT,
            cache=tmp_path,
            display=SilentDisplay(),
            dtype=np.float16,
        )


def test_a_full_disk_has_another_way_for_activations(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    with pytest.raises(CacheError, match=r"not enough room(?s:.*)--activations recompute"):
        embed(
            lambda: Means(tmp_path / "log"),
            pictures(),
            output_shape=(3,),
            about=ABOUT,
            cache=tmp_path / "cache",
            display=SilentDisplay(),
            dtype=np.float16,
        )


# Interruptions

WORKER = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
from test_embed import embedded
embedded(Path(sys.argv[2]), delay=float(sys.argv[3]))
"""


def worker(folder: Path, delay: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(folder), str(delay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_at_any_instant_it_goes_on_with_the_same_bytes(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    embedded(whole)
    (killed / "log").touch()
    for more in (1, 4, 6, 7):  # a journal line covers four batches
        process, target = worker(killed, delay=0.01), batches(killed) + more
        while batches(killed) < target:
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not list(killed.rglob("complete.json"))
    before = batches(killed)
    display = ListDisplay()
    result = embedded(killed, display=display)
    assert batches(killed) - before < batches(whole)  # it went on, it did not begin anew
    assert display.steps == COUNT
    np.testing.assert_array_equal(result, embedded(whole))
    assert bytes_of(killed) == bytes_of(whole)


def test_two_processes_at_once_take_turns(tmp_path):
    processes = [worker(tmp_path, delay=0.02) for _ in range(2)]
    for process in processes:
        _, told = process.communicate()
        assert process.returncode == 0, told
    assert batches(tmp_path) == -(-COUNT // BATCH)
    np.testing.assert_allclose(embedded(tmp_path), expected(pictures()), rtol=1e-5)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("embeddings.bin", cut),
        ("embeddings.bin", lambda path: path.unlink()),
        ("embeddings.bin", lambda path: path.write_bytes(path.read_bytes() + b"more")),
        ("journal.jsonl", cut),
        ("complete.json", cut),
        ("about.json", lambda path: path.write_bytes(b"{}")),
    ],
)
def test_a_damaged_store_is_said_and_built_again(name, harm, tmp_path):
    embedded(tmp_path)
    before, done = bytes_of(tmp_path), batches(tmp_path)
    harm(stores(tmp_path)[0] / name)
    display = ListDisplay()
    embedded(tmp_path, display=display)
    assert batches(tmp_path) == 2 * done
    assert bytes_of(tmp_path) == before
    assert len(display.said) == 1
    assert "damaged" in display.said[0]
    assert str(stores(tmp_path)[0]) in display.said[0]


def test_a_damaged_store_that_was_not_complete_is_built_again(tmp_path):
    embedded(tmp_path)
    before = bytes_of(tmp_path)
    (stores(tmp_path)[0] / "complete.json").unlink()
    cut(stores(tmp_path)[0] / "embeddings.bin")
    display = ListDisplay()
    embedded(tmp_path, display=display)
    assert bytes_of(tmp_path) == before
    assert "damaged" in display.said[0]


def test_a_full_disk_is_an_error_that_says_how_much_is_needed(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    with pytest.raises(CacheError, match=r"not enough room(?s:.*)--cache"):
        embedded(tmp_path)
    assert not (tmp_path / "log").exists()


def test_a_disk_that_fills_up_is_an_error_and_the_work_so_far_is_kept(tmp_path, monkeypatch):
    written = []

    def nearly_full(descriptor, data):
        if len(written) > 400:
            raise OSError(28, "No space left on device")
        written.append(len(data))
        append(descriptor, data)

    append = store_module.append
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "append", nearly_full)
        with pytest.raises(CacheError, match="not enough room"):
            embedded(tmp_path)
    before = batches(tmp_path)
    np.testing.assert_allclose(embedded(tmp_path), expected(pictures()), rtol=1e-5)
    assert batches(tmp_path) - before < -(-COUNT // BATCH)


# The network's digest


def test_the_digest_changes_with_a_weight_a_layer_or_a_setting():
    import keras

    def small(seed=0, strides=1, momentum=0.99):
        keras.utils.set_random_seed(seed)
        image = keras.Input((8, 8, 1))  # layers without names: Keras counts them up
        maps = keras.Sequential([keras.layers.Conv2D(3, 3, strides)])(image)
        return keras.Model(image, keras.layers.BatchNormalization(momentum=momentum)(maps))

    model = small()
    first = network_digest(model)
    assert network_digest(small()) == first
    assert len({first, *map(network_digest, (small(1), small(0, 2), small(0, 1, 0.9)))}) == 4
    for index, weight in enumerate(model.get_weights()):
        changed = [value.copy() for value in model.get_weights()]
        changed[index].flat[0] = np.nextafter(weight.flat[0], 9, dtype=np.float32)
        model.set_weights(changed)
        assert network_digest(model) != first
        changed[index].flat[0] = weight.flat[0]
        model.set_weights(changed)
    assert network_digest(model) == first


def test_what_a_real_network_gives_is_what_is_stored(tmp_path):
    trunk = build_trunk(SmallCNN(), 8, None, 0)
    pixels = pictures(50)
    maps = embed(
        lambda: embedding_predictor(trunk, pixels, "keras"),
        pixels,
        output_shape=trunk.output_shape[1:],
        about=ABOUT,
        cache=tmp_path,
        display=SilentDisplay(),
    )
    direct = np.asarray(trunk(pixels[..., None].astype(np.float32), training=False))
    np.testing.assert_allclose(maps, direct, atol=1e-5)
