"""``cxrbench cache``: what is kept is listed, and removed on request only."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest
from conftest import spawn


@pytest.fixture
def cache(cli, tmp_path):
    folder = tmp_path / "cache"
    for data in ("drawn", "drawn:patients=20"):
        said = cli("data", "prepare", data, "--for", "tinynet+grid", "--cache", folder)
        assert said.code == 0, said.err
    return folder


def listed(cli, cache):
    told = json.loads(cli("cache", "list", "--cache", cache, "--json").out)
    assert told["size"] == sum(entry["size"] for entry in told["entries"])
    return told["entries"]


def test_the_list_tells_what_and_for_what(cli, cache):
    entries = listed(cli, cache)
    assert {(e["kind"], e["what"]) for e in entries if e["data"] == "drawn"} == {
        ("pixels", "pixels 32×32"),
        ("pixels", "pixels 32×32, CLAHE"),
        ("features", "grid descriptors at 32"),
    }
    assert {(e["dataset"], e["state"], e["in_use"]) for e in entries} == {
        ("drawn", "complete", False)
    }
    said = cli("cache", "list", "--cache", cache)
    assert said.code == 0
    for told in ("grid descriptors at 32", "drawn:patients=20", "6 entries", str(cache)):
        assert told in said.out


def test_every_format_lists_the_same_entries(cli, cache):
    keys = [entry["key"] for entry in listed(cli, cache)]
    text = cli("cache", "list", "--format", "csv", "--cache", cache).out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["key"] for row in rows] == keys
    assert {row["in_use"] for row in rows} == {"False"}
    for kind, sign in (("markdown", "| pixels |"), ("html", "<td"), ("latex", "tabular")):
        text = cli("cache", "list", "--format", kind, "--cache", cache).out
        assert sign in text
        assert all(key[:8] in text for key in keys)


def test_an_empty_cache(cli, tmp_path):
    assert listed(cli, tmp_path / "nowhere") == []
    assert "no entries" in cli("cache", "list", "--cache", tmp_path / "nowhere").out
    said = cli("cache", "clear", "--all", "--cache", tmp_path / "nowhere")
    assert said.code == 0
    assert not (tmp_path / "nowhere").exists()


def test_a_dry_run_removes_nothing(cli, cache):
    before = listed(cli, cache)
    said = cli("cache", "clear", "--all", "--dry-run", "--cache", cache)
    assert said.code == 0
    assert "Removed" not in said.out
    assert listed(cli, cache) == before


def test_what_is_selected_is_removed_and_what_it_freed_is_said(cli, cache):
    said = cli("cache", "clear", "--data", "drawn:patients=20", "--yes", "--cache", cache)
    assert said.code == 0
    assert "Removed 3 entries, " in said.out
    left = listed(cli, cache)
    assert {entry["data"] for entry in left} == {"drawn"}
    key = left[0]["key"]
    told = json.loads(cli("cache", "clear", key[:8], "-y", "--json", "--cache", cache).out)
    assert [entry["key"] for entry in told["removed"]] == [key]
    assert told["kept"] == []
    assert told["freed"] == left[0]["size"]
    assert listed(cli, cache) == left[1:]


class Terminal(io.StringIO):
    """Somebody at the keyboard."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "code", "count"), [("y\n", 0, 0), ("n\n", 1, 6)])
def test_it_asks_before_it_removes(answer, code, count, cli, cache, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    said = cli("cache", "clear", "--all", "--cache", cache)
    assert said.code == code
    assert len(listed(cli, cache)) == count


def test_without_a_terminal_it_wants_to_be_told(cli, cache):
    process = spawn("cache", "clear", "--all", "--cache", cache)
    _, err = process.communicate("", timeout=60)
    assert process.returncode == 2
    assert "--yes" in err
    assert len(listed(cli, cache)) == 6


WRONG = {
    "nothing": ((), "cannot select entries"),
    "all and more": (("--all", "--incomplete"), "--all with other conditions"),
    "age": (("--older-than", "soon"), "--older-than cannot be 'soon'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_one_message_and_exit_code_2(name, cli, cache):
    arguments, told = WRONG[name]
    said = cli("cache", "clear", *arguments, "--yes", "--cache", cache)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert len(listed(cli, cache)) == 6


def test_what_another_process_uses_is_kept_and_said(cli, cache):
    from cxrbench.store.stores import map_array

    path = next(cache.glob("pixels/*/pixels.bin"))
    reader = map_array(path, (100,), "uint8")
    said = cli("cache", "clear", "--all", "--yes", "--cache", cache)
    assert said.code == 0
    assert "Removed 5 entries" in said.out
    assert f"Kept pixels/{path.parent.name}: another process uses it" in said.out
    (left,) = listed(cli, cache)
    assert left["in_use"]
    assert reader[0] >= 0


def test_verify_names_the_entry_that_rotted(cli, cache):
    said = cli("cache", "verify", "--cache", cache)
    assert said.code == 0
    assert "6 entries, 0 damaged" in said.out
    path = next((cache / "pixels").rglob("pixels.bin"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    said = cli("cache", "verify", "--cache", cache)
    assert said.code == 1
    assert f"cxrbench cache clear {path.parent.name}" in said.out
    told = json.loads(cli("cache", "verify", "--cache", cache, "--json").out)
    assert told["damaged"] == 1
    results = {entry["key"]: entry["result"] for entry in told["entries"]}
    assert "of pixels.bin were changed" in results.pop(path.parent.name)
    assert set(results.values()) == {"sound"}
    assert cli("cache", "verify", "features/", "--cache", cache).code == 0
    assert cli("cache", "clear", path.parent.name, "--yes", "--cache", cache).code == 0
    assert cli("cache", "verify", "--cache", cache).code == 0
