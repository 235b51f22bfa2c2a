"""Errors in the use of a command, in our own form; options of other programs lead to ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import typer

from cxrbench.errors import SettingsError
from cxrbench.parameters import nearest

# In click and in typer's own copy of it alike.
_UsageError: Any = typer.BadParameter.__mro__[1]


def _options(ours: str, *others: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(others, tuple(ours.split(" or ")))


HABITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    _options("--image-size", "img-size", "input-size", "size", "resolution", "imgsz")
    | _options("--learning-rate", "lr", "learning-rate-init")
    | _options("--batch-size", "bs", "batch", "train-batch-size")
    | _options("--threads", "workers", "num-workers", "n-jobs", "jobs", "nproc", "num-threads")
    | _options("--weights imagenet", "pretrained")
    | _options("--weights", "checkpoint", "initial-checkpoint", "model-args", "init")
    | _options("--output or --runs", "output-path", "output-dir", "output-folder", "out", "outdir")
    | _options("--data", "dataset", "datasets", "data-dir", "data-path", "tasks", "task", "root")
    | _options("--device gpu", "gpu", "cuda", "gpus")
    | _options("--device cpu", "cpu", "no-cuda", "no-gpu")
    | _options("--precision bfloat16", "amp", "fp16", "bf16", "mixed-precision")
    | _options("--force", "overwrite", "clean", "rerun", "overwrite-results")
    | _options("--seed", "random-state", "manual-seed")
    | _options("--seeds", "num-seeds", "n-seeds", "repeats", "n-repeats")
    | _options(
        "--fractions", "test-size", "val-size", "val-split", "validation-split", "train-size"
    )
    | _options("--limit or --sample", "max-samples", "subset", "num-samples", "num-images")
    | _options("--patience", "early-stopping", "early-stopping-patience")
    | _options("--threshold", "factor", "benchmark-compare-fail", "fail-on", "max-slowdown")
    | _options("--quiet", "silent", "no-progress", "disable-tqdm")
    | _options("--runs", "runs-dir", "results", "results-dir", "log-dir", "logdir")
    | _options("--cache", "cache-dir", "cache-folder")
    | _options("--config", "config-file", "settings")
    | _options("--format csv", "csv")
    | _options("--format markdown", "markdown", "md")
    | _options("--format html", "html")
    | _options("--format latex", "latex", "tex")
    | _options("--epochs", "num-epochs", "max-epochs", "n-epochs")
    | _options("--protocol probe", "linear-probe", "freeze", "freeze-backbone")
    | _options("--augment", "aug", "auto-augment", "aa", "augmentation")
)
"""Options of lm-eval, mteb, timm, medmnist, scikit-learn and asv, and the same here."""

_TEXTS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        ("m", "model", "models", "arch", "backbone", "recipe", "recipes"),
        "Write recipes without an option, as in `cxrbench run resnet+orb`",
    )
    | dict.fromkeys(
        ("verbose", "verbosity", "v", "debug"),
        "Progress and messages are shown by default; --quiet hides them",
    )
    | dict.fromkeys(
        ("resume", "continue"),
        "The same command again continues what was interrupted",
    )
    | {"size": "Options of a dataset follow its name, as in chestmnist:size=64"}
    | dict.fromkeys(("opt", "optimizer", "optim"), "The optimiser is always Adam")
)

_COMMANDS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("train", "fit", "eval", "evaluate", "benchmark", "bench"), "run")
    | dict.fromkeys(("results", "board", "rank", "table"), "leaderboard")
    | dict.fromkeys(("available_tasks", "list_models", "list-models", "parts", "list"), "plugins")
    | dict.fromkeys(("diff", "continuous"), "compare")
    | dict.fromkeys(("plot", "plots", "draw"), "figures")
    | dict.fromkeys(("inference", "infer", "test"), "predict")
    | dict.fromkeys(("ls", "available", "models"), "list")
    | dict.fromkeys(("rm", "remove", "delete", "clean", "purge"), "clear")
    | dict.fromkeys(("info", "describe", "help"), "show")
    | dict.fromkeys(("create", "init", "template"), "new")
    | dict.fromkeys(("saliency", "localize"), "localise")
    | dict.fromkeys(("validate", "verify"), "check")
)
_VALUES: Mapping[str, str] = MappingProxyType({"md": "markdown", "tex": "latex", "tsv": "csv"})


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise `SettingsError` for what the parser of the command line refuses."""
    try:
        yield
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        raise _translated(error) from None


def _translated(error: Any) -> SettingsError:
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    if error.ctx is None:
        return SettingsError(message)
    command, path = error.ctx.command, error.ctx.command_path
    usage = re.sub(r"^Usage: |[{}]|\.\.\.", "", error.ctx.get_usage()).strip()
    name, more = path.removeprefix("cxrbench "), f"see `{path} --help`"
    if "No such option" in message:
        return _unknown_option(error.option_name, command, path)
    if match := re.match(r"No such command '(.*?)'", message):
        return _unknown_command(match[1], command, name)
    if match := re.match(r"Missing argument '?(.*?)'?$", message):
        return SettingsError(f"{name} needs {match[1]}", expected=usage, fix=more)
    if match := re.search(r"for '(.*?)'.*?: '(.*)' is not one of (.*)$", message):
        choices = [choice.strip(" '") for choice in match[3].split(",")]
        return SettingsError(
            f"{match[1]} cannot be {match[2]!r}",
            expected=", ".join(choices),
            found=repr(match[2]),
            fix=nearest(_VALUES.get(match[2], match[2]), choices) or None,
        )
    return SettingsError(f"{name}: {message}", fix=more)


def _unknown_option(option: str, command: Any, path: str) -> SettingsError:
    names = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    flags = sorted(name for name in names if name.startswith("--"))
    fix = bridge(option, flags) or f"`{path} --help` lists the options"
    return SettingsError(f"{path.removeprefix('cxrbench ')} has no option {option}", fix=fix)


def bridge(option: str, flags: list[str]) -> str:
    """What to write in place of an option, for a command that has ``flags``; empty if unknown."""
    name = option.lstrip("-").lower().replace("_", "-")
    if ours := [option for option in HABITS.get(name, ()) if option.split()[0] in flags]:
        return f"Use {' or '.join(ours)}"
    if f"--{name}" in flags:
        return f"Use --{name}"
    if name in _TEXTS:
        return _TEXTS[name]
    proposal = nearest(name, [flag[2:] for flag in flags])
    return re.sub(r"'(.*)'", r"--\1", proposal)


def _unknown_command(name: str, group: Any, path: str) -> SettingsError:
    known = sorted(group.commands)
    usual = _COMMANDS.get(name.lower())
    return SettingsError(
        f"{path} has no command {name!r}",
        expected=", ".join(known),
        fix=(f"Did you mean {usual!r}?" if usual in known else nearest(name, known)) or None,
    )
