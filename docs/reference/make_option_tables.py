"""Write the tables of options in the pages of this folder; to do so, run this file.

A table follows each comment ``<!-- options of COMMAND -->``, ``<!-- arguments of run -->`` or
``<!-- settings -->``. Its rows come from where the options are declared.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import typer

import cxrbench
from cxrbench.cli.app import app
from cxrbench.options import Option, as_typed, options_of
from cxrbench.registry import load_registry
from cxrbench.request import known_options
from cxrbench.settings import Settings

FOLDER = Path(__file__).parent
# What a page adds to the help of an option.
MORE = {
    "config": "See [a file of options](#a-file-of-options).",
    "data": "A dataset's options follow its name as `:option=value,…`. See "
    "[datasets](recipes.md#datasets).",
    "seeds": "A row of the leaderboard is the mean of its seeds.",
    "split": "See [splits](../explanation/splits.md).",
    "allow_overlap": "See [any lists](../explanation/splits.md#any-lists).",
    "batch_size": "See [memory](../howto/backends-and-devices.md#memory).",
    "augment": "See [augmentation](../explanation/augmentation.md). An error with `probe`.",
    "zoom": "Sizes change by a factor from 1 − this to 1 + this.",
    "device": "See [backends and devices](../howto/backends-and-devices.md).",
    "devices": "See [several GPUs](../howto/backends-and-devices.md#several-gpus).",
    "engine": "See [engines](../howto/backends-and-devices.md#the-engine-of-a-frozen-backbone).",
    "executor": "See [cluster](../howto/cluster.md).",
    "ray_address": "This machine must be one of its nodes.",
    "calibration": "It [changes](../explanation/scores.md#calibration) Brier score and calibration "
    "error, nothing else.",
    "thresholds": "`sensitivity=0.9` is the highest threshold that finds 90 % of the positives of "
    "the validation split.",
    "ablation": "See [ablation](../explanation/ablation.md).",
    "saliency": "Same as [`cxrbench localise`](#cxrbench-localise), for every run with a model. "
    "Stops before training if no test image has a box.",
    "latency": "The median of 20 images is stored with the run.",
    "literature": "See [published results](leaderboard.md#published-results).",
    "leaderboard literature": "See [published results](leaderboard.md#published-results). Not in "
    "`csv`.",
    "run threads": "With `--executor ray`, by default one for each CPU of the cluster.",
    "output_format": "See [formats](leaderboard.md#formats).",
    "leaderboard ablation": "See [what each part adds](leaderboard.md#what-each-part-adds).",
    "score calibration": "",
    "submit calibration": "Needs `--val`.",
    "submit thresholds": "Without `--val` there are no thresholds.",
    "submit data": "A label table without its images is enough.",
    "submit image_column": "By default, one of the "
    "[usual headings](../howto/own-data.md#any-table), or `id`.",
    "submit seed": "Several seeds make one row.",
    "figures output": "Files of the same names are replaced.",
    "figures output_format": "",
    "figures only": "Kinds are `roc`, `precision-recall`, `forest`, `pareto`, `training`, "
    "`confusion`, `co-occurrence`, `reliability` and `keypoints`.",
    "figures data": "",
    "figures as_json": 'Prints `{"files": [...]}`.',
    "explain data": "Images are matched by their names without the ending.",
    "explain iou_threshold": "The line in the map marks them.",
    "explain cache": "Datasets such as `dicom` keep there what makes the next call quick.",
    "explain as_json": 'Prints `{"images": [{"image", "error", "pictures": [{…}]}]}`.',
    "localise data": "",
    "localise as_json": 'Prints `{"runs": [{…}]}`, each as '
    "[`saliency.json`](run-directory.md#saliencyjson).",
    "predict output": "The file appears when it is complete.",
    "predict output_format": "One of `table`, `csv`, `json`, `parquet`, `markdown`, `html` and "
    "`latex`. `parquet` needs `--output`.",
    "predict batch_size": "",
    "predict engine": "`auto` looks for the fastest from 5,000 images on.",
    "predict cache": "The choice of `auto` is kept there.",
    "export model_format": "`keras`, `onnx` (needs the extra `onnx`) or `saved-model` (a folder).",
    "export as_json": 'Prints `{"path", "description", "format", "difference"}`, or '
    '`{"exports": [{…}]}` for several seeds. `difference` is '
    "the largest one between probabilities.",
    "report cases": "The kinds are found images, missed images and false alarms.",
    "report data": "",
    "report as_json": 'Prints `{"file": …}`.',
    "data download data": "",
    "data download base_url": "The files keep their names, as in `URL/images_001.tar.gz`.",
    "data download keep_archives": "They stay in `DIR/downloads`.",
    "data download as_json": 'Prints `{"dataset", "folder", "complete", "fetched", '
    '"files": [{"name", "url", "size", "checksum", "checksum_by", "sha256", '
    '"there"}], "next"}`.',
    "data check sample": "Copies outside the sample are missed.",
    "data check as_json": "Prints [everything](data-check.md#json), with each image of every "
    "finding.",
    "data prepare recipes": "All words up to the next option are recipes.",
    "data prepare config": "Options of `run` that do not concern images are ignored.",
    "data prepare as_json": 'Prints `{"data", "images", "usable", "excluded": '
    '[{"image_id", "reason"}], "stores": [{…}]}`. A store is an entry of `cache list`, with '
    "`made`: false if it existed before.",
    "cache list as_json": 'Prints `{"cache", "size", "entries": [{"kind", "key", '
    '"what", "dataset", "data", "size", "last_used", "state", "path", "in_use"}]}`, '
    "sizes in bytes, times in UTC.",
    "cache verify as_json": 'Prints `{"cache", "damaged", "entries": [{…}]}`, entries as in '
    "`cache list` with a `result`, `damaged` their number.",
    "cache clear data": "The folder need not exist any more.",
    "cache clear everything": "Cannot be combined with other conditions.",
    "cache clear yes": "Needed if standard input is not a terminal.",
    "cache clear as_json": 'Prints `{"cache", "removed": [{…}], "kept": [{…}], "dry_run", '
    '"freed"}`, entries as in `cache list`, `freed` in bytes.',
    "perf time data": "Four images are used, with the settings of the dataset. Without a cohort, "
    "radiographs of 1024×1024 pixels are drawn.",
    "perf time device": "A GPU computes in `bfloat16` if it supports it, as in a run.",
    "perf time as_json": 'Prints `{"data", "films", "device", "backend", "recipes", '
    '"parts", "broken"}`, see below.',
    "perf compare path": "See [which paths](../howto/catch-regressions.md#which-paths).",
    "perf compare data": "",
    "perf compare batch_size": "",
    "perf record data": "",
    "perf record batch_size": "",
    "perf compare inconclusive": "The old name `--cannot-tell` works too.",
    "perf compare budget": "The first look at all paths is always completed.",
    "perf compare output": "The default is in `perf/comparisons/`.",
    "perf compare as_json": 'Prints `{"base", "head", "machine", "threshold", "clock", '
    '"paths": {NAME: {"state", "ratio", "low", "high", "control", …}}, "not_compared", '
    '"samples", …}`. `state` is `slower`, `faster`, `no change`, or `cannot tell` if the path is '
    "inconclusive.",
    "perf record as_json": "Prints the new recording, with medians in place of samples.",
    "perf history as_json": 'Prints `[{"side", "commit", "time", "machine", "versions", '
    '"milliseconds", "not_measured"}]`.',
    "plugins list as_json": 'Prints `{"plugins": [{"name", "provides", "package", "version", '
    '"state", "error", "fix"}]}`. `provides` has a kind and a name each, such as `feature orb`.',
    "plugins show as_json": 'Prints `{"parts": [{"kind", "name", "aliases", "plugin", "package", '
    '"version", "summary", "properties", "parameters": [{"name", "of", "values", "least", "most", '
    '"default", "text"}], "example"}]}`. `of` is the part or the encoding that has the parameter.',
    "plugins check as_json": 'Prints `{"checks": [{"kind", "part", "check", "state", "seconds", '
    '"told"}]}`. `state` is `ok`, `failed` or `skipped`.',
    "plugins doctor as_json": 'Prints `{"plugins": [{…}]}` as `plugins list` does, with the '
    "broken plugins only.",
}
# The settings that built-in datasets bring.
DATASETS = {
    dataset.name: dataset.defaults
    for dataset in load_registry().parts["dataset"].values()
    if dataset.__module__.startswith("cxrbench.builtin.")
}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown, with bars in its cells escaped."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(c.replace('|', chr(92) + '|') for c in row)} |" for row in lines
    )


def default_of(option: Option) -> str:
    """The default, with those of protocols, presets and built-in datasets."""
    if option.kind is bool:
        return f"`--no-{option.flag[2:]}`" if option.switch else "off"
    by_name = {f"`{name}`": value for name, value in option.otherwise.items()}
    by_name |= {f"`{n}`": d[option.name] for n, d in DATASETS.items() if option.name in d}
    texts = [option.default or f"`{as_typed(option.fallback)}`"]
    return "; ".join([*texts, *(f"{name}: `{as_typed(v)}`" for name, v in by_name.items())])


def command_table(name: str, command: Any) -> str:
    """The arguments and options of a command."""
    rows = [
        row_of(parameter, name.removeprefix("cxrbench "))
        for parameter in command.params
        if parameter.help
    ]
    rows.sort(key=lambda row: row[0].startswith("`--"))
    return table(("option", "default", "description"), dict.fromkeys(rows))


def row_of(parameter: Any, command: str) -> tuple[str, str, str]:
    """The row of one parameter of a command."""
    text, _, default = parameter.help.rstrip("]").partition(" \\[default: ")
    option = parameter.param_type_name == "option"
    flag = option and parameter.is_flag
    names = (*parameter.opts, *parameter.secondary_opts)
    if not option:
        names = (re.sub(r"^\[(.*)\]$", r"\1", parameter.metavar),)
    elif not flag:
        names = (f"{names[0]} {parameter.metavar or value_name(parameter)}", *names[1:])
    declared = known_options().get(parameter.name)
    if declared and text == declared.help.replace("`", ""):
        text, default = declared.help, default_of(declared)
    elif parameter.default not in (None, False):
        default = f"`{getattr(parameter.default, 'value', parameter.default)}`"
    if "`" not in text:
        text = re.sub(r"(?<!\S)--[a-z-]+(?: json)?", r"`\g<0>`", text)
    more = MORE.get(f"{command} {parameter.name}", MORE.get(parameter.name) if option else None)
    text = f"{text} {more}" if more else text
    default = default or ("off" if flag else "none" if option else "")
    return ", ".join(f"`{name}`" for name in names), default, text


def value_name(parameter: Any) -> str:
    """The name of the value of an option."""
    declared = known_options().get(parameter.name)
    kinds = declared.kinds if declared else (type(parameter.default),)
    return {int: "N", float: "X"}.get(kinds[0], "TEXT")


def argument_table() -> str:
    """The signature of `cxrbench.run`, and its arguments."""
    signature = inspect.signature(cxrbench.run)
    texts = []
    for name in signature.parameters:
        option = known_options().get(name)
        default = "None" if option is None else repr(python_default(option)).replace("'", '"')
        texts.append(f"{name}={default}".replace(" ", "\xa0"))
    call = f"run(recipes, *, {', '.join(texts[1:])}) -> dict"
    code = textwrap.fill(call, 100, subsequent_indent="    ", break_on_hyphens=False)
    code = code.replace("\xa0", " ")
    text = "A [`Display`](#display) that shows progress. By default, only notebooks show it."
    display = ("`display`", "`None`", text)
    head, rows = ("argument", "default", "description"), python_rows(known_options())
    arguments = table(head, [*rows, display])
    return f"```python\n{code}\n```\n\n{arguments}"


def python_rows(options: Mapping[str, Option]) -> list[tuple[str, str, str]]:
    """The options as Python spells them, with their choices."""
    rows = []
    for option in options.values():
        choices = ", ".join(f"`{choice!r}`" for choice in option.choices)
        text = f"{option.help} One of {choices}." if choices else option.help
        rows.append((f"`{option.name}`", f"`{python_default(option)!r}`", text))
    return rows


def python_default(option: Option) -> Any:
    """The default as the signature of `cxrbench.run` has it."""
    value = None if option.default else option.fallback
    return str(value) if isinstance(value, Path) else value


def settings_table() -> str:
    """The settings that a run directory records."""
    return table(("setting", "default", "description"), python_rows(options_of(Settings)))


def commands(group: Any, path: str = "cxrbench") -> dict[str, Any]:
    """Every command by its words."""
    found = {path: group}
    for name, command in getattr(group, "commands", {}).items():
        found |= commands(command, f"{path} {name}")
    return found


def written(text: str) -> str:
    """A page with the tables that its comments stand for."""
    makers: dict[str, Callable[[], str]] = {
        "arguments of run": argument_table,
        "settings": settings_table,
    }
    for name, command in commands(typer.main.get_command(app)).items():
        makers[f"options of {name}"] = partial(command_table, name, command)
    return re.sub(
        r"(<!-- ([\w ]+) -->\n\n)(?:```python\n.*?```\n\n)?(?:\|[^\n]*\n)*",
        lambda match: match[1] + makers[match[2]]() + "\n" if match[2] in makers else match[0],
        text,
        flags=re.DOTALL,
    )


def pages() -> dict[Path, str]:
    """The pages of this folder as they have to be."""
    return {page: written(page.read_text(encoding="utf-8")) for page in FOLDER.glob("*.md")}


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
