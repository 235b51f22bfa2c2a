"""Which hot paths are timed, at which sizes, and what becomes of those that fail."""

from __future__ import annotations

import pytest
from timed_paths import Timer

from cxrbench.errors import DataError, DeviceError, PluginError, RecipeError, SettingsError
from cxrbench.perf.timing import require_sound, time_paths


@pytest.fixture
def timed(monkeypatch, tiny_plugin, tmp_path, recorder):
    """Time with a timer that only remembers, on the small drawn cohort."""

    def time(*recipes, failing=(), **options):
        timer = Timer(*failing)
        monkeypatch.setattr("cxrbench.perf.timing.time_alone", timer)
        chosen = {"data": "drawn", "cache": tmp_path, "display": recorder, **options}
        return time_paths(recipes, **chosen), timer

    return time


def paths_of(timer):
    return [task.path for task in timer.tasks]


def test_every_path_of_a_recipe_is_timed_once_in_the_order_of_a_run(timed):
    timing, timer = timed("tinynet+grid+rows:words=8", "tinynet", threads=3, batch_size=4)
    assert paths_of(timer) == [
        *("decode", "resize", "clahe"),
        *("extract/grid", "extract/rows", "encode/grid", "encode/rows:words=8"),
        "gather",
        *(f"augment/{kind}" for kind in ("rotation", "translation", "zoom")),
        *(f"augment/{kind}" for kind in ("brightness", "contrast", "noise", "medical")),
        "forward/tinynet",
        *("train-step/tinynet+grid+rows:words=8", "predict/tinynet+grid+rows:words=8"),
        "bootstrap",
        *("train-step/tinynet", "predict/tinynet"),
    ]
    assert {(task.batch_size, task.threads) for task in timer.tasks} == {(4, 3)}
    assert [one.recipe for one in timing.recipes] == ["tinynet+grid+rows:words=8", "tinynet"]
    assert [one.path for one in timing.recipes[1].paths if "/" not in one.path] == [
        *("decode", "resize", "clahe", "gather", "bootstrap")
    ]
    assert (timing.films, timing.backend, timing.device) == (4, "tensorflow", "cpu")


def test_networks_are_timed_at_the_size_that_a_run_on_these_data_has(timed):
    sizes = {}
    for given in ({}, {"image_size": 48}):
        _, timer = timed("tinynet", **given)
        by_path = {task.path: task.image_size for task in timer.tasks}
        sizes[len(given)] = {by_path[p] for p in ("resize", "gather", "train-step/tinynet")}
        assert by_path["decode"] == 224
    assert sizes == {0: {32}, 1: {48}}


def test_shares_add_up_and_a_part_of_another_path_has_none(timed):
    timing, _ = timed("tinynet", augment="medical", batch_size=32)
    shares = {one.path: one.share for one in timing.recipes[0].paths}
    assert sum(share for share in shares.values() if share is not None) == pytest.approx(1)
    assert shares["augment/zoom"] is None
    assert shares["forward/tinynet"] is None
    assert shares["augment/medical"] > 0
    # Two epochs on 0.7 of the images, 0.8 s for 32; each image is decoded once, two in 0.02 s.
    assert shares["train-step/tinynet"] / shares["decode"] == pytest.approx(
        (2 * 0.7 * 0.8 / 32) / (0.02 / 2)
    )


def test_parts_stand_beside_one_another_the_recipes_alone_or_all(timed):
    timing, _ = timed("tinynet:channels=4+rows")
    assert [(one.part.kind, one.part.text) for one in timing.parts] == [
        *(("feature", "rows"), ("backbone", "tinynet:channels=4"))
    ]
    timing, timer = timed("tinynet:channels=4+rows", all_plugins=True)
    told = [one.part.text for one in timing.parts]
    assert told[0] == "rows"
    assert {"rows", "grid", "orb", "sift", "tinynet:channels=4", "tinynet", "resnet50"} <= set(told)
    assert len(paths_of(timer)) == len(set(paths_of(timer)))
    packages = {one.part.text: one.part.package for one in timing.parts}
    assert packages["orb"] == "cxrbench"


def test_without_a_recipe_it_is_the_default_one_and_all_parts_on_drawn_films(
    timed, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cxrbench.perf.workload.DRAWN_SIDE", 64)
    timing, timer = timed(data=None)
    assert [one.recipe for one in timing.recipes] == ["resnet50+orb+sift"]
    assert timing.data == "phantom:patients=20,size=64"
    assert timing.recipes[0].image_size == 224  # not the phantom's, which makes its runs short
    assert {"extract/grid", "forward/tinynet"} <= set(paths_of(timer))


def test_a_path_that_fails_leaves_the_others_and_is_fatal_where_a_recipe_names_it(timed):
    timing, _ = timed("grid", failing=("extract/grid",))
    told = {one.path: one for one in timing.recipes[0].paths}
    assert told["extract/grid"].error == "ValueError: no extract/grid today"
    assert told["extract/grid"].p50 is None
    assert told["decode"].p50 == pytest.approx(0.02)
    assert {one.share for one in told.values()} == {None}
    with pytest.raises(PluginError, match="extract/grid") as raised:
        require_sound(timing)
    assert "no extract/grid today" in raised.value.found

    timing, _ = timed("grid", failing=("extract/rows",), all_plugins=True)
    (rows,) = (one for one in timing.parts if one.part.text == "rows")
    assert rows.timed.error == "ValueError: no extract/rows today"
    require_sound(timing)


def test_prior_has_its_resamples_alone(timed):
    timing, timer = timed("prior")
    assert paths_of(timer) == ["bootstrap"]
    (path,) = timing.recipes[0].paths
    assert (path.images_per_second, path.share) == (None, 1.0)


@pytest.mark.parametrize(
    ("recipe", "options", "error", "told"),
    [
        ("resnt", {}, RecipeError, "resnet"),
        ("grid", {"batch_size": "auto"}, SettingsError, "give a number"),
        ("grid", {"batch_size": 0}, SettingsError, "batch-size"),
        ("tinynet", {"image_size": -1}, SettingsError, "image-size"),
        ("grid", {"device": "tpu"}, SettingsError, "device"),
        ("grid", {"device": "gpu"}, DeviceError, "cpu"),
        ("grid", {"data": "nowhere"}, DataError, "nowhere"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_timed(
    timed, monkeypatch, recipe, options, error, told
):
    monkeypatch.setattr("cxrbench.modeling.backend.gpu_names", lambda: ())
    with pytest.raises(error, match=told):
        timed(recipe, **options)


def test_a_gpu_that_cannot_be_used_is_named_before_timing(timed, recorder, monkeypatch):
    monkeypatch.setattr("cxrbench.perf.timing.unused_gpu", lambda: "this machine has a GPU, but")
    timed("grid")
    assert "this machine has a GPU, but" in recorder.lines
    recorder.lines.clear()
    timed("grid", device="cpu")
    assert "this machine has a GPU, but" not in recorder.lines
