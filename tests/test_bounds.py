"""No number that a user or a file can write makes a command take memory or time without a limit."""

from __future__ import annotations

import json
import math
import shutil

import cv2
import numpy as np
import pytest
import typer
from run_conditions import conditions

from cxrbench.cli.app import app
from cxrbench.errors import CxrbenchError, RunError, SettingsError
from cxrbench.options import options_of
from cxrbench.parameters import alternatives, field_types
from cxrbench.registry import load_registry
from cxrbench.request import Request
from cxrbench.runs.conditions import read_conditions
from cxrbench.settings import Settings

HUGE = (2**40, 10**18, 10**40, math.inf)
OPTIONS = {**options_of(Settings), **options_of(Request)}
NUMBERS = [name for name, option in OPTIONS.items() if {int, float} & {*option.kinds}]
PARTS = {
    f"{kind} {name} {field}": (part, field)
    for kind, parts in load_registry().parts.items()
    for name, part in parts.items()
    for field, kinds in field_types(part).items()
    if {int, float} & {*alternatives(kinds)} and part.__module__.startswith("cxrbench.")
}


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_of_a_run_has_a_largest_value(name):
    option = OPTIONS[name]
    for value in HUGE:
        kind = int if int in option.kinds and value != math.inf else float
        with pytest.raises(SettingsError):
            option.check(kind(value))


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_number_on_the_command_line_has_a_largest_value():
    endless = [
        f"{name} {parameter.opts[0]}"
        for name, command in commands(typer.main.get_command(app))
        for parameter in command.params
        if {int, float} & {*alternatives(parameter.type_descriptor.annotation)}
        and parameter.name not in (*OPTIONS, "iou_threshold")  # checked as declared elsewhere
        and None in (parameter.min, parameter.max)
    ]
    assert endless == []


@pytest.mark.parametrize("name", PARTS)
def test_every_number_of_a_part_has_a_smallest_and_a_largest_value(name):
    part, field = PARTS[name]
    for value in (*HUGE, *(-number for number in HUGE)):
        with pytest.raises(CxrbenchError):
            part(**{field: value})


def run_with(grid, folder, change):
    """A copy of a run beside an image, with another run.json."""
    source = grid.run_of("tinynet+grid+rows:words=8")
    run = shutil.copytree(source, folder / "runs" / source.name)
    about = json.loads((run / "run.json").read_text())
    change(about)
    (run / "run.json").write_text(json.dumps(about))
    cv2.imwrite(str(folder / "image.png"), np.full((64, 64), 90, np.uint8))
    return run


@pytest.mark.parametrize("value", [4097, 10**9, 10**15])
def test_a_run_with_a_huge_image_is_refused_before_a_network_is_built(cli, grid, tmp_path, value):
    run = run_with(grid, tmp_path, lambda about: about.update(image_size=value))
    said = cli("predict", run, tmp_path / "image.png")
    assert said.code == 2
    assert "image_size, the side of the images in pixels" in said.err


@pytest.mark.parametrize("name", ["max_pixels", "fit", "clahe"])
def test_a_run_with_a_forged_preparation_is_refused(cli, grid, tmp_path, name):
    run = run_with(grid, tmp_path, lambda about: about["settings"].update({name: 10**15}))
    said = cli("predict", run, tmp_path / "image.png")
    assert said.code == 2
    assert "does not say how images were prepared" in said.err
    assert "1000000000000000" in said.err


@pytest.mark.parametrize("key", ["recipe", "dataset", "weights"])
def test_a_text_that_no_page_can_show_is_damage(key):
    about = json.loads(json.dumps(conditions().to_json()))
    read_conditions({**about, key: "x" * 5000}, "run/run.json")
    with pytest.raises(RunError, match=f"'{key}' has no valid value"):
        read_conditions({**about, key: "x" * 5001}, "run/run.json")
