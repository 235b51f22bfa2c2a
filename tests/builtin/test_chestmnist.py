"""MedMNIST's files, stored and deflated: what is read of them, in which order, and hostile ones."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrbench import CxrbenchError, DataError, UnreadableImage
from cxrbench.builtin import _chestmnist as rows_module
from cxrbench.builtin.chestmnist import FINDINGS, ChestMNIST
from cxrbench.data.cohort import validate
from cxrbench.data.splits import make_split
from cxrbench.store.image_pass import in_order

COUNTS = {"train": 300, "val": 40, "test": 60}


def arrays(side: int = 28, seed: int = 0) -> dict[str, np.ndarray]:
    """What MedMNIST's file holds, with fewer images; each finding makes its row brighter."""
    rng = np.random.default_rng(seed)
    made = {}
    for part, count in COUNTS.items():
        labels = (rng.random((count, 14)) < 0.3).astype(np.uint8)
        images = rng.integers(0, 100, (count, side, side), dtype=np.uint8)
        for label in range(14):
            images[labels[:, label] == 1, 2 * label : 2 * label + 2] += 100
        made |= {f"{part}_images": images, f"{part}_labels": labels}
    return made


ARRAYS = arrays()
SAVE = {"stored": np.savez, "deflated": np.savez_compressed}


@pytest.fixture(scope="module", params=SAVE)
def path(request, tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp(request.param) / "chestmnist.npz"
    SAVE[request.param](made, **ARRAYS)
    return made


def test_the_cohort(path):
    dataset = ChestMNIST(path=str(path))
    cohort = dataset.load()
    validate(cohort)
    assert len(cohort) == sum(COUNTS.values())
    assert cohort.label_names[::13] == ("Atelectasis", "Hernia")
    assert len(cohort.label_names) == 14
    assert cohort.patients_known is False
    assert cohort.image_ids[300] == "val_0"
    np.testing.assert_array_equal(
        cohort.labels, np.concatenate([ARRAYS[f"{part}_labels"] for part in COUNTS])
    )


def test_the_split_is_the_published_one_and_no_other(path):
    dataset = ChestMNIST(path=str(path))
    assert dataset.defaults["split"] == "official"
    cohort = dataset.load()
    split = make_split(cohort, dataset, "official")
    assert {part: len(split.rows(part)) for part in COUNTS} == COUNTS
    with pytest.raises(DataError, match="patients of 'chestmnist' are unknown"):
        make_split(cohort, dataset, "patient")
    with pytest.raises(DataError, match="is in its file"):
        make_split(cohort, dataset, "official:lists")


@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_each_image_is_the_one_that_numpy_loads(path, order):
    dataset = ChestMNIST(path=str(path))
    sources = list(dataset.load().sources)
    if order == "backwards":
        sources.reverse()
    elif order == "shuffled":
        np.random.default_rng(0).shuffle(sources)
    for source in sources:
        part, row = source.split("_")
        found = dataset.read(source, max_pixels=10**6)
        np.testing.assert_array_equal(found, ARRAYS[f"{part}_images"][int(row)])


def test_threads_take_images_side_by_side(path):
    dataset = ChestMNIST(path=str(path))
    sources = dataset.load().sources
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda s: dataset.read(s, max_pixels=10**6), sources))
    np.testing.assert_array_equal(
        np.stack(found), np.concatenate([ARRAYS[f"{part}_images"] for part in COUNTS])
    )


def test_one_pass_inflates_once(tmp_path, monkeypatch):
    """However many threads there are, and with little kept."""
    monkeypatch.setattr(rows_module, "_BLOCK", 16)
    np.savez_compressed(tmp_path / "chestmnist.npz", **ARRAYS)
    dataset = ChestMNIST(path=str(tmp_path))
    starts = []
    start = rows_module.DeflatedRows._start
    monkeypatch.setattr(
        rows_module.DeflatedRows, "_start", lambda self: (starts.append(self), start(self))
    )
    sources = dataset.load().sources
    # As a pass over the images reads them: no thread is left behind by more than what is kept.
    list(in_order(lambda s: dataset.read(s, max_pixels=10**6), sources, 8))
    assert len(starts) == len(COUNTS)
    assert max(len(rows._blocks) for rows in starts) <= 8
    dataset.read("train_0", max_pixels=10**6)
    assert len(starts) == len(COUNTS) + 1


def test_another_process_opens_the_file_anew(path):
    dataset = ChestMNIST(path=str(path))
    dataset.read("train_7", max_pixels=10**6)
    again = pickle.loads(pickle.dumps(dataset))
    assert again == dataset
    np.testing.assert_array_equal(again.read("val_3", max_pixels=10**6), ARRAYS["val_images"][3])


def test_too_many_pixels(path):
    with pytest.raises(UnreadableImage, match="more than the limit of 700"):
        ChestMNIST(path=str(path)).read("train_0", max_pixels=700)


@pytest.mark.parametrize("name", ["chestmnist.npz", "ChestMNIST_224.npz"])
def test_files_and_folders_are_recognised_by_name(tmp_path, name, registry):
    from cxrbench.data.datasets import find_dataset

    np.savez(tmp_path / name, **ARRAYS)
    for where in (tmp_path, tmp_path / name):
        found = find_dataset(str(where), registry, tmp_path)
        assert found == ChestMNIST(path=str(where))
        assert len(found.load()) == 400
    assert ChestMNIST.recognise(tmp_path / "pathmnist.npz") is None


def test_what_is_not_one_file_is_explained(tmp_path):
    for path, told in (("", "needs the path"), (str(tmp_path), "none"), ("/x.npz", "No such file")):
        with pytest.raises(DataError, match=told):
            ChestMNIST(path=path).load()
    for name in ("chestmnist.npz", "chestmnist_64.npz"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"chestmnist\.npz, chestmnist_64\.npz"):
        ChestMNIST(path=str(tmp_path)).load()


def npy(array: np.ndarray, **options) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


def archive(changes: dict[str, bytes | None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A file with some members changed, added or (None) left out."""
    members = {f"{name}.npy": npy(array) for name, array in ARRAYS.items()} | changes
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in members.items():
            if data is not None:
                file.writestr(name, data)
    return out.getvalue()


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('unpickled')",)


OBJECTS = npy(np.array([Bomb()], object), allow_pickle=True)
WHOLE = archive({})
MANY = npy(np.zeros((1, 28, 28), np.uint8)).replace(b"(1, 28, 28)", b"(999999, 28, 28)")
HOSTILE = {
    "an absolute path": (archive({"/etc/passwd": b"x"}), "/etc/passwd"),
    "a path that leads up": (archive({"../../x.npy": b"x"}), "../../x.npy"),
    "a member too few": (archive({"val_labels.npy": None}), "without val_labels.npy"),
    "pickled images": (archive({"train_images.npy": OBJECTS}), "pickled objects"),
    "pickled labels": (archive({"test_labels.npy": OBJECTS}), "pickled objects"),
    "colour": (archive({"train_images.npy": npy(np.zeros((300, 28, 28, 3), np.uint8))}), "28, 3)"),
    "floats": (archive({"val_images.npy": npy(np.zeros((40, 28, 28)))}), "float64"),
    "oblong": (archive({"val_images.npy": npy(np.zeros((40, 28, 29), np.uint8))}), "28, 29"),
    "another side": (archive({"val_images.npy": npy(np.zeros((40, 64, 64), np.uint8))}), "64"),
    "Fortran order": (
        archive({"val_images.npy": npy(np.asfortranarray(ARRAYS["val_images"]))}),
        "Fortran",
    ),
    "no image": (archive({"val_images.npy": npy(np.zeros((0, 28, 28), np.uint8))}), "empty side"),
    "labels of another length": (archive({"val_labels.npy": npy(np.zeros((41, 14), int))}), "41"),
    "too few labels": (archive({"val_labels.npy": npy(np.zeros((40, 1), int))}), "(40, 1)"),
    "labels that are none": (archive({"val_labels.npy": npy(np.full((40, 14), 7))}), "7 and 559"),
    "a size that lies": (archive({"val_images.npy": MANY}), "783,999,"),
    "a header that is none": (archive({"val_images.npy": b"\x93NUMPY\x01\0\x05\0((((("}), "val_im"),
    "no array": (archive({"val_images.npy": b"hello"}), "val_images.npy"),
    "cut off": (WHOLE[:-2000], "BadZipFile"),
    "another compression": (archive({}, zipfile.ZIP_BZIP2), "another compression"),
    "empty": (b"", "BadZipFile"),
    "one array": (npy(ARRAYS["val_images"]), "BadZipFile"),
    "a pickle": (pickle.dumps(Bomb()), "BadZipFile"),
}


@pytest.mark.parametrize(("data", "told"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused_with_one_message(tmp_path, data, told):
    (tmp_path / "chestmnist.npz").write_bytes(data)
    with pytest.raises(DataError) as error:
        ChestMNIST(path=str(tmp_path)).load()
    text = str(error.value)
    assert told in text
    assert all(part in text for part in ("expected:", "got:", "to do:"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["chestmnist.npz"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "chestmnist.npz", "w") as file:
        for name, array in (*ARRAYS.items(), ("val_images", ARRAYS["val_images"])):
            file.writestr(f"{name}.npy", npy(array))
    with pytest.raises(DataError, match="exactly MedMNIST's six arrays"):
        ChestMNIST(path=str(tmp_path)).load()


def patched(data: bytes, name: str, field: int, value: int) -> bytes:
    """The archive with a 4-byte field of a member's entry in the central directory changed."""
    place = data.rindex(name.encode()) - 46 + field
    return data[:place] + struct.pack("<I", value) + data[place + 4 :]


@pytest.mark.parametrize(("field", "value"), [(20, 10**9), (24, 10**9), (42, 10**6), (42, 5)])
@pytest.mark.parametrize("save", SAVE.values(), ids=SAVE)
def test_a_directory_that_lies(tmp_path, field, value, save):
    """About a member's packed size, its size, and where it begins."""
    out = io.BytesIO()
    save(out, **ARRAYS)
    data = patched(out.getvalue(), "val_images.npy", field, value)
    (tmp_path / "chestmnist.npz").write_bytes(data)
    dataset = ChestMNIST(path=str(tmp_path))
    try:
        dataset.load()
    except DataError:
        return
    with pytest.raises(UnreadableImage):
        dataset.read("val_39", max_pixels=10**6)


def test_damage_inside_a_stream_costs_the_images_behind_it_and_no_second_look(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(rows_module, "_BLOCK", 16)
    path = tmp_path / "chestmnist.npz"
    np.savez_compressed(path, **ARRAYS)
    data = bytearray(path.read_bytes())
    middle = data.index(b"train_images.npy") + 150_000
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    dataset = ChestMNIST(path=str(path))
    dataset.load()
    np.testing.assert_array_equal(
        dataset.read("train_0", max_pixels=10**6), ARRAYS["train_images"][0]
    )
    for row in (299, 298, 297):
        with pytest.raises(UnreadableImage, match="damaged: the archive cannot be inflated"):
            dataset.read(f"train_{row}", max_pixels=10**6)
    assert dataset.read("train_1", max_pixels=10**6).shape == (28, 28)


def test_a_stored_file_that_is_cut_off_later(tmp_path):
    path = tmp_path / "chestmnist.npz"
    np.savez(path, **ARRAYS)
    dataset = ChestMNIST(path=str(path))
    dataset.read("test_59", max_pixels=10**6)
    with path.open("r+b") as file:
        file.truncate(100_000)
    with pytest.raises(UnreadableImage, match="truncated"):
        dataset.read("test_59", max_pixels=10**6)


SMALL = {
    f"{part}_{kind}": np.ones((3, 16, 16) if kind == "images" else (3, 14), np.uint8)
    for part in COUNTS
    for kind in ("images", "labels")
}


@settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    save=st.sampled_from(list(SAVE)),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=6)), max_size=4
    ),
    cut=st.one_of(st.none(), st.floats(0, 1)),
)
def test_any_bytes_give_images_or_an_error_of_ours(tmp_path, save, changes, cut):
    out = io.BytesIO()
    SAVE[save](out, **SMALL)
    data = bytearray(out.getvalue())
    for share, new in changes:
        place = int(share * len(data))
        data[place : place + len(new)] = new
    if cut is not None:
        del data[int(cut * len(data)) :]
    (tmp_path / "chestmnist.npz").write_bytes(data)
    dataset = ChestMNIST(path=str(tmp_path))
    try:
        cohort = dataset.load()
    except CxrbenchError:
        return
    validate(cohort)
    for source in cohort.sources:
        try:
            assert dataset.read(source, max_pixels=10**6).shape == (16, 16)
        except UnreadableImage:
            continue


def test_a_run_says_that_patients_are_unknown(tmp_path, cli):
    np.savez_compressed(tmp_path / "chestmnist.npz", **ARRAYS)
    where = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    said = cli("run", "prior", "--data", tmp_path / "chestmnist.npz", *where)
    assert said.code == 0
    text = " ".join(said.out.split())
    assert "60 test images of unknown patients · 14 of 14 labels counted" in text
    assert "cannot check" in text
    assert "95 % bootstrap interval over images" in text
    board = json.loads(cli("leaderboard", "--runs", tmp_path / "runs", "--json").out)["boards"][0]
    assert board["conditions"]["patients_known"] is False
    assert board["conditions"]["test_patients"] is None
    assert (board["rows"][0]["split"], board["rows"][0]["train_images"]) == ("official", 300)
    assert "cannot check" in board["notes"][0]
    (run,) = (tmp_path / "runs").glob("*/run.json")
    info = json.loads(run.read_text())
    assert (info["patients_known"], info["test_patients"]) == (False, None)
    assert json.loads((run.parent / "metrics.json").read_text())["patients"] is None
    refused = cli(
        "run", "prior", "--data", tmp_path / "chestmnist.npz", *where, "--split", "patient"
    )
    assert refused.code == 2
    assert "--split official" in refused.err


def test_the_labels_are_those_of_nih():
    from cxrbench.builtin._nih.table import LABEL_NAMES as NIH_NAMES

    assert NIH_NAMES[:14] == FINDINGS
