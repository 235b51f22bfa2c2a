"""New images: how they are found, and the scores and reasons that they get."""

from __future__ import annotations

import errno
import itertools
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import cv2
import numpy as np
import pandas as pd
import pytest
from run_conditions import conditions
from tiny_parts import Drawn

from cxrbench import FeatureExtractor, Identity, LocalFeatures
from cxrbench.errors import (
    CxrbenchError,
    DataError,
    RunError,
    SettingsError,
    UnreadableImage,
)
from cxrbench.inference.images import ImageSource, InputImage, count_images
from cxrbench.inference.predict import predict_images
from cxrbench.inference.trained import TrainedRun, load_trained
from cxrbench.interfaces import Record
from cxrbench.recipe import Feature, parse_recipe
from cxrbench.runs.run import Run

BOTH = "tinynet+grid+rows:words=8"
PREPARED = {"fit": "stretch", "clahe": False, "max_pixels": 10**6}


def write_image(path: Path, value: int = 100, size: int = 48) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, np.full((size, size), value, np.uint8))
    assert done
    path.write_bytes(data.tobytes())
    return path


def names(*inputs, **options) -> list[str]:
    return [image.name for image in ImageSource(tuple(map(Path, inputs)), **options)]


def path_of(image: InputImage) -> Path:
    """The file that is looked for, which must not exist."""
    with pytest.raises(FileNotFoundError) as caught:
        image.read(10**6)
    return Path(caught.value.filename)


def gathered(batches) -> tuple[list[str], np.ndarray, list[str | None]]:
    batches = list(batches)
    return (
        [name for batch in batches for name in batch.names],
        np.concatenate([batch.y_score for batch in batches]),
        [error for batch in batches for error in batch.errors],
    )


@pytest.fixture(scope="module")
def drawn(grid, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """The images of a run's test split as files, and what the run predicted for them."""
    folder = tmp_path_factory.mktemp("drawn")
    table = pd.read_parquet(grid.run_of("grid") / "predictions.parquet")
    tested = table[table["split"] == "test"]
    dataset, cohort = Drawn(), Drawn().load()
    for image in tested["image"]:
        source = cohort.sources[cohort.image_ids.index(image)]
        cv2.imwrite(str(folder / f"{image}.png"), dataset.read(source, max_pixels=10**6))
    return folder, tested


@pytest.mark.parametrize("recipe", ["tinynet", BOTH, "grid"])
@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (7, 4), (64, 2)])
def test_the_scores_of_the_runs_own_test_images(recipe, batch_size, threads, grid, drawn, registry):
    folder, _ = drawn
    run = grid.run_of(recipe)
    told = pd.read_parquet(run / "predictions.parquet").set_index("image")
    found, y_score, errors = gathered(
        predict_images(
            load_trained(run, registry),
            ImageSource((folder,)),
            batch_size=batch_size,
            threads=threads,
        )
    )
    assert not any(errors)
    expected = told.loc[[Path(name).stem for name in found]].filter(like="y_score_")
    assert len(found) == (told["split"] == "test").sum()
    np.testing.assert_allclose(y_score, expected, atol=1e-5)


def stand_in(*features: Feature, image_size: int | None = 16, **settings) -> TrainedRun:
    """A run whose model is not asked; its features are vectors of two numbers."""
    inputs = [SimpleNamespace(name=f.name, shape=(None, 2)) for f in features]
    return TrainedRun(
        run=Run(Path("stand-in"), conditions(settings={**PREPARED, **settings})),
        recipe=replace(parse_recipe("prior", None), features=features),
        label_names=("A", "B"),
        image_size=image_size,
        model=SimpleNamespace(inputs=inputs, predict_on_batch=means),
        network=SimpleNamespace(),
        encoders={
            f.name: f.encoder.fit([np.zeros((1, 2))], distance="l2", seed=0) for f in features
        },
        thresholds=(0.5, None),
    )


def means(batch):
    mean = batch["image"].mean(axis=(1, 2, 3)) / 255
    return np.stack([mean, 1 - mean], axis=1)


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.EMFILE, "Too many open files")], ids=["memory", "files"]
)
@pytest.mark.parametrize("place", ["grey_of", "prepare_grey"])
def test_a_shortage_is_no_row_of_an_image_but_stops_the_command(
    error, place, tmp_path, monkeypatch
):
    write_image(tmp_path / "a.png", 51)

    def short(*_):
        raise error

    monkeypatch.setattr(f"cxrbench.inference.inputs.{place}", short)
    with pytest.raises(CxrbenchError, match=r"a\.png(?s:.*)run the same command again"):
        list(predict_images(stand_in(), ImageSource((tmp_path,))))


def test_a_bad_image_is_a_row_with_its_reason(tmp_path):
    write_image(tmp_path / "a.png", 51)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-20])
    (tmp_path / "c.png").write_text("a text file")
    (tmp_path / "d.png").touch()
    (tmp_path / "e.png").symlink_to("nowhere")
    (tmp_path / "f.png").symlink_to("f.png")
    os.mkfifo(tmp_path / "g.png")
    write_image(tmp_path / "h.png", size=1200)
    write_image(tmp_path / "i.png", size=8)
    with (tmp_path / "j.png").open("wb") as file:
        file.truncate(10**9)
    write_image(tmp_path / "k.JPG".lower(), 102)
    found, y_score, errors = gathered(
        predict_images(stand_in(), ImageSource((tmp_path,)), batch_size=4)
    )
    assert [Path(name).stem for name in found] == list("abcdefghijk")
    assert errors[0] is errors[-1] is None
    np.testing.assert_allclose(y_score[[0, -1]], [[0.2, 0.8], [0.4, 0.6]], atol=1e-2)
    assert np.isnan(y_score[1:-1]).all()
    for error, told in zip(
        errors[1:-1],
        (
            "truncated: the PNG",
            "not an image",
            "the file is empty",
            "No such file",
            "Too many levels of symbolic links",
            "not a file",
            "more than the limit of 1000000",
            "a side is under 16",
            "a file of 1000000000 bytes",
        ),
        strict=True,
    ):
        assert told in error


def test_batches_have_one_size_and_the_caller_may_predict():
    seen = []

    def predict(batch):
        seen.append({name: (array.shape, array.dtype) for name, array in batch.items()})
        return means(batch)

    def read(max_pixels):
        raise UnreadableImage("the table names no image")

    image = InputImage(Record("nothing"), read)
    assert [b.errors for b in predict_images(stand_in(), [image] * 3, predict=predict)] == [
        ("the table names no image",) * 3
    ]
    assert seen == []


def test_the_model_sees_one_shape_only(tmp_path):
    seen = []

    def predict(batch):
        seen.append({name: (array.shape, array.dtype) for name, array in batch.items()})
        return means(batch)

    for number in range(7):
        write_image(tmp_path / f"{number}.png", 10 * number)
    (tmp_path / "2.png").write_bytes(b"")
    _, y_score, errors = gathered(
        predict_images(stand_in(), ImageSource((tmp_path,)), batch_size=3, predict=predict)
    )
    assert seen == [{"image": ((3, 16, 16, 1), np.float32)}] * 3
    known = [0, 1, 3, 4, 5, 6]
    np.testing.assert_allclose(y_score[known, 0], np.array(known) * 10 / 255, atol=1e-6)
    assert [error is not None for error in errors].index(True) == 2


def test_images_are_taken_as_they_are_needed(tmp_path):
    """Whatever the number of images, few are held."""
    path = write_image(tmp_path / "a.png")
    taken = itertools.count()
    data = path.read_bytes()
    endless = (InputImage(Record(str(next(taken))), lambda _: data) for _ in itertools.count())
    stream = predict_images(stand_in(), endless, batch_size=5, threads=2)
    found = [name for batch in itertools.islice(stream, 40) for name in batch.names]
    stream.close()
    assert found == [str(number) for number in range(200)]
    assert next(taken) < 200 + 20


def test_the_images_are_prepared_as_the_runs_own_were(tmp_path):
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (40, 90)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    seen = []

    def predict(batch):
        seen.append(batch["image"][0, :, :, 0])
        return means(batch)

    for settings in ({}, {"fit": "pad"}, {"clahe": True}):
        list(predict_images(stand_in(**settings), ImageSource((tmp_path,)), predict=predict))
    equalised = cv2.createCLAHE(2.0, (8, 8)).apply(wide)
    stretched = [cv2.resize(i, (16, 16), interpolation=cv2.INTER_AREA) for i in (wide, equalised)]
    np.testing.assert_array_equal(seen[0], stretched[0])
    assert (seen[1][[0, 1, -1]] == 0).all()
    np.testing.assert_array_equal(seen[2], stretched[1])


@pytest.mark.parametrize("settings", [{"fit": "crop"}, {"clahe": None}, {"max_pixels": "many"}])
def test_a_run_that_does_not_say_how_is_an_error(settings, tmp_path):
    write_image(tmp_path / "a.png")
    with pytest.raises(RunError, match="does not say how images were prepared"):
        list(predict_images(stand_in(**settings), ImageSource((tmp_path,))))


@dataclass(frozen=True)
class Who(FeatureExtractor):
    """What is known of the patient; fails where the age is 13, and gives NaN where it is 14."""

    name = "who"
    encodings: ClassVar = {"identity": Identity}
    image_size: ClassVar = None

    def extract(self, image, record):
        assert image is None
        if record.age == 13:
            raise RuntimeError("no luck")
        known = [record.age or -1, {"F": 1, "M": 2}.get(record.sex, 0)]
        return LocalFeatures(np.array([known], np.float32))

    def vectors(self, descriptors):
        return np.where(descriptors == 14, np.nan, descriptors)


WHO = Feature(Who(), "identity", Identity())


def test_extractors_learn_what_the_table_tells_of_a_patient(tmp_path):
    write_image(tmp_path / "a.png")
    table = tmp_path / "t.csv"
    table.write_text("path,age,sex\na.png,50,F\na.png,,\na.png,13,M\na.png,14,M\na.png,061Y,male\n")
    seen = []

    def predict(batch):
        seen.extend(batch["who"].tolist())
        return np.full((len(batch["who"]), 2), 0.5)

    trained = stand_in(WHO, image_size=None)
    _, _, errors = gathered(
        predict_images(trained, ImageSource((table,)), batch_size=5, predict=predict)
    )
    assert seen[:3] == [[50, 1], [-1, 0], [61, 2]]
    assert [error is None for error in errors] == [True, True, False, False, True]
    assert "no luck" in errors[2]
    assert "1 of its numbers finite" in errors[3]


def test_scores_that_are_not_finite_are_none(tmp_path):
    for name in "ab":
        write_image(tmp_path / f"{name}.png", 200 if name == "b" else 0)

    def predict(batch):
        return np.where(means(batch)[:, :1] > 0, [[np.nan, 0.5]], [[0.25, 0.5]])

    _, y_score, errors = gathered(
        predict_images(stand_in(), ImageSource((tmp_path,)), predict=predict)
    )
    assert errors == [None, "the model's scores are not finite"]
    np.testing.assert_array_equal(y_score, [[0.25, 0.5], [np.nan, np.nan]])


def test_a_folder_is_walked_in_order_and_links_do_not_hang(tmp_path):
    for name in ("b.PNG", "a/z.jpeg", "a/deep/er/b.png", "c/b.png", "a.TiF"):
        write_image(tmp_path / name.lower()).rename(tmp_path / name)
    for name in ("notes.txt", ".hidden.png", "a/Thumbs.db"):
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    write_image(tmp_path / ".git" / "no.png")
    (tmp_path / "c" / "up").symlink_to(tmp_path)
    (tmp_path / "c" / "again").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to("loop")
    found = [str(Path(name).relative_to(tmp_path)) for name in names(tmp_path)]
    assert found == ["a/deep/er/b.png", "a/z.jpeg", "a.TiF", "b.PNG", "c/b.png"]
    twice = names(tmp_path / "c" / "b.png", tmp_path / "b.PNG", tmp_path / "c" / "b.png")
    assert [Path(name).parent.name for name in twice] == ["c", tmp_path.name, "c"]


def test_a_name_that_is_no_unicode(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    os.rename(write_image(tmp_path / "a.png"), path)
    (image,) = ImageSource((tmp_path,))
    assert image.read(10**6)
    assert image.record.image_id.encode().endswith(rb"caf\udce9.png")


def test_inputs_that_cannot_be_used(tmp_path):
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(DataError, match="has no images"):
        names(tmp_path / "empty")
    with pytest.raises(DataError, match="does not exist"):
        names(tmp_path / "nothing.png")
    with pytest.raises(DataError, match="does not exist"):
        names(tmp_path / "nothing.csv")
    for options in ({"image_column": "x"}, {"images": tmp_path}):
        with pytest.raises(SettingsError, match="needs a table"):
            names(write_image(tmp_path / "a.png"), **options)


TEXT = "Image Index;age;sex;view;note\nbär.png;045Y;M;pa;x\nsub/b.png;6M;f;?;y\n/c.png;450;;;z\n"


@pytest.mark.parametrize(
    "written",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.replace("\n", "\r\n").encode("utf-8-sig"),
        TEXT.encode("latin-1"),
        TEXT.encode("utf-16"),
        TEXT.replace(";", ",").encode(),
        TEXT.replace(";", "\t").encode("cp1252"),
        TEXT.replace("bär.png", '"bär.png"').replace("\n", "\n;;;;\n").encode(),
        TEXT.replace("note", "note;;").replace("x\n", "x;;\n").encode(),
    ],
    ids=["utf8", "bom", "crlf", "latin1", "utf16", "comma", "tab", "quotes", "wide"],
)
def test_tables_as_they_come(written, tmp_path):
    table = tmp_path / "t.CSV"
    table.write_bytes(written)
    images = list(ImageSource((table,)))
    assert [(path_of(image), image.record) for image in images] == [
        (tmp_path / "bär.png", Record("bär.png", 45, "M", "PA")),
        (tmp_path / "sub/b.png", Record("sub/b.png", 0.5, "F", None)),
        (Path("/c.png"), Record("/c.png")),
    ]
    elsewhere = [path_of(image) for image in ImageSource((table,), images=Path("else"))]
    assert elsewhere == [Path("else/bär.png"), Path("else/sub/b.png"), Path("/c.png")]
    assert count_images(ImageSource((table,))).without_record == 1


def test_the_column_of_images(tmp_path):
    table = tmp_path / "t.tsv"
    table.write_text("Path\tfile\tIMAGE\na.png\tb.png\tc.png\n")
    assert names(table) == ["c.png"]
    assert names(table, image_column="File") == ["b.png"]
    table.write_text("path\tfile\na.png\tb.png\n")
    assert names(table) == ["a.png"]
    with pytest.raises(DataError, match=r"'picture'\n.*path, file"):
        names(table, image_column="picture")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b"", "is empty"),
        (b"name,age\na.png,3\n", "has no column of image paths"),
        (b"image,age\n", "names no images"),
        (b"image,age\na.png\n", "line 2 of"),
        (b"image,age\na.png,3,4\n", "line 2 of"),
        (b"image,Image\na.png,3\n", "2 times"),
        (b'image,age\n"a.png,3\n', "is no table at line"),
        (b"PK\x03\x04\0\0", "is not a text file"),
        (b"\x89PNG\r\n\x1a\n\0", "is not a text file"),
    ],
)
def test_tables_that_cannot_be_used(written, told, tmp_path):
    table = tmp_path / "t.csv"
    table.write_bytes(written)
    with pytest.raises(DataError, match=told):
        count_images(ImageSource((table,)))


def test_rows_without_a_file(tmp_path):
    write_image(tmp_path / "a.png")
    table = tmp_path / "t.csv"
    long = "x" * 300
    table.write_text(f"image,age\na.png,1\n,2\nb.png,3\n.,4\n{long}.png,5\n")
    _, _, errors = gathered(predict_images(stand_in(), ImageSource((table,))))
    assert errors[0] is None
    for error, told in zip(
        errors[1:], ("names no image", "No such", "not a file", "too long"), strict=True
    ):
        assert told in error


def test_thresholds_come_from_the_run(grid, registry):
    told = json.loads((grid.run_of("grid") / "labels.json").read_text())
    assert len(load_trained(grid.run_of("grid"), registry).thresholds) == len(told)


def test_tables_of_published_datasets_are_understood_and_other_images_are_not_read(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32), np.uint8))
    path = tmp_path / "t.csv.gz"
    rows = ("a.png,AP_horizontal,CR,F,60", "a.png,L,DX,O,", ".\\a.png,,CT,None,", ",PA,CR,,")
    head = "ImageID,Projection,Modality_DICOM,PatientSex_DICOM,age"
    pd.DataFrame([row.split(",") for row in rows], columns=head.split(",")).to_csv(path)
    images = list(ImageSource((path,)))
    assert [(image.record.view, image.record.sex) for image in images] == [
        *(("AP", "F"), (None, None), (None, None), ("PA", None)),
    ]
    assert images[0].read(10**6)
    for image, reason in zip(
        images[1:],
        ("not a frontal view: L", "not a radiograph: CT", "the table names no image"),
        strict=True,
    ):
        with pytest.raises(UnreadableImage, match=reason):
            image.read(10**6)
