"""Options from a file: read with suspicion, written so that they repeat the run."""

from __future__ import annotations

import json
import tomllib

import pytest
from tiny_parts import Drawn

import cxrbench
from cxrbench.builtin.nih import NIH
from cxrbench.data.datasets import find_dataset
from cxrbench.errors import SettingsError
from cxrbench.parameters import data_text
from cxrbench.runs.settings_file import read_config


@pytest.fixture
def config(tmp_path):
    def written(text: str | bytes):
        path = tmp_path / "own.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def test_options_are_named_as_on_the_command_line_or_in_python(config):
    told = read_config(config('recipes = ["orb"]\nsplit-seed = 3\nbatch_size = "auto"\n'))
    assert told == {"recipes": ("orb",), "split_seed": 3, "batch_size": "auto"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("epoch = 3", r"no option 'epoch'(?s:.*)Did you mean 'epochs'"),
        ("[training]\nepochs = 3", "no option 'training'"),
        ("epochs = ", "not a TOML file"),
        ("epochs: 3", "not a TOML file"),
        (b"\xff\xfe", "not a TOML file"),
        ("seed = 1.5", r"seed cannot be 1\.5\n  expected: a whole number"),
        ("seed = true", r"seed cannot be true\n  expected: a whole number"),
        ("recipes = [1]", r"recipes cannot be 1\n  expected: text or a list of texts"),
        ("data = 3", r"data cannot be 3\n  expected: text"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(config, text, problem):
    path = config(text)
    with pytest.raises(SettingsError, match=problem) as raised:
        read_config(path)
    assert str(path) in str(raised.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read(?s:.*)No such file"):
        read_config(tmp_path / "none.toml")


def test_a_value_that_cannot_work_is_refused_as_on_the_command_line(config, cli):
    said = cli("run", "--config", config('recipes = ["grid"]\nepochs = 0\n'), "--data", "drawn")
    assert said.code == 2
    assert "--epochs cannot be 0" in said.err


def test_the_command_line_goes_before_the_file(config, cli, tmp_path):
    text = 'recipes = ["grid"]\ndata = "drawn"\nepochs = 3\nseed = 5\nweights = "none"\n'
    at = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache", "--json")
    said = cli("run", "--config", config(text), "--epochs", 1, *at)
    assert said.code == 0, said.err
    (path,) = (p for p in (tmp_path / "runs").iterdir() if "grid" in p.name and p.is_dir())
    info = json.loads((path / "run.json").read_text())
    assert (info["seed"], info["settings"]["epochs"], info["dataset"]) == (5, 1, "drawn")


def test_without_any_recipe_it_says_so(config, cli):
    said = cli("run", "--config", config("epochs = 3\n"))
    assert said.code == 2
    assert "no recipe was given" in said.err


def test_the_settings_of_a_run_repeat_it(cli, tmp_path, tiny_plugin):
    first = {"runs": tmp_path / "runs", "cache": tmp_path / "cache"}
    cxrbench.run(
        "tinynet+rows:words=8",
        data="drawn:patients=50",
        protocol="finetune",
        weights="none",
        rotation=3,
        epochs=2,
        seed=4,
        fractions=(0.6, 0.2, 0.2),
        **first,
    )
    (path,) = (p for p in first["runs"].iterdir() if "tinynet" in p.name and p.is_dir())
    told = tomllib.loads((path / "settings.toml").read_text())
    assert told["recipes"] == ["tinynet+rows:words=8"]
    assert told["data"] == "drawn:patients=50"
    assert (told["seed"], told["rotation"], told["translation"]) == (4, 3, 0.1)
    assert (told["device"], told["precision"], told["engine"]) == ("cpu", "float32", "keras")
    # In the same place it is complete; in another it gives the same again.
    again = cli("run", "--config", path / "settings.toml", "--runs", first["runs"])
    assert "tinynet+rows:words=8 (seed 4): already complete" in again.out
    other = ("--runs", tmp_path / "other", "--cache", first["cache"])
    said = cli("run", "--config", path / "settings.toml", *other)
    assert said.code == 0, said.err
    repeated = tmp_path / "other" / path.name
    for name in ("metrics.json", "predictions.parquet"):
        assert (repeated / name).read_bytes() == (path / name).read_bytes(), name


@pytest.mark.parametrize(
    "dataset",
    [
        Drawn(),
        Drawn(patients=50, official=True),
        NIH(path="somewhere/with space"),
        NIH(path="a/b=c:d"),
    ],
    ids=str,
)
def test_the_text_of_a_dataset_names_it_again(dataset, registry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = data_text(dataset)
    monkeypatch.chdir("/")
    found = find_dataset(text, registry, tmp_path)
    assert type(found) is type(dataset)
    if isinstance(dataset, NIH):
        assert found.path == str(tmp_path / dataset.path)
    else:
        assert found == dataset


def test_a_path_with_a_comma_is_given_as_a_path(registry, tiny_nih, tmp_path):
    odd = tmp_path / "films, old"
    odd.symlink_to(tiny_nih)
    text = data_text(NIH(path=str(odd)))
    assert find_dataset(text, registry, tmp_path) == NIH(path=str(odd))


def test_files_of_weights_are_found_from_any_folder(tmp_path, tiny_plugin, monkeypatch):
    from tiny_parts import TinyNet

    monkeypatch.chdir(tmp_path)
    TinyNet().build(32, None).save_weights("own.weights.h5")
    cxrbench.run(
        "tinynet",
        data="drawn",
        protocol="probe",
        weights="tiny=own.weights.h5",
        epochs=1,
        runs="runs",
        cache="cache",
    )
    (path,) = (p for p in (tmp_path / "runs").iterdir() if "tinynet" in p.name and p.is_dir())
    told = tomllib.loads((path / "settings.toml").read_text())
    assert told["weights"] == [f"tinynet={tmp_path}/own.weights.h5"]


def test_the_settings_of_every_row_of_a_call_repeat_it(cli, tmp_path, tiny_plugin):
    """Weights of a backbone do not stand in the file of a row without it."""
    from tiny_parts import TinyNet

    TinyNet().build(32, None).save_weights(tmp_path / "own.weights.h5")
    cxrbench.run(
        ["tinynet", "grid"],
        data="drawn",
        protocol="probe",
        weights=f"tiny={tmp_path}/own.weights.h5",
        epochs=1,
        runs=tmp_path / "runs",
        cache=tmp_path / "cache",
    )
    paths = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    assert len(paths) == 3
    for path in paths:
        said = cli("run", "--config", path / "settings.toml", "--runs", tmp_path / "runs")
        assert said.code == 0, said.err
        recipe = json.loads((path / "run.json").read_text())["recipe"]
        assert f"{recipe} (seed 0): already complete" in said.out


def test_a_submission_has_no_settings_and_the_error_says_why(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"origin": "external"}))
    with pytest.raises(SettingsError, match="predictions were submitted"):
        read_config(tmp_path / "settings.toml")
    (tmp_path / "run.json").write_text(json.dumps({"origin": "cxrbench"}))
    with pytest.raises(SettingsError, match="the run directory is damaged"):
        read_config(tmp_path / "settings.toml")
