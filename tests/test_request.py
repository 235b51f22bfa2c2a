"""Requests: options from Python, a file or the command line, checked once; each declared once."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import environment

import cxrbench
from cxrbench.errors import SettingsError
from cxrbench.request import Request, known_options, request_of


def test_options_are_those_of_the_request_or_of_its_settings():
    request = request_of({"recipes": "orb", "seeds": 2, "seed": 3, "epochs": 4, "cache": None})
    assert (request.recipes, request.all_seeds) == (("orb",), (3, 4))
    assert request.settings == {"epochs": 4}
    assert request.cache == Request().cache


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"executor": "slurm"}, r"--executor cannot be 'slurm'\n  expected: local or ray"),
        ({"ray_address": "127.0.0.1:6379"}, "no meaning without --executor ray"),
        ({"ablation_noise": True}, "no meaning without --ablation"),
        ({"seeds": 0}, r"--seeds cannot be 0\n  expected: a whole number from 1 to 10000"),
        ({"threads": True}, r"--threads cannot be true(?s:.*)got: true"),
        ({"force": "yes"}, r"--force cannot be 'yes'\n  expected: true or false"),
        ({"thresholds": "best"}, "--thresholds cannot be 'best'"),
        ({"calibration": "temprature"}, r"Did you mean 'temperature'\?"),
        ({"protocol": "finetun"}, r"Did you mean 'finetune'\?"),
        ({"fractions": (0.5, 0.5)}, r"--fractions cannot be 0.5,0.5(?s:.*)got: 0.5,0.5$"),
        ({"batch_size": "big"}, "expected: a whole number from 1 to 65536, or auto"),
        ({"rotation": 200}, "expected: degrees from 0 to 180"),
        ({"data": 3}, r"--data cannot be 3\n  expected: text"),
        ({"sed": 3}, r"there is no option 'sed'(?s:.*)Did you mean 'seed'\?"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_read(given, problem):
    with pytest.raises(SettingsError, match=problem):
        request_of(given)
    with pytest.raises(SettingsError, match=problem):
        cxrbench.run("orb", **given)


def test_an_address_is_taken_with_ray():
    request = request_of({"executor": "ray", "ray_address": "127.0.0.1:6379"})
    assert request.ray_address == "127.0.0.1:6379"


def test_the_signature_and_docstring_of_run_have_every_option_and_its_default():
    parameters = inspect.signature(cxrbench.run).parameters
    assert set(parameters) == {*known_options(), "display"}
    assert parameters["patience"].default == 5
    assert "    patience : Stop after this many epochs" in cxrbench.run.__doc__
    assert "By default 5; probe: 10." in cxrbench.run.__doc__


_ONE_MORE = """
import json, runpy, sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from cxrbench import errors, options, settings

@dataclass(frozen=True)
class Settings(settings.Settings):
    polish: Annotated[Literal["dull", "bright"], options.Option("Gloss of the films.")] = "dull"

settings.Settings = Settings
import cxrbench
from cxrbench.cli.app import app
from cxrbench.request import request_of
from cxrbench.runs.settings_file import read_config

def refusal(function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except errors.SettingsError as error:
        return str(error)

def command(*arguments):
    return refusal(app, arguments, standalone_mode=False)

folder, script = Path(sys.argv[1]), sys.argv[2]
(folder / "good.toml").write_text('polish = "bright"')
(folder / "bad.toml").write_text('polish = "bold"')
tables = runpy.run_path(script)
print(json.dumps({
    "command": command("run", "orb", "--polish", "bold"),
    "python": refusal(cxrbench.run, "orb", polish="bold"),
    "file": refusal(read_config, folder / "bad.toml"),
    "value": request_of(read_config(folder / "good.toml")).settings["polish"],
    "default": settings.resolve_settings({}, {}).polish,
    "docstring": cxrbench.run.__doc__,
    "table": tables["written"]("<!-- options of cxrbench run -->\\n\\n"),
}))
command("run", "--help")
"""


def test_an_option_is_declared_in_one_place(tmp_path):
    """A field with an annotation is an option everywhere."""
    script = Path(__file__).parents[1] / "docs" / "reference" / "make_option_tables.py"
    done = subprocess.run(
        [sys.executable, "-c", _ONE_MORE, tmp_path, script],
        capture_output=True, text=True, check=True, env={**environment(), "COLUMNS": "100"},
    )  # fmt: skip
    first, help_text = done.stdout.split("\n", 1)
    texts = json.loads(first)
    for name in ("command", "python", "file"):
        assert "--polish cannot be 'bold'\n  expected: dull or bright" in texts[name], name
    assert (texts["value"], texts["default"]) == ("bright", "dull")
    assert "polish : Gloss of the films. By default dull." in texts["docstring"]
    assert "| `--polish dull\\|bright` | `dull` | Gloss of the films. |" in texts["table"]
    assert "--polish" in help_text
    assert "Gloss of the films. [default: dull]" in " ".join(help_text.split())
