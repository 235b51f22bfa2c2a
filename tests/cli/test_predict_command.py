"""``cxrbench predict``: what it prints and writes, and how it ends."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import install, spawn
from tiny_parts import Drawn

from cxrbench.data.prediction_table import read_predictions_table
from cxrbench.output.files import file_digest

LABELS = ("Effusion", "Mass", "Nodule", "No Finding")
SCORES = [f"y_score_{label}" for label in LABELS]
BOTH = "tinynet+grid+rows:words=8"


@pytest.fixture(scope="module")
def told(grid):
    """What the run with every kind of part predicted for its test images."""
    table = pd.read_parquet(grid.run_of(BOTH) / "predictions.parquet")
    return table[table["split"] == "test"].reset_index(drop=True)


@pytest.fixture(scope="module")
def table(grid, told, tmp_path_factory):
    """The test images as files, and a table that names them in the run's order."""
    folder = tmp_path_factory.mktemp("test images")
    dataset, cohort = Drawn(), Drawn().load()
    for image in told["image"]:
        source = cohort.sources[cohort.image_ids.index(image)]
        cv2.imwrite(str(folder / f"{image}.png"), dataset.read(source, max_pixels=10**6))
    path = folder / "table.csv"
    lines = [
        f"{row.image}.png,{row.age:g},{row.sex or ''},{row.view}".replace("nan", "")
        for row in told.itertuples()
    ]
    path.write_text("\n".join(["image,age,sex,view", *lines]) + "\n")
    return path


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def scores(rows) -> np.ndarray:
    return np.array([[float(row[name]) for name in SCORES] for row in rows])


def test_a_recipe_with_its_seed_names_the_run(cli, grid, table):
    spelt = "rows:words=8+grid+tinynet"
    said = cli("predict", spelt, table, "--runs", grid.runs, "--seed", 1)
    assert said.code == 0, said.err
    assert said.out == cli("predict", grid.run_of(BOTH, 1), table).out


def test_a_recipe_is_the_mean_of_its_seeds_beside_each_of_them(cli, grid, table, tmp_path):
    each = [rows_of(cli("predict", grid.run_of(BOTH, seed), table).out) for seed in (0, 1)]
    output = tmp_path / "mean.csv"
    said = cli("predict", BOTH, table, "--runs", grid.runs, "--output", output)
    assert said.code == 0, said.err
    assert f"{BOTH}, mean of seeds 0, 1 (--seed N uses one seed)" in said.err
    rows = rows_of(output.read_text())
    of_seeds = [f"seed{seed}_{name}" for seed in (0, 1) for name in SCORES]
    assert list(rows[0]) == ["image", *SCORES, *of_seeds, "error"]
    for row, *single in zip(rows, *each, strict=True):
        for name in SCORES:
            assert [row[f"seed{seed}_{name}"] for seed in (0, 1)] == [one[name] for one in single]
    mean = (scores(each[0]) + scores(each[1])) / 2
    assert np.abs(scores(each[0]) - scores(each[1])).max() > 0.01
    np.testing.assert_allclose(scores(rows), mean, atol=1e-6)
    # What is submitted from such a file is the mean.
    np.testing.assert_allclose(read_predictions_table(output, LABELS).y_score, mean, atol=1e-6)
    plain = json.loads(cli("predict", BOTH, table, "--runs", grid.runs, "--json").out)
    assert [one["run"] for one in plain["seeds"]] == [grid.run_of(BOTH, s).name for s in (0, 1)]
    assert plain["predictions"][0].keys() == rows[0].keys()
    people = cli("predict", BOTH, table, "--runs", grid.runs, "--format", "markdown")
    assert people.out.splitlines()[0].endswith(f"{BOTH}, mean of seeds 0, 1")
    assert "seed0_" not in people.out


def test_an_image_without_scores_has_none_of_any_seed(cli, grid, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    (row,) = rows_of(cli("predict", "grid", tmp_path / "bad.png", "--runs", grid.runs).out)
    assert row.pop("error").startswith("not an image")
    assert row.pop("image").endswith("bad.png")
    assert set(row.values()) == {""}


def test_the_mean_has_thresholds_of_its_own(cli, grid, table):
    """Chosen by Youden's index on the mean scores of the validation images, by brute force here."""
    parts = [pd.read_parquet(grid.run_of(BOTH, seed) / "predictions.parquet") for seed in (0, 1)]
    first, second = (part[part["split"] == "val"].sort_values("image") for part in parts)
    rows = rows_of(cli("predict", BOTH, table, "--runs", grid.runs, "--threshold").out)
    decided = set()
    for label in LABELS:
        truth = first[f"y_true_{label}"].to_numpy()
        mean = (first[f"y_score_{label}"].to_numpy() + second[f"y_score_{label}"].to_numpy()) / 2
        gains = {
            cut: (mean[truth == 1] >= cut).mean() - (mean[truth == 0] >= cut).mean()
            for cut in mean[truth == 1]
        }
        threshold = max(gains, key=lambda cut: (round(gains[cut], 9), cut))
        for row in rows:
            decision = str(int(float(row[f"y_score_{label}"]) >= threshold))
            assert row[f"y_pred_{label}"] == decision
            decided.add(decision)
    assert decided == {"0", "1"}


def test_seeds_with_other_rules_have_no_thresholds_of_the_mean(cli, grid, table, tmp_path):
    for seed in (0, 1):
        run = grid.run_of("grid", seed)
        shutil.copytree(run, tmp_path / run.name)
    arguments = ("predict", "grid", table, "--runs", tmp_path)
    info = json.loads((tmp_path / run.name / "run.json").read_text())
    info["scoring"] = {**info["scoring"], "thresholds": "sensitivity=0.9"}
    (tmp_path / run.name / "run.json").write_text(json.dumps(info))
    said = cli(*arguments, "--threshold")
    assert (said.code, said.out) == (2, "")
    assert "got: youden, sensitivity=0.9" in said.err
    assert "cxrbench score grid --thresholds youden" in said.err
    assert cli(*arguments).code == 0


def test_csv_on_standard_output(cli, grid, table, told):
    said = cli("predict", grid.run_of(BOTH), table)
    assert said.code == 0
    rows = rows_of(said.out)
    assert list(rows[0]) == ["image", *SCORES, "error"]
    assert [row["image"] for row in rows] == [f"{image}.png" for image in told["image"]]
    assert {row["error"] for row in rows} == {""}
    np.testing.assert_allclose(scores(rows), told[SCORES], atol=1e-5)
    assert "predicting" in said.err


@pytest.mark.parametrize(
    "name",
    [pytest.param("jax", marks=pytest.mark.slow), pytest.param("torch", marks=pytest.mark.torch)],
)
def test_every_backend_gives_what_tensorflow_predicted(
    name, grid, table, told, tmp_path, monkeypatch
):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.setenv("KERAS_BACKEND", name)
    install(tmp_path / "site", "tiny-parts", "tiny_parts")
    output = tmp_path / "out.parquet"
    process = spawn(
        *("predict", grid.run_of(BOTH), table, "--output", output, "--device", "cpu"),
        site=tmp_path / "site",
    )
    out, err = process.communicate()
    assert (process.returncode, out) == (0, ""), err
    found = pd.read_parquet(output)
    np.testing.assert_allclose(found[SCORES], told[SCORES], atol=1e-4)
    for sign in ("I0000", "E0000", "WARNING", "Warning", "Traceback"):
        assert sign not in err


def test_all_formats_tell_the_same(cli, grid, table, tmp_path):
    (table.parent / "bad.png").write_bytes(b"no image")
    inputs = (table, table.parent / "bad.png", "--threshold", "--batch-size", 7)
    run = grid.run_of(BOTH)
    for suffix in ("csv", "json", "parquet"):
        said = cli("predict", run, *inputs, "--output", tmp_path / f"out.{suffix}")
        assert (said.code, said.out) == (0, "")
        assert "the first is" in said.err
        assert "bad.png: not an image" in said.err
    rows = rows_of((tmp_path / "out.csv").read_text())
    plain = json.loads((tmp_path / "out.json").read_text())
    stored = pq.read_table(tmp_path / "out.parquet")
    assert list(plain) == ["run", "labels", "predictions"]
    assert (plain["run"], plain["labels"]) == (run.name, list(LABELS))
    assert plain["predictions"][0].keys() == rows[0].keys() == set(stored.column_names)
    assert stored.to_pylist()[-1] == plain["predictions"][-1]
    assert set(list(plain["predictions"][-1].values())[1:-1]) == {None}
    texts = [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in plain["predictions"]
    ]
    assert texts == rows
    for name in SCORES:
        exact = np.array([np.float32(row[name] or "nan") for row in rows])
        np.testing.assert_array_equal(stored[name].to_numpy(), exact)
    assert (cli("predict", run, *inputs, "--json").out) == (tmp_path / "out.json").read_text()
    (table.parent / "bad.png").unlink()


def test_y_pred_is_made_at_the_thresholds_of_the_run(cli, grid, table, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(grid.run_of("grid"), run)
    labels = json.loads((run / "labels.json").read_text())
    labels[1]["threshold"] = None
    (run / "labels.json").write_text(json.dumps(labels))
    info = json.loads((run / "run.json").read_text())
    info["files"]["labels.json"] = file_digest(run / "labels.json")
    (run / "run.json").write_text(json.dumps(info))
    rows = rows_of(cli("predict", run, table, "--threshold").out)
    assert list(rows[0])[5:9] == [f"y_pred_{label}" for label in LABELS]
    for row in rows:
        for scored in labels:
            label, cut = scored["label"], scored["threshold"]
            expected = "" if cut is None else str(int(float(row[f"y_score_{label}"]) >= cut))
            assert row[f"y_pred_{label}"] == expected
    assert len({row["y_pred_Nodule"] for row in rows}) == 2


def test_a_table_for_people(cli, grid, table, told, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    image = table.parent / f"{told['image'][0]}.png"
    said = cli("predict", grid.run_of("grid"), image, table, "--format", "table", "--threshold")
    first, ranked = said.out.splitlines()[:2]
    assert first == str(image)
    values = [float(part.rpartition(" ")[2]) for part in ranked.split(", ")]
    assert values == sorted(values, reverse=True)
    assert len(values) == len(LABELS)
    assert len(said.out.splitlines()) == 2 * (len(told) + 1) + 1
    assert said.out.splitlines()[-1].startswith("*: the score is at or above the threshold")
    without = cli("predict", grid.run_of("grid"), image, "--format", "table").out
    assert "*" not in without


def test_a_missing_package_stops_once_and_not_for_each_image(cli, grid, tmp_path, monkeypatch):
    for name in ("a.dcm", "b.dcm"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(100))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = cli("predict", grid.run_of("grid"), tmp_path)
    assert said.code == 2
    assert len(said.out.splitlines()) == 1  # the heading of the table
    assert said.err.count("reading DICOM files needs pydicom\n  expected: the extra dicom") == 1


@pytest.mark.parametrize(
    ("suffix", "head"),
    [("md", "| image | y_score_Effusion |"), ("html", "<th"), ("tex", "image &")],
)
def test_documents_have_a_row_for_each_image(cli, grid, table, told, suffix, head, tmp_path):
    output = tmp_path / f"out.{suffix}"
    assert cli("predict", grid.run_of(BOTH), table, "--output", output).code == 0
    text = output.read_text().replace("\\_", "_")
    assert head in text
    assert all(f"{image}.png" in text for image in told["image"])
    assert f"{told['y_score_Mass'][0]:.3f}" in text


def test_if_no_image_can_be_used_the_reasons_are_written_and_the_code_is_1(cli, grid, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no image")
    output = tmp_path / "out.csv"
    said = cli(
        "predict",
        grid.run_of("grid"),
        tmp_path / "a.png",
        tmp_path / "notes.txt",
        "--output",
        output,
    )
    assert said.code == 1
    rows = rows_of(output.read_text())
    assert [row["error"][:12] for row in rows] == ["the file is ", "not an image"]
    assert {row["y_score_Mass"] for row in rows} == {""}
    assert "2 of 2 images could not be scored" in said.err


WRONG = {
    "no input": ((), "predict needs INPUT…"),
    "input": (("nothing.png",), "nothing.png does not exist"),
    "table": (("nothing.csv",), "nothing.csv does not exist"),
    "empty folder": (("empty",), "the folder empty has no images"),
    "no column": (("odd.csv",), "odd.csv has no column of image paths"),
    "column": (("odd.csv", "--image-column", "x"), "expected: 'x'"),
    "no table": (("a.png", "--images", "."), "--images needs a table"),
    "device": (("a.png", "--device", "tpu"), "--device cannot be 'tpu'"),
    "batch": (("a.png", "--batch-size", "0"), "Invalid value for '--batch-size'"),
    "format": (("a.png", "--format", "xml"), "--format cannot be 'xml'"),
    "parquet": (("a.png", "--format", "parquet"), "--format parquet needs a file"),
    "suffix": (("a.png", "--output", "out.xlsx"), "the format of --output out.xlsx is unknown"),
    "folder": (("a.png", "--output", "no/out.csv"), "cannot be written"),
    "output": (("a.png", "--output", "empty", "--format", "csv"), "got: a folder"),
    "input again": (("good.csv", "--output", "good.csv"), "would replace an input"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_one_message_and_exit_code_2(name, cli, grid, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd.csv").write_text("name,age\na.png,3\n")
    (tmp_path / "good.csv").write_text("image,age\na.png,3\n")
    cv2.imwrite("a.png", np.zeros((20, 20), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    arguments, told = WRONG[name]
    said = cli("predict", grid.run_of("grid"), *arguments)
    assert said.code == 2
    assert said.out == ""
    assert told in " ".join(said.err.replace("│", " ").split())
    assert "Traceback" not in said.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_cannot_be_used_leaves_the_output_as_it_was(cli, grid, table, tmp_path):
    output = tmp_path / "out.csv"
    output.write_text("old")
    for run, told in ((grid.run_of("prior"), "has no model"), (tmp_path, "has no run.json")):
        said = cli("predict", run, table, "--output", output)
        assert (said.code, said.out) == (2, "")
        assert told in said.err
    run = tmp_path / "run"
    shutil.copytree(grid.run_of("grid"), run)
    with (run / "model.weights.h5").open("ab") as file:
        file.write(b"more")
    said = cli("predict", run, table, "--output", output)
    assert said.code == 2
    assert "was changed after the run" in said.err
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "run"]


def test_a_linked_output_stays_a_link(cli, grid, table, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out.csv").symlink_to("elsewhere/out.csv")
    assert cli("predict", grid.run_of("grid"), table, "--output", tmp_path / "out.csv").code == 0
    assert (tmp_path / "out.csv").is_symlink()
    assert (tmp_path / "elsewhere" / "out.csv").read_text().startswith("image,")


def test_what_an_interrupted_command_wrote_is_gone(cli, grid, table, tmp_path, monkeypatch):
    def interrupted(batches, columns, out):
        out.write("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("cxrbench.inference.predict.WRITERS", {"csv": interrupted})
    said = cli("predict", grid.run_of("grid"), table, "--output", tmp_path / "out.csv")
    assert said.code == 130
    assert not list(tmp_path.iterdir())
