"""``cxrbench plugins``: check, doctor and new, and which plugins are loaded."""

from __future__ import annotations

import json

import pytest
from conftest import install, spawn

BROKEN = "import nothing_of_this_name\n"


def said(site, *arguments):
    process = spawn(*arguments, site=site)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture
def site(tmp_path):
    """A sound and a broken plugin, installed for other processes."""
    (tmp_path / "shiny_parts.py").write_text(BROKEN)
    install(tmp_path, "cxrbench-tiny", "tiny_parts")
    install(tmp_path, "cxrbench-shiny", "shiny_parts", plugin="shiny")
    return tmp_path


@pytest.fixture
def few_checks(monkeypatch):
    """Checks of features that cost nothing; ORB keeps all, SIFT does not."""
    from cxrbench.errors import PluginError

    def easy(subject):
        if subject.part.name == "sift":
            raise PluginError("too slow", expected="speed", found="none", fix="run")
        print("noise of a plugin")
        return "fine"

    monkeypatch.setattr("cxrbench.testing.features.CHECKS", {"easy": easy})


def test_checks_that_are_kept_exit_with_0_and_a_table(cli, few_checks):
    found = cli("plugins", "check", "orb")
    assert found.code == 0
    assert ["orb", "easy", "ok"] in [line.split()[:3] for line in found.out.splitlines()]
    assert "3 checks in" in found.out
    assert "noise" not in found.out


def test_one_that_is_not_kept_exits_with_1_and_says_how_to_mend_it(cli, few_checks):
    found = cli("plugins", "check", "orb", "sift:nfeatures=10")
    assert found.code == 1
    assert "sift:nfeatures=10, easy: too slow\n  expected: speed" in found.out
    assert "to do: run" in found.out


def test_json_carries_nothing_else(cli, few_checks):
    found = cli("plugins", "check", "sift", "--json")
    assert found.code == 1
    told = json.loads(found.out)["checks"]
    assert [(one["check"], one["state"]) for one in told] == [
        ("registration", "ok"),
        ("import", "ok"),
        ("easy", "failed"),
    ]


def test_a_plugin_of_several_parts_has_all_of_them_checked(cli, few_checks, monkeypatch):
    monkeypatch.setattr("cxrbench.testing.models.COMMON", {"speed": lambda sample: ""})
    monkeypatch.setattr("cxrbench.testing.datasets.CHECKS", {})
    monkeypatch.setattr("cxrbench.modeling.backend.BACKENDS", ())
    monkeypatch.setattr("cxrbench.testing.models.backbone_shapes", lambda sample: "")
    found = cli("plugins", "check", "tiny_parts", "--json")
    parts = {one["part"] for one in json.loads(found.out)["checks"]}
    assert parts == {"tinynet", "grid", "rows", "static", "drawn"}


def test_a_pattern_lists_the_parts_with_such_names(cli):
    told = json.loads(cli("plugins", "list", "*net*", "--json").out)["plugins"]
    parts = [part for plugin in told for part in plugin["provides"]]
    assert {"backbone resnet50", "backbone tinynet"} <= set(parts)
    assert all("net" in part for part in parts)


def test_an_unknown_name_is_wrong_use(cli):
    found = cli("plugins", "check", "orbb")
    assert found.code == 2
    assert "Did you mean 'orb'?" in found.err


def test_doctor_says_why_and_what_to_do(site):
    code, out, _ = said(site, "plugins", "doctor")
    assert code == 1
    assert "shiny (cxrbench-shiny 1.0, module shiny_parts)" in out
    assert "No module named 'nothing_of_this_name'" in out
    assert "to do: pip install --upgrade cxrbench-shiny" in out
    code, out, _ = said(site, "plugins", "doctor", "--json")
    assert code == 1
    assert [row["name"] for row in json.loads(out)["plugins"]] == ["shiny"]


def test_doctor_finds_nothing_wrong_with_sound_plugins(cli):
    found = cli("plugins", "doctor")
    assert (found.code, found.err) == (0, "")
    assert "plugins load" in found.out


def test_a_broken_plugin_fails_its_check(site):
    code, out, err = said(site, "plugins", "check", "shiny")
    assert code == 1, err
    assert "'shiny' is installed and broken" in out
    assert "to do: pip install --upgrade cxrbench-shiny" in out


def test_strict_plugins_makes_a_broken_one_fatal_to_any_command(site, tmp_path):
    code, _, err = said(site, "cache", "list", "--cache", tmp_path)
    assert code == 0, err
    code, out, err = said(site, "--strict-plugins", "cache", "list", "--cache", tmp_path)
    assert (code, out) == (2, "")
    assert "plugins are broken" in err
    assert "shiny: ModuleNotFoundError" in err


def test_the_environment_chooses_which_plugins_are_loaded(site, monkeypatch):
    def names():
        rows = json.loads(said(site, "plugins", "list", "--json")[1])["plugins"]
        return {row["name"] for row in rows if row["package"] != "cxrbench"}, len(rows)

    assert names()[0] >= {"tiny_parts", "shiny"}
    monkeypatch.setenv("CXRBENCH_PLUGINS", "tiny_parts")
    chosen, count = names()
    assert chosen == {"tiny_parts"}
    assert count > 5  # cxrbench's own are always there
    assert said(site, "--strict-plugins", "cache", "list", "--cache", site)[0] == 0
    monkeypatch.setenv("CXRBENCH_PLUGINS", "")
    assert names()[0] == set()
    monkeypatch.setenv("CXRBENCH_PLUGINS", "tiny_part")
    code, _, err = said(site, "plugins", "list")
    assert code == 2
    assert "CXRBENCH_PLUGINS names plugins that are not installed" in err
    assert "Did you mean 'tiny_parts'?" in err


def test_new_writes_a_package_and_says_what_next(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = cli("plugins", "new", "feature", "edge_map")
    assert found.code == 0
    assert "pip install -e cxrbench-edge-map" in found.out
    assert "cxrbench plugins check edge_map" in found.out
    assert (tmp_path / "cxrbench-edge-map" / "cxrbench_edge_map.py").is_file()
    again = cli("plugins", "new", "feature", "edge_map")
    assert again.code == 2
    assert "already exists" in again.err
