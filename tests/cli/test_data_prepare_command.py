"""``cxrbench data prepare``: what a run would make of the images, whatever happens meanwhile."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import tiny_parts
from conftest import install, spawn, write_nih

import cxrbench


def bytes_of(cache: Path) -> dict[str, str]:
    return {
        str(path.relative_to(cache)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(cache.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


RECIPES = ("tinynet", "tinynet+grid")


def prepared(cli, cache: Path, **options) -> dict[str, str]:
    """The bytes that the command makes for `RECIPES` with these options."""
    given = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        given += [option] if value is True else [option, value]
    arguments = ("data", "prepare", "drawn:patients=40", "--for", *RECIPES, *given)
    said = cli(*arguments, "--cache", cache)
    assert said.code == 0, said.err
    return bytes_of(cache)


def test_the_run_afterwards_decodes_nothing(cli, tmp_path):
    options = {"augment": "medical", "image_size": 24, "fit": "pad"}
    files = prepared(cli, tmp_path / "cache", **options)
    before = tiny_parts.calls.copy()
    result = cxrbench.run(
        RECIPES[-1],
        data="drawn:patients=40",
        runs=tmp_path / "runs",
        cache=tmp_path / "cache",
        epochs=1,
        **options,
    )
    assert {row["recipe"] for row in result["boards"][0]["rows"]} == {RECIPES[-1], "prior"}
    after = tiny_parts.calls - before
    # One image is compared with the one that was prepared.
    assert (after["load"], after["read"], after["grid"]) == (1, 1, 0)
    now = bytes_of(tmp_path / "cache")
    assert files.items() <= now.items()
    assert {name.split("/")[0] for name in now.keys() - files.keys()} == {"encodings"}


class Reached(Exception):
    """The run has all that it wants of the images."""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"protocol": "probe"},
        {"augment": "medical"},
        {"augment": "medical", "clahe_share": 0.0},
        {"clahe": True, "max_pixels": 5000},
    ],
    ids=lambda options: "-".join(options) or "none",
)
def test_every_option_means_what_it_means_to_the_run(options, cli, tmp_path, monkeypatch):
    files = prepared(cli, tmp_path / "cache", **options)

    def reached(*arguments, **more):
        raise Reached

    monkeypatch.setattr("cxrbench.benchmark.settle", lambda plans, *more, **others: plans)
    monkeypatch.setattr("cxrbench.benchmark.planned_runs", reached)
    before = tiny_parts.calls["read"]
    with pytest.raises(Reached):
        cxrbench.run(RECIPES, data="drawn:patients=40", cache=tmp_path / "cache", **options)
    assert tiny_parts.calls["read"] == before + 1  # to compare it
    assert bytes_of(tmp_path / "cache") == files


def test_the_result_in_json(cli, tmp_path):
    data = write_nih(tmp_path / "films", patients=20)
    bad = sorted((data / "images").iterdir())[3]
    bad.write_bytes(bad.read_bytes()[:100])
    arguments = ("data", "prepare", data, "--for", "orb", "--max-bad", "0.1", "--json")
    told = json.loads(cli(*arguments, "--cache", tmp_path / "cache").out)
    assert (told["images"], told["usable"]) == (30, 29)
    assert told["data"] == f"nih:path={data}"
    assert [row["image_id"] for row in told["excluded"]] == [bad.stem]
    assert "truncated" in told["excluded"][0]["reason"]
    (store,) = told["stores"]
    folder = Path(store["path"])
    assert (store["kind"], store["what"], store["made"]) == (
        "features",
        "orb descriptors at 512",
        True,
    )
    assert store["size"] == sum(path.stat().st_size for path in folder.iterdir())
    again = json.loads(cli(*arguments, "--cache", tmp_path / "cache").out)
    assert [row["made"] for row in again["stores"]] == [False]


def test_the_table_names_stores_and_exclusions(cli, tmp_path):
    said = cli("data", "prepare", "--data", "drawn", "--for", "tinynet", "--cache", tmp_path / "c")
    assert said.code == 0
    assert "pixels 32×32" in said.out
    assert "90 of 90 images are ready" in said.out


def test_the_settings_of_a_run_prepare_for_it(cli, tmp_path):
    config = tmp_path / "settings.toml"
    config.write_text(
        'recipes = ["tinynet"]\ndata = "drawn"\nseed = 3\nprotocol = "probe"\nimage_size = 20\n'
    )
    where = ("--cache", tmp_path / "cache", "--json")
    told = json.loads(cli("data", "prepare", "--config", config, *where).out)
    assert [store["what"] for store in told["stores"]] == ["pixels 20×20"]
    told = json.loads(cli("data", "prepare", "--config", config, "--image-size", 18, *where).out)
    assert [store["what"] for store in told["stores"]] == ["pixels 18×18"]


WRONG = {
    "no recipe": (("drawn",), "no recipe was given"),
    "for nothing": (("drawn", "--for"), "no recipe was given"),
    "recipe": (("drawn", "--for", "obr"), "Did you mean 'orb'?"),
    "data as a recipe": (("--for", "tinynet", "films/"), "'films/'"),
    "twice": (("drawn", "--data", "drawn", "--for", "grid"), "named twice"),
    "no data": (("/nothing/here", "--for", "grid"), "there is no such file"),
    "fit": (("drawn", "--for", "grid", "--fit", "x"), "--fit cannot be 'x'"),
    "augmented probe": (
        ("drawn", "--for", "tinynet", "--protocol", "probe", "--augment", "medical"),
        "--augment none",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_one_message_and_exit_code_2(name, cli, tmp_path):
    arguments, told = WRONG[name]
    said = cli("data", "prepare", *arguments, "--cache", tmp_path / "cache")
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert "Traceback" not in said.err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def start(tmp_path):
    """The command in a process of its own, long enough to be interrupted."""
    install(tmp_path / "site", "cxrbench-tiny", "tiny_parts")

    def started(cache: Path):
        data = "drawn:patients=300,pause=0.003"
        options = ("--augment", "medical", "--threads", 1, "--json", "--cache", cache)
        return spawn("data", "prepare", data, "--for", *RECIPES, *options, site=tmp_path / "site")

    return started


def finished(process) -> str:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return err


def test_two_at_once_on_one_cache_leave_the_bytes_of_one(start, tmp_path):
    pair = [start(tmp_path / "cache"), start(tmp_path / "cache")]
    said = [finished(process) for process in pair]
    assert sum("waiting for another process" in err for err in said) == 1
    finished(start(tmp_path / "whole"))
    assert bytes_of(tmp_path / "cache") == bytes_of(tmp_path / "whole")


def wait_for_rows(process, cache: Path) -> None:
    """Until each of its three stores has safely got some rows."""
    until = time.monotonic() + 120
    while sum(path.stat().st_size > 0 for path in cache.rglob("journal.jsonl")) < 3:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.01)


def test_killed_it_goes_on_where_it_was(start, tmp_path):
    process, cache = start(tmp_path / "cache"), tmp_path / "cache"
    wait_for_rows(process, cache)
    process.kill()
    process.communicate()
    assert not list(cache.rglob("complete.json"))
    assert "continuing at image" in finished(start(cache))
    finished(start(tmp_path / "whole"))
    assert bytes_of(cache) == bytes_of(tmp_path / "whole")


def test_what_is_being_prepared_is_not_cleared(start, tmp_path, cli):
    process, cache = start(tmp_path / "cache"), tmp_path / "cache"
    wait_for_rows(process, cache)
    entries = json.loads(cli("cache", "list", "--cache", cache, "--json").out)["entries"]
    assert {(entry["state"], entry["in_use"]) for entry in entries} == {("interrupted", True)}
    said = cli("cache", "clear", "--incomplete", "--yes", "--cache", cache)
    assert "Removed 0 entries" in said.out
    assert said.out.count("another process uses it") == len(entries) == 3
    finished(process)
    said = cli("cache", "clear", "--incomplete", "--yes", "--cache", cache)
    assert "Removed" not in said.out


KILLS = 20


@pytest.mark.slow
def test_twenty_kills_at_random_instants_change_nothing(start, tmp_path):
    began = time.monotonic()
    finished(start(tmp_path / "whole"))
    whole = time.monotonic() - began
    draw, kills, cache = random.Random(7), 0, tmp_path / "cache"
    while kills < KILLS:
        process = start(cache)
        time.sleep(draw.uniform(0.2, 0.9) * whole)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
        else:  # it came to its end between kills: once more
            finished(process)
            assert bytes_of(cache) == bytes_of(tmp_path / "whole")
            shutil.rmtree(cache)
    finished(start(cache))
    assert bytes_of(cache) == bytes_of(tmp_path / "whole")
