"""Run directories: complete or clearly not, and read with suspicion."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from run_conditions import NUMBERS, TEXTS, conditions

from cxrbench.errors import RunError
from cxrbench.output.files import digest_of, file_digest, read_arrays, write_json
from cxrbench.runs.directory import (
    RUN,
    add_files,
    begin,
    finish,
    is_complete,
    run_path,
    scoring_again,
)
from cxrbench.runs.run import REPLICATES, read_run, read_runs

METRICS = {
    "images": 9,
    "patients": 5,
    **dict.fromkeys(REPLICATES, 0.5),
    "macro_average_precision": 0.5,
    "micro_average_precision": None,
}
CONDITIONS = conditions(images_per_second=1.5)


def write_run(path, **changes):
    begin(path, CONDITIONS)
    write_json(path / "metrics.json", METRICS)
    np.savez_compressed(path / "bootstrap.npz", **{name: np.zeros(3) for name in REPLICATES})
    (path / "encoders").mkdir()
    (path / "encoders" / "orb.npz").write_bytes(b"123")
    finish(path, replace(CONDITIONS, **{"run_key": path.name, **changes}), remove="checkpoint")
    return path


def test_a_run_of_an_engine_that_is_gone_is_read(tmp_path):
    run = read_run(write_run(tmp_path / "one", engine="keras-jax"))
    assert run.conditions.engine == "keras-jax"


def test_a_complete_run_is_read_back(tmp_path):
    path = write_run(tmp_path / "one", recipe="orb")
    run = read_run(path)
    assert (run.conditions.recipe, run.metrics["images"]) == ("orb", 9)
    assert set(run.replicates()) == set(REPLICATES)
    files = {"metrics.json", "bootstrap.npz", "encoders/orb.npz"}
    assert {name: file_digest(path / name) for name in files} == run.files


def test_keys_of_other_versions_are_kept(tmp_path):
    path = write_run(tmp_path / "one", others={"invented_later": [1, 2]})
    run = read_run(path)
    assert run.conditions.others == {"invented_later": [1, 2]}
    finish(path, run.conditions)
    assert json.loads((path / "run.json").read_text())["invented_later"] == [1, 2]


def test_the_optional_keys_of_older_runs_may_be_missing(tmp_path):
    path = write_run(tmp_path / "one", best_epoch=3)
    told = json.loads((path / "run.json").read_text())
    kept = {key: told[key] for key in (*TEXTS, *NUMBERS, "format", "status", "files")}
    kept |= {key: told[key] for key in ("labels", "labels_counted", "labels_left_out")}
    kept |= {key: told[key] for key in ("patients_known", "origin", "scoring")}
    (path / "run.json").write_text(json.dumps(kept))
    assert read_run(path).conditions == replace(CONDITIONS, run_key="one", images_per_second=None)


def test_the_kind_of_a_run(tmp_path):
    kinds = [
        read_run(write_run(tmp_path / str(number), recipe=recipe, origin=origin)).kind
        for number, (recipe, origin) in enumerate(
            [("orb", "cxrbench"), ("prior", "cxrbench"), ("prior", "external"), ("x", "external")]
        )
    ]
    assert kinds == ["trained", "prior", "prior", "submitted"]


def test_beginning_again_leaves_nothing_of_the_run_before(tmp_path):
    path = write_run(tmp_path / "one")
    begin(path, CONDITIONS)
    assert not is_complete(path)
    assert [entry.name for entry in path.iterdir()] == ["run.json"]
    with pytest.raises(RunError, match="is incomplete"):
        read_run(path)


def test_one_folder_outlives_a_kill_and_no_complete_run(tmp_path):
    path = tmp_path / "one"
    begin(path, CONDITIONS)
    (path / "checkpoint").mkdir()
    (path / "checkpoint" / "state.npz").write_bytes(b"123")
    (path / "history.csv").touch()
    begin(path, CONDITIONS, keep="checkpoint")
    assert sorted(entry.name for entry in path.iterdir()) == ["checkpoint", "run.json"]
    finish(path, CONDITIONS, remove="checkpoint")
    assert [entry.name for entry in path.iterdir()] == ["run.json"]
    assert json.loads((path / "run.json").read_text())["files"] == {}


def replace_text(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


DAMAGE = {
    "incomplete": (
        lambda p: replace_text(p / "run.json", '"complete"', '"incomplete"'),
        "is incom",
    ),
    "another format": (
        lambda p: replace_text(p / "run.json", '"format": 4', '"format": 9'),
        "other",
    ),
    "truncated": (lambda p: (p / "run.json").write_text("{"), "is damaged"),
    "binary": (lambda p: (p / "run.json").write_bytes(b"\xff\xfe\x00"), "is damaged"),
    "a list": (lambda p: (p / "run.json").write_text("[]"), "is damaged"),
    "very deep": (lambda p: (p / "run.json").write_text("[" * 100_000), "is damaged"),
    "a folder": (lambda p: (os.remove(p / "run.json"), (p / "run.json").mkdir()), "is damaged"),
    "no key": (lambda p: replace_text(p / "run.json", '"board_key"', '"bored_key"'), "'board_key'"),
    "odd key": (lambda p: replace_text(p / "run.json", '"seed": 0', '"seed": "0"'), "'seed'"),
    "no digests": (lambda p: replace_text(p / "run.json", '"files"', '"fields"'), "'files'"),
    "changed scores": (lambda p: replace_text(p / "metrics.json", "0.5", "0.9"), "was changed"),
    "no scores": (lambda p: os.remove(p / "metrics.json"), "is missing"),
    "cut replicates": (lambda p: os.truncate(p / "bootstrap.npz", 20), "was changed"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_run_that_is_not_as_it_was_written_is_skipped_with_a_reason(tmp_path, damage):
    change, reason = DAMAGE[damage]
    write_run(tmp_path / "good")
    change(write_run(tmp_path / "odd"))
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").touch()
    runs, skipped = read_runs(tmp_path)
    assert [run.path.name for run in runs] == ["good"]
    assert [run.path.name for run in skipped] == ["odd"]
    assert reason in skipped[0].reason
    assert "odd" in skipped[0].reason


def test_scores_with_a_matching_digest_are_checked_too(tmp_path):
    path = write_run(tmp_path / "odd")
    (path / "metrics.json").write_text("{}")
    finish(path, CONDITIONS, remove="checkpoint")
    with pytest.raises(RunError, match=r"metrics\.json is damaged: 'images'"):
        read_run(path)
    (path / "metrics.json").write_text(json.dumps(METRICS))
    (path / "bootstrap.npz").write_bytes(b"PK\x03\x04 no zip")
    finish(path, CONDITIONS, remove="checkpoint")
    with pytest.raises(RunError, match="replicates"):
        read_run(path).replicates()


def test_a_copy_of_a_run_is_not_a_second_seed(tmp_path):
    write_run(tmp_path / "a", run_key="same")
    write_run(tmp_path / "b", run_key="same")
    runs, skipped = read_runs(tmp_path)
    assert [run.path.name for run in runs] == ["a"]
    assert skipped[0].reason == "'b' is a copy of the run 'a'"


def test_no_folder_of_runs(tmp_path):
    with pytest.raises(RunError, match="there are no runs"):
        read_runs(tmp_path / "none")
    assert read_runs(tmp_path) == ((), ())


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 1.5})


def test_a_path_is_readable_and_safe(tmp_path):
    path = run_path(tmp_path, dataset="nih", recipe="orb:words=9+a/../b" + "x" * 300,
                    protocol="probe", seed=3, key="0123456789abcdef")  # fmt: skip
    assert path.parent == tmp_path
    assert path.name.startswith("nih-orb_words=9+a_.._b")
    assert path.name.endswith("-0123456789")
    assert len(path.name) < 120


def test_failures_to_write_are_told(tmp_path):
    with pytest.raises(RunError, match="cannot write the run") as error, RUN.writing(tmp_path):
        (tmp_path / "none" / "x").write_text("")
    assert "No such file" in str(error.value)
    with pytest.raises(RunError, match="not enough room"):
        RUN.require_room(tmp_path, 10**18)
    RUN.require_room(tmp_path, 10)


def victim_of(tmp_path):
    """A folder of somebody's own files."""
    (tmp_path / "victim" / "thesis").mkdir(parents=True)
    (tmp_path / "victim" / "thesis" / "chapter1").write_text("data")
    (tmp_path / "victim" / "photo.jpg").write_text("photo")
    return tmp_path / "victim"


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_a_link_is_no_run_directory_to_write_to(tmp_path):
    victim = victim_of(tmp_path)
    before = content(victim)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one").symlink_to(victim)
    with pytest.raises(RunError, match="is a link") as error:
        begin(tmp_path / "runs" / "one", CONDITIONS)
    assert str(victim) in str(error.value)
    complete = write_run(tmp_path / "complete")
    (tmp_path / "runs" / "two").symlink_to(complete)
    run = read_run(tmp_path / "runs" / "two")
    whole = content(complete)
    with pytest.raises(RunError, match="is a link"), scoring_again(run, {}, ()):
        pass
    with pytest.raises(RunError, match="is a link"):
        add_files(run.path, {"latency.json": b"{}"})
    assert (content(victim), content(complete)) == (before, whole)


def test_links_inside_a_run_directory_lead_nowhere(tmp_path):
    victim = victim_of(tmp_path)
    before = content(victim)
    path = write_run(tmp_path / "one")
    for name in ("encoders", "metrics.json", "run.json"):
        shutil.move(path / name, tmp_path / f"old-{name}")
    (path / "run.json").symlink_to(tmp_path / "old-run.json")
    about = (tmp_path / "old-run.json").read_text()
    (path / "encoders").symlink_to(victim / "thesis")
    (path / "checkpoint").symlink_to(victim)
    for name in ("metrics.json", "run.json.tmp", "labels.json.tmp", "bootstrap.npz.tmp"):
        (path / name).symlink_to(victim / "photo.jpg")
    begin(path, CONDITIONS, keep="checkpoint")
    assert [entry.name for entry in path.iterdir()] == ["run.json"]
    assert content(victim) == before
    assert (tmp_path / "old-run.json").read_text() == about


def test_nothing_is_removed_that_no_run_wrote(tmp_path):
    victim = victim_of(tmp_path)
    before = content(victim)
    with pytest.raises(RunError, match="is not a run directory"):
        begin(victim, CONDITIONS)
    assert content(victim) == before
    path = write_run(tmp_path / "one")
    (path / "notes.txt").write_text("mine")
    (path / "plots").mkdir()
    begin(path, CONDITIONS)
    finish(path, CONDITIONS)
    assert sorted(entry.name for entry in path.iterdir()) == ["notes.txt", "plots", "run.json"]
    assert json.loads((path / "run.json").read_text())["files"] == {}


def test_scores_are_not_written_through_a_link(tmp_path):
    from cxrbench.output.files import write_arrays

    victim = tmp_path / "profile"
    victim.write_text("mine")
    for name in ("bootstrap.npz", "bootstrap.npz.tmp"):
        (tmp_path / name).symlink_to(victim)
    write_arrays(tmp_path / "bootstrap.npz", {"a": np.zeros(3)})
    assert victim.read_text() == "mine"
    assert read_arrays(tmp_path / "bootstrap.npz").keys() == {"a"}
    (tmp_path / "x.json.tmp").symlink_to(victim)
    write_json(tmp_path / "x.json", {})
    assert victim.read_text() == "mine"


def test_a_missing_key_is_not_null():
    from cxrbench.runs.validation import number, optional, record, require

    check = record({"a": optional(number)}, {"b": number})
    assert require({"a": None, "c": "x"}, check, "run/x.json") == {"a": None, "c": "x"}
    for value, place in (({}, "'a'"), ({"a": 1, "b": "x"}, "'b'"), ([], "it")):
        with pytest.raises(RunError, match=f"x.json is damaged: {place} has no valid value"):
            require(value, check, "run/x.json")


@pytest.mark.parametrize("name", ["val_metadata.csv.3660.tmp", "metrics.json.tmp"])
def test_what_a_kill_left_half_written_goes_and_other_files_stay(tmp_path, name):
    path = write_run(tmp_path / "one")
    (path / name).write_text("half")
    (path / "notes.1.tmp").write_text("mine")
    begin(path, conditions())
    assert not (path / name).exists()
    assert (path / "notes.1.tmp").read_text() == "mine"
