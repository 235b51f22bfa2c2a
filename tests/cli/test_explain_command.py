"""``cxrbench explain``: the pictures that it writes, what it tells of them, and how it ends."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import install, spawn
from tiny_parts import Drawn

BOTH = "tinynet+grid+rows:words=8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two pictures of the cohort, one of them not square, and a file that is no image."""
    folder = tmp_path_factory.mktemp("new images")
    dataset, cohort = Drawn(), Drawn().load()
    row = cohort.image_ids.index(cohort.boxes[0].image_id)
    image = dataset.read(cohort.sources[row], max_pixels=10**6)
    cv2.imwrite(str(folder / f"{cohort.image_ids[row]}.png"), image)
    cv2.imwrite(str(folder / "wide.png"), cv2.resize(image, (120, 60)))
    (folder / "bad.png").write_bytes(b"no image")
    return folder


def pictures_of(told) -> list[dict]:
    return [picture for image in told["images"] for picture in image["pictures"]]


def is_picture(path: str) -> bool:
    image = cv2.imread(path)
    return image is not None and min(image.shape[:2]) > 400 and image.std() > 5


def test_a_picture_for_each_image_and_label(cli, grid, folder, tmp_path):
    said = cli(
        *("explain", grid.run_of(BOTH), folder, "--label", "mass", "--label", "No Finding"),
        *("--output", tmp_path / "out", "--json"),
    )
    assert said.code == 0, said.err
    told = json.loads(said.out)
    names = {Path(image["image"]).name: image["error"] for image in told["images"]}
    assert names["bad.png"].startswith("not an image")
    assert len(names) == 3
    assert sum(error is None for error in names.values()) == 2
    found = pictures_of(told)
    assert [picture["label"] for picture in found] == ["Mass", "No Finding"] * 2
    assert all(is_picture(picture["file"]) for picture in found)
    assert {Path(picture["file"]).name for picture in found} >= {
        "wide-Mass.png",
        "wide-No_Finding.png",
    }
    assert all(0 <= picture["probability"] <= 1 for picture in found)
    assert all(picture["truth"] is None and picture["hit"] is None for picture in found)


def test_each_seed_of_a_recipe_has_figures_of_the_same_labels(cli, grid, folder, tmp_path):
    arguments = (folder / "wide.png", "--top", 2, "--output", tmp_path / "out", "--json")
    said = cli("explain", BOTH, *arguments, "--runs", grid.runs)
    assert said.code == 0, said.err
    found = pictures_of(json.loads(said.out))
    assert [picture["seed"] for picture in found] == [0, 1] * 2
    assert all(is_picture(picture["file"]) for picture in found)
    labels = [picture["label"] for picture in found]
    assert labels[0] == labels[1] != labels[2] == labels[3]
    names = [Path(picture["file"]).name for picture in found]
    assert names[:2] == [f"wide-{labels[0].replace(' ', '_')}-seed{seed}.png" for seed in (0, 1)]
    for seed in (0, 1):
        alone = cli("explain", grid.run_of(BOTH, seed), *arguments[:1], "--label", labels[0],
                    *arguments[3:])  # fmt: skip
        (single,) = pictures_of(json.loads(alone.out))
        assert single["seed"] is None
        assert single["probability"] == pytest.approx(found[seed]["probability"], abs=1e-6)
        assert single["threshold"] == found[seed]["threshold"]
        image, other = cv2.imread(single["file"]), cv2.imread(found[seed]["file"])
        assert image.shape == other.shape
        assert np.array_equal(image[150:], other[150:])  # below the title
    mean = np.mean([[picture["probability"] for picture in found[at : at + 2]] for at in (0, 2)], 1)
    assert mean[0] >= mean[1]
    table = cli("explain", BOTH, *arguments[:-1], "--runs", grid.runs, "--format", "csv").out
    assert [row["seed"] for row in csv.DictReader(io.StringIO(table))] == ["0", "1"] * 2


def test_the_highest_scores_are_explained_where_no_label_is_named(cli, grid, folder, tmp_path):
    run = grid.run_of("tinynet")
    out = ("--output", tmp_path / "out", "--json")
    predicted = json.loads(cli("predict", run, folder / "wide.png", "--json").out)
    scores = {
        name.removeprefix("y_score_"): value
        for name, value in predicted["predictions"][0].items()
        if name.startswith("y_score_")
    }
    ranked = sorted(scores, key=lambda name: -scores[name])
    found = pictures_of(json.loads(cli("explain", run, folder / "wide.png", *out).out))
    assert [picture["label"] for picture in found] == ranked[:3]
    assert found[0]["probability"] == pytest.approx(scores[ranked[0]], abs=1e-5)
    one = cli("explain", run, folder / "wide.png", "--top", 1, "--method", "occlusion", *out)
    assert [picture["label"] for picture in pictures_of(json.loads(one.out))] == ranked[:1]


def test_the_cohort_tells_truth_and_boxes_and_has_images_of_its_own(cli, grid, folder, tmp_path):
    box = Drawn().load().boxes[0]
    said = cli(
        *("explain", grid.run_of("tinynet"), folder / f"{box.image_id}.png", box.image_id),
        *("--data", "drawn", "--label", box.label, "--output", tmp_path / "out", "--json"),
    )
    assert said.code == 0, said.err
    found = pictures_of(json.loads(said.out))
    assert [picture["truth"] for picture in found] == [1, 1]
    assert [picture["boxes"] for picture in found] == [1, 1]
    assert found[0]["probability"] == pytest.approx(found[1]["probability"], abs=1e-6)
    assert 0 <= found[0]["energy"] <= 1
    assert len({picture["file"] for picture in found}) == 2  # no file is written over
    assert all(is_picture(picture["file"]) for picture in found)


def test_the_table_names_the_files(cli, grid, folder, tmp_path):
    out = tmp_path / "out"
    said = cli("explain", grid.run_of("grid"), folder / "wide.png", folder / "bad.png",
               "--label", "Effusion", "--output", out)  # fmt: skip
    assert said.code == 0
    assert "wide-Effusion.png" in said.out
    assert said.out.startswith(f"1 figure written to {out}\n")
    assert "bad.png: not an image" in said.out
    assert is_picture(str(out / "wide-Effusion.png"))


def test_other_formats_tell_the_same(cli, grid, folder, tmp_path):
    arguments = ("explain", grid.run_of("grid"), folder / "wide.png", folder / "bad.png",
                 "--label", "Effusion", "--output", tmp_path / "out", "--format")  # fmt: skip
    good, bad = csv.DictReader(io.StringIO(cli(*arguments, "csv").out))
    plain = json.loads(cli(*arguments, "json").out)
    assert list(good) == ["image", *plain["images"][0]["pictures"][0], "error"]
    assert Path(good["file"]).name == "wide-Effusion.png"
    assert (bad["file"], bad["error"][:12]) == ("", "not an image")
    assert "| wide-Effusion.png | Effusion |" in cli(*arguments, "markdown").out


def test_features_without_keypoints_are_an_error_of_the_image(cli, folder, tmp_path):
    said = cli("explain", "--extractor", "grid", folder / "wide.png", "--output", tmp_path / "out")
    assert said.code == 1
    assert "wide.png: the features have no keypoints" in said.out


def test_keypoints_need_no_run(cli, folder, tmp_path):
    said = cli("explain", "--extractor", "orb:image_size=96+sift", folder / "wide.png",
               "--output", tmp_path / "out", "--json")  # fmt: skip
    assert said.code == 0, said.err
    (picture,) = pictures_of(json.loads(said.out))
    assert Path(picture["file"]).name == "wide-orb+sift.png"
    assert is_picture(picture["file"])
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.zeros((64, 64), np.uint8))
    assert cli("explain", "--extractor", "orb", blank, "--output", tmp_path / "out").code == 0


def test_dollars_in_a_name_are_no_formula(cli, folder, tmp_path):
    name = r"a$\foo$.png"
    (tmp_path / name).write_bytes((folder / "wide.png").read_bytes())
    said = cli("explain", "--extractor", "orb", tmp_path / name, "--output", tmp_path / "out")
    assert said.code == 0, said.err
    assert is_picture(str(next((tmp_path / "out").iterdir())))


def test_the_pictures_of_visual_words(cli, tmp_path):
    cli("run", "orb:image_size=96,words=8", "--data", "drawn", "--epochs", 2,
        "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")  # fmt: skip
    (run,) = (tmp_path / "runs").glob("drawn-orb*")
    said = cli("explain", run, "i000", "i001", "--data", "drawn", "--label", "Mass",
               "--output", tmp_path / "out", "--json")  # fmt: skip
    assert said.code == 0, said.err
    for picture in pictures_of(json.loads(said.out)):
        # Film and map above, keypoints and words below.
        height, width = cv2.imread(picture["file"]).shape[:2]
        assert height > width > 1000


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("{run}", "{image}", "--label", "Efusion"), "Did you mean 'Effusion'"),
        (("{run}", "{image}", "--method", "lime"), "--method cannot be 'lime'"),
        (("{run}", "{image}", "--device", "tpu"), "--device cannot be 'tpu'"),
        (("{run}", "nowhere.png"), "nowhere.png does not exist"),
        (("{run}", "i0001", "--data", "drawn"), "or the id of an image of 'drawn', such as i000"),
        (("{run}",), "no image is named"),
        (("{prior}", "{image}"), "has no model"),
        (("{features}", "{image}", "--method", "gradcam"), "needs a backbone"),
        (("--extractor", "tinynet", "{image}"), "is not a keypoint extractor"),
        (("--extractor", "orbb", "{image}"), "orbb"),
        (("{run}", "{image}", "--output", "{image}"), "cannot be written"),
    ],
)
def test_what_cannot_be_explained(cli, grid, folder, arguments, told):
    places = {
        "run": grid.run_of("tinynet"),
        "prior": grid.run_of("prior"),
        "features": grid.run_of("grid"),
        "image": folder / "wide.png",
    }
    said = cli("explain", *(argument.format(**places) for argument in arguments))
    assert (said.code, said.out) == (2, "")
    assert told in said.err


def test_without_an_image_that_can_be_read_the_answer_is_no(cli, grid, folder, tmp_path):
    said = cli("explain", grid.run_of("tinynet"), folder / "bad.png", "--output", tmp_path / "out")
    assert said.code == 1
    assert "not an image" in said.out


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("jax", marks=pytest.mark.slow),
        pytest.param("torch", marks=pytest.mark.torch),
    ],
)
def test_every_backend_explains_what_tensorflow_trained(
    name, cli, grid, folder, tmp_path, monkeypatch
):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    arguments = (
        *("explain", grid.run_of(BOTH), "i000", "--data", "drawn", "--label", "Mass"),
        *("--output", tmp_path / "out", "--json", "--device", "cpu"),
    )
    expected = pictures_of(json.loads(cli(*arguments).out))
    monkeypatch.setenv("KERAS_BACKEND", name)
    install(tmp_path / "site", "tiny-parts", "tiny_parts")
    out, err = spawn(*arguments, site=tmp_path / "site").communicate()
    found = pictures_of(json.loads(out or "{}"))
    assert found[0]["probability"] == pytest.approx(expected[0]["probability"], abs=1e-4), err
    for measure in ("hit", "energy", "iou"):
        assert found[0][measure] == pytest.approx(expected[0][measure], abs=0.01), measure
