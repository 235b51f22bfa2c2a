"""What people type first: typos, habits from other programs, values that are nearly right."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from cxrbench.cli.usage import HABITS
from cxrbench.parameters import PACKAGES, nearest

PLUGINS = Path(__file__).parents[2] / "plugins"

# What is typed, and what the message has to propose; empty: it must propose nothing.
TYPED = {
    "run resnet --img-size 64": "--image-size",
    "run resnet --input-size 64": "--image-size",
    "run resnet --lr 0.1": "--learning-rate",
    "run resnet --bs 8": "--batch-size",
    "run resnet --batch 8": "--batch-size",
    "run resnet --workers 2": "--threads",
    "run resnet --num_workers 2": "--threads",
    "run resnet --n_jobs 2": "--threads",
    "run resnet --pretrained": "--weights imagenet",
    "run resnet --output_path x": "--runs",
    "run resnet --output-folder x": "--runs",
    "run resnet --tasks nih": "--data",
    "run resnet --dataset nih": "--data",
    "run -m resnet": "Write recipes without an option",
    "run --model resnet": "Write recipes without an option",
    "run resnet --verbosity 2": "--quiet",
    "run resnet --gpu": "--device gpu",
    "run resnet --no-cuda": "--device cpu",
    "run resnet --amp": "--precision bfloat16",
    "run resnet --overwrite": "--force",
    "run resnet --resume": "The same command again",
    "run resnet --random-state 1": "--seed",
    "run resnet --max_samples 50": "--limit",
    "run resnet --limt 50": "--limit",
    "run resnet --epoch 3": "--epochs",
    "run resnet --split_seed 3": "--split-seed",
    "run resnet --protocl probe": "--protocol",
    "run resnet --ablate": "--ablation",
    "run resnet --cuda-visible 0": "",
    "run resnet --protocol prob": "probe",
    "run resnet --device tpu": "CUDA_VISIBLE_DEVICES",
    "run resnet --device cuda:1": "CUDA_VISIBLE_DEVICES",
    "run resnet --device cpuu": "cpu",
    "run resnet --weights imagnet": "imagenet",
    "run resnet --weights tinynt=none": "resnet50",
    "run resnet --augment medcal": "medical",
    "run resnet --head linaer": "linear",
    "run resnet --data phantm": "phantom",
    "run resnet --format md": "markdown",
    "run resnet --format tex": "latex",
    "run resnet --format cvs": "csv",
    "run vit": "",
    "run swin_tiny": "",
    "run resnt": "resnet",
    "run resnet-50": "resnet50",
    "run resnet18": "The nearest is 'resnet50'",
    "run orbb": "orb",
    "run rob": "orb",
    "run sfit": "sift",
    "run resnet,orb": "resnet+orb",
    "run resnet/orb": "resnet+orb",
    "run resnet+orb+concat": "write it after @",
    "run phantom": "--data phantom",
    "run resnet@orb": "orb is a feature: join it to the other parts by +",
    "run orb:nfeature=3": "nfeatures",
    "run orb:encoding=vlda": "vlad",
    "run orb:nfeatures=few": "a whole number",
    "run orb:nfeatures=5,sift": "joined by +",
    "leaderbord": "leaderboard",
    "results": "leaderboard",
    "train resnet": "run",
    "plugins ls": "list",
    "plugins info orb": "show",
    "plugins list orbb": "orb",
    "plugins list *nett*": "resnet50",
    "list_models": "plugins",
    "perf continuous main HEAD": "compare",
    "perf compare main HEAD --benchmark-compare-fail=mean:5%": "--threshold",
    "perf compare main..HEAD --factor 1.1": "--threshold",
    "fit orb": "run",
    "plugins show orbb": "orb",
    "available_tasks": "plugins",
    "data download chestmnist --size=64": "chestmnist:size=64",
    "cache rm": "clear",
    "data prep phantom": "prepare",
    "data download nhi": "nih",
    "perf diff main": "compare",
    "perf compare main --fail-on 5%": "--threshold",
    "perf compare main --path extarct/orb": "extract",
    "export resnet --format onx": "onnx",
    "figures --only rocs": "roc",
    "compare resnet": "compare needs RUN",
}


@pytest.mark.parametrize("typed", TYPED)
def test_what_is_typed_first_leads_to_what_is_meant(cli, typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path))
    said = cli(*typed.split())
    assert (said.code, said.out) == (2, "")
    assert "Traceback" not in said.err
    advice = said.err.partition("\n")[2] + said.err.partition("\n")[0]
    assert TYPED[typed] in advice
    if not TYPED[typed]:
        assert "Did you mean" not in said.err


def test_every_habit_leads_to_an_option_that_some_command_has():
    from typer.main import get_command

    from cxrbench.cli.app import app

    def flags(command):
        own = {flag for one in command.params for flag in one.opts}
        return own.union(*map(flags, getattr(command, "commands", {}).values()))

    known = flags(get_command(app))
    meant = {option.split()[0] for options in HABITS.values() for option in options}
    assert meant <= known
    assert not {f"--{name}" for name in HABITS if name != "markdown"} & known  # of perf compare


def test_every_part_of_the_repositorys_packages_names_its_package():
    provided = {}
    for path in PLUGINS.glob("*/cxrbench_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                text = ast.unparse(node)
                names = re.findall(r"^    name(?:: ClassVar\[str\])? = '(\w+)'", text, re.M)
                aliases = re.findall(r"^    aliases.* = \((.*)\)", text, re.M)
                names += re.findall(r"'(\w+)'", " ".join(aliases))
                provided |= dict.fromkeys(names, path.parent.name)
    assert provided
    assert {name: PACKAGES.get(name) for name in provided} == provided
    assert set(PACKAGES) - set(provided) == {"texture"}  # the plugin's own name


def test_a_part_that_is_not_installed_names_its_package(cli, monkeypatch):
    monkeypatch.setenv("CXRBENCH_PLUGINS", "")
    for typed, package in {
        "densenet121": "densenet",
        "resnet+hog": "texture",
        "resnet@attention": "attention",
        "efficientnet": "efficientnet",
        "mobilnet": "mobilenet",
    }.items():
        said = cli("run", typed)
        assert said.code == 2
        assert f"Install cxrbench-{package}" in said.err
        assert f"pip install ./plugins/cxrbench-{package}" in said.err


@pytest.mark.parametrize(
    ("name", "names", "proposal"),
    [
        ("effusion", ("Effusion", "Mass"), "Effusion"),
        ("pleural thickening", ("Pleural_Thickening", "Mass"), "Pleural_Thickening"),
        ("pneumotorax", ("Pneumonia", "Pneumothorax"), "Pneumothorax"),
        ("vit", ("sift", "orb"), ""),
        ("cuda", ("cpu", "gpu"), ""),
        ("lr", ("help", "runs"), ""),
        ("", ("orb",), ""),
    ],
)
def test_only_what_is_close_is_proposed(name, names, proposal):
    assert nearest(name, names) == (f"Did you mean {proposal!r}?" if proposal else "")


def test_missing_values_and_values_of_flags_are_one_message(cli):
    for typed, text in {
        "run resnet --seed": "'--seed' requires an argument",
        "run resnet --json=3": "'--json' does not take a value",
    }.items():
        said = cli(*typed.split())
        assert (said.code, said.out) == (2, "")
        assert text in said.err


def test_short_options_are_those_of_the_long_ones(cli):
    assert cli("-V").out == cli("--version").out
    said = cli("run", "orb", "-d", "phantm")
    assert "--data phantm" in said.err
    said = cli("leaderboard", "-r", "/nothing/here", "-f", "csv", "-q")
    assert "/nothing/here" in said.err


@pytest.mark.parametrize(
    "command",
    [
        *("cache clear", "cache list", "cache verify", "compare", "data check", "data download"),
        *("explain", "export", "figures", "leaderboard", "localise", "perf compare"),
        *("perf history", "plugins new", "plugins show", "predict", "report", "run", "score"),
        "submit",
    ],
)
def test_a_command_without_arguments_says_what_is_missing(cli, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXRBENCH_CACHE", str(tmp_path / "cache"))
    said = cli(*command.split())
    assert said.code in (0, 2), said.err
    assert "Traceback" not in said.err


def test_a_share_can_be_per_cent(cli):
    assert "--max-bad cannot be 2" in cli("run", "orb", "--max-bad", "200%").err
    said = cli("perf", "compare", "main", "--threshold", "5000%")
    assert "--threshold cannot be 50" in said.err


def test_cuda_means_the_gpu():
    from cxrbench.settings import resolve_settings

    for text in ("cuda", "cuda:0", "gpu:0"):
        assert resolve_settings({"device": text}, {}).device == "gpu"
