"""What can be named, set, read or caught is in docs/reference, and no link leads nowhere."""

from __future__ import annotations

import inspect
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer

import cxrbench
from cxrbench import errors, hookspecs, interfaces, scaffold, testing
from cxrbench.boards.board import ROW_COLUMNS
from cxrbench.boards.label_rows import LABEL_COLUMNS
from cxrbench.checks.finding import CHECKS
from cxrbench.cli.app import app
from cxrbench.encoders.visual_words import VLAD, BagOfWords
from cxrbench.interfaces import Exclusion
from cxrbench.metrics.measures import LOWER_IS_BETTER, MEASURES
from cxrbench.metrics.scores import LabelScores, Scores
from cxrbench.modeling.train import Epoch
from cxrbench.registry import GROUP, HOOKS, load_registry
from cxrbench.settings import Settings

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if p.parent.name != "_generated"),
    *sorted((ROOT / "plugins").rglob("*.md")),
]
RUN_FILES = (
    "run.json",
    "metrics.json",
    "labels.json",
    "bootstrap.npz",
    "bootstrap_details.npz",
    "subgroups.json",
    "predictions.parquet",
    "history.csv",
    "train_metadata.csv",
    "val_metadata.csv",
    "test_metadata.csv",
    "excluded.csv",
    "encoders/NAME.npz",
    "model.weights.h5",
    "model.keras",
    "saliency.json",
    "saliency.npz",
)


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """What stands below a heading, up to the next of its level or a higher one."""
    heading = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert heading, f"there is no heading {title!r}"
    rest = text[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows_of(table: str) -> dict[str, list[str]]:
    """The cells of each row of the tables in a text, by each name in its first cell."""
    found: dict[str, list[str]] = {}
    for line in table.splitlines():
        if line.startswith("| "):
            cells = [
                cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]
            ]
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", cells[0]), cells[1:])
    return found


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app), "cxrbench"))
REGISTRY = load_registry()
BUILTIN = [
    (kind, part)
    for kind in HOOKS
    for part in {part.name: part for part in REGISTRY.parts[kind].values()}.values()
    if part.__module__.startswith("cxrbench.builtin.")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_heading_and_its_options_stand_below_it(command):
    told = section(page("command-line"), f"`{command}`")
    for parameter in COMMANDS[command].params:
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("-"):
                assert re.search(rf"`{option}[` ]", told), f"{command} {option}"
            else:
                assert (parameter.metavar or parameter.name.upper()) in told, f"{command} {option}"


def test_tables_of_options_are_those_of_the_declarations():
    """`python docs/reference/make_option_tables.py` writes them."""
    made = runpy.run_path(str(REFERENCE / "make_option_tables.py"))["pages"]()
    assert [path.name for path, text in made.items() if path.read_text("utf-8") != text] == []


def test_what_every_command_understands_is_told_once():
    for name in COMMANDS["cxrbench"].context_settings["help_option_names"]:
        assert f"`{name}`" in section(page("command-line"), "`cxrbench`")


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_that_the_command_line_sets_are_the_ones_told(command):
    rows = {
        name.split()[0]: cells
        for name, cells in rows_of(section(page("command-line"), f"`{command}`")).items()
    }
    for parameter in COMMANDS[command].params:
        if parameter.default not in (None, False) and not parameter.is_eager:
            option = parameter.opts[0]
            name = option if option.startswith("-") else parameter.metavar.strip("[]")
            assert f"`{parameter.default}`" in rows[name][0], name


def test_every_setting_and_its_default_is_told():
    rows = rows_of(section(page("run-directory"), "Settings"))
    for field in fields(Settings):
        assert rows[field.name][0] == f"`{field.default!r}`", field.name


def test_every_setting_is_an_option_whose_row_tells_the_same_default():
    rows = rows_of(section(page("command-line"), "`cxrbench run`"))
    told = {name.split()[0]: cells[0] for name, cells in rows.items()}
    for field in fields(Settings):
        spelt = str(field.default)
        if isinstance(field.default, tuple):
            spelt = ",".join(map(str, field.default))
        elif field.default is None:
            spelt = {"image_size": "own", "limit": "all images"}[field.name]
        elif field.default is False:
            spelt = "`--no-"
        assert spelt in told[f"--{field.name.replace('_', '-')}"], field.name


@pytest.mark.parametrize(("title", "keys"), [("Rows", ROW_COLUMNS), ("Labels", LABEL_COLUMNS)])
def test_every_key_of_the_board_is_told(title, keys):
    told = rows_of(section(page("leaderboard"), title))
    # The page describes the other measures once, for both kinds.
    assert sorted(told) == sorted(keys)


def test_every_measure_is_told_with_its_better_direction():
    told = rows_of(section(page("leaderboard"), "Measures"))
    assert list(told) == list(MEASURES)
    lower = {name for name, (better, _) in told.items() if better == "lower"}
    assert lower == LOWER_IS_BETTER


def test_every_file_of_a_run_is_told():
    told = rows_of(page("run-directory"))
    assert [name for name in RUN_FILES if name not in told] == []


def test_every_score_of_a_run_is_told():
    told = section(page("run-directory"), "`metrics.json`")
    for field in fields(Scores):
        assert f"`{field.name}`" in told, field.name
    told = section(page("run-directory"), "`labels.json`")
    for field in fields(LabelScores):
        assert f"`{field.name}`" in told, field.name


def test_every_column_of_a_runs_tables_is_told():
    text = page("run-directory")
    history = rows_of(section(text, "`history.csv`"))
    assert sorted(history) == sorted(field.name for field in fields(Epoch))
    for field in fields(Exclusion):
        assert f"`{field.name}`" in section(text, "`excluded.csv`")


def test_every_error_class_is_told():
    told = rows_of(section(page("errors"), "Classes"))
    classes = inspect.getmembers(errors, inspect.isclass)
    assert sorted(told) == sorted(name for name, _ in classes)


@pytest.mark.parametrize(
    ("title", "severity"),
    [("Errors", "error"), ("Warnings", "warning"), ("Worth knowing", "info")],
)
def test_every_check_of_a_cohort_is_told_with_why_it_matters_and_what_to_do(title, severity):
    told = rows_of(section(page("data-check"), title))
    assert sorted(told) == sorted(c.name for c in CHECKS.values() if c.severity == severity)
    for name, cells in told.items():
        assert len(cells) == 3, name
        assert all(cells), name


@pytest.mark.parametrize(
    "name", [name for name, _ in inspect.getmembers(hookspecs) if name.startswith(GROUP + "_")]
)
def test_every_hook_is_told_with_its_signature(name):
    signature = str(inspect.signature(getattr(hookspecs, name))).replace("'", "")
    assert f"{name}{signature}" in rows_of(section(page("python"), "Hooks"))


def test_every_public_name_is_told():
    told = rows_of(section(page("python"), "Public names"))
    assert sorted(told) == sorted(cxrbench.__all__)


def test_every_argument_of_run_is_told():
    told = section(page("python"), "`run`")
    for parameter in inspect.signature(cxrbench.run).parameters.values():
        assert f"`{str(parameter).partition(':')[0].partition('=')[0]}`" in told
        if parameter.default is not parameter.empty:
            default = repr(parameter.default).replace("'", '"')
            assert f"{parameter.name}={default}" in told


@pytest.mark.parametrize(
    "name", ["Backbone", "FeatureExtractor", "Encoder", "FittedEncoder", "Fusion", "Dataset"]
)
def test_every_member_that_an_author_meets_is_told_with_its_signature(name):
    told = " ".join(rows_of(section(page("python"), "Plugins")))
    for member, value in vars(getattr(interfaces, name)).items():
        function = getattr(value, "__func__", value)
        if inspect.isfunction(function) and not member.startswith("_"):
            signature = str(inspect.signature(function)).replace("'", "")
            assert f"{member}{signature.replace('(cls, ', '(')}" in told, f"{name}.{member}"
    for member in getattr(interfaces, name).__annotations__:
        assert re.search(rf"\b{member}\b", told), f"{name}.{member}"


@pytest.mark.parametrize(
    "name", ["Cohort", "Record", "LocalFeatures", "Box", "Exclusion", "Fault", "Examination"]
)
def test_every_field_of_a_value_is_told(name):
    assert is_dataclass(getattr(interfaces, name))
    for field in fields(getattr(interfaces, name)):
        assert f"`{field.name}`" in section(page("python"), f"`{name}`")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((part.name, part) for _, part in BUILTIN),
        ("bow", BagOfWords),
        ("vlad", VLAD),
    ],
)
def test_every_built_in_part_is_told_with_its_parameters_and_defaults(name, part):
    told = section(page("recipes"), f"`{name}`")
    rows = rows_of(told)
    for field in fields(part):
        default = field.default
        assert rows[field.name][0] == f"`{default!r}`", f"{name}:{field.name}"
    for alias in getattr(part, "aliases", ()):
        assert f"`{alias}`" in told
    for encoding in getattr(part, "encodings", ()):
        assert f"`{encoding}`" in rows["encoding"][1]


PACKAGES = sorted((ROOT / "plugins").glob("cxrbench-*"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_package_in_plugins_loads_and_tells_its_parts_parameters_and_defaults(
    package, monkeypatch
):
    project = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == package.name
    monkeypatch.syspath_prepend(package)
    points = [EntryPoint(*item, GROUP) for item in project["entry-points"][GROUP].items()]
    loaded = load_registry(points)
    assert [plugin.error for plugin in loaded.plugins] == [None]
    readme = (package / "README.md").read_text("utf-8")
    rows = rows_of(readme)
    for part in (part for parts in loaded.parts.values() for part in parts.values()):
        listing = (ROOT / "plugins" / "README.md").read_text("utf-8")
        for text in (readme, listing, page("plugin-packages")):
            assert f"`{part.name}`" in text
        for alias in part.aliases:
            assert f"`{alias}`" in readme
        for field in fields(part):
            told = rows.get(f"{part.name}:{field.name}") or rows[field.name]
            assert told[0] == f"`{field.default!r}`", f"{part.name}:{field.name}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_package_in_plugins_asks_the_conformance_checks_of_all_its_parts(package):
    project = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
    tests = "".join(path.read_text("utf-8") for path in (package / "tests").glob("test_*.py"))
    asked = re.findall(r'parametrize\("check", checks_for\("(\w+)', tests)
    assert asked == list(project["entry-points"][GROUP])


def test_every_conformance_check_is_told():
    text = section(page("python"), "`cxrbench.testing`")
    common = set(rows_of(section(text, "Checks of every part")))
    titles = {"feature": "features", "backbone": "backbones and fusions", "dataset": "datasets"}
    titles["fusion"] = titles["backbone"]
    for kind, name in (("feature", "orb"), ("backbone", "resnet50"), ("fusion", "concat")):
        asked = {check.name for check in testing.checks_for(name)}
        rows = set(rows_of(section(text, f"Checks of {titles[kind]}")))
        if kind == "fusion":
            rows |= set(rows_of(section(text, "Checks of fusions alone")))
        assert asked - common == rows, kind
    asked = {check.name for check in testing.checks_for("phantom")}
    assert asked - common == set(rows_of(section(text, "Checks of datasets")))
    for name in testing.__all__:
        assert re.search(rf"`{name}[`(]", text), name


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    titles = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_and_image_is_there(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text("utf-8"))):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists(), target
        assert linked.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(linked.read_text("utf-8")), target


def test_the_index_links_every_page():
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    for document in DOCUMENTS:
        if (ROOT / "docs") not in document.parents:
            continue
        name = document.relative_to(ROOT / "docs").as_posix()
        assert name == "index.md" or f"({name})" in index, name


def test_what_a_page_of_the_site_would_fetch_from_elsewhere_is_found():
    """With it a build of the site fails; what a reader has to click is no such thing."""
    fetched = runpy.run_path(str(ROOT / "docs" / "conf.py"))["fetched_from_elsewhere"]
    for text in (
        '<script defer="defer" src="https://example.org/x.js"></script>',
        '<script type="module">import x from "https://example.org/x.mjs";</script>',
        '<link rel="stylesheet"\n href="//example.org/x.css">',
        "<img alt='' src='http://example.org/x.png'>",
        '@import "https://example.org/x.css";',
        "src: url(https://example.org/x.woff2)",
    ):
        assert len(fetched(text)) == 1, text
    for text in (
        '<a href="https://example.org">there</a>',
        '<script src="../_static/x.js"></script>',
        '<svg xmlns="http://www.w3.org/2000/svg">',
        "url(fonts/x.woff2)",
    ):
        assert fetched(text) == [], text


def test_the_readme_marks_its_test_command():
    """CI runs the one code block that follows the marker."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert readme.count("<!-- test command -->") == 1
    block = re.search(r"^<!-- test command -->\n```bash\n([^\n]+)\n```$", readme, re.MULTILINE)
    assert block
    assert block[1].endswith('pip install -e ".[test]" && pytest -n auto')


def test_the_guide_shows_what_is_written_for_a_new_plugin():
    guide = (ROOT / "docs" / "howto" / "write-a-plugin.md").read_text("utf-8")
    written = scaffold.render("feature", "histogram")
    assert f"```toml\n{written['pyproject.toml']}```" in guide
    assert f"```python\n{written['cxrbench_histogram.py']}```" in guide


def test_the_daisy_of_the_guide_passes_its_checks(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    guide = (ROOT / "docs" / "howto" / "write-a-plugin.md").read_text("utf-8")
    module = re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "cxrbench_daisy.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    own = [EntryPoint("concat", "cxrbench.builtin.concat", GROUP)]
    registry = load_registry([*own, EntryPoint("daisy", "cxrbench_daisy", GROUP)])
    for check in testing.checks_for("daisy:image_size=96", registry=registry):
        check()


def test_the_complete_example_of_a_plugin_is_one(tmp_path):
    """The code on the page, and nothing else, is a plugin that loads."""
    guide = (ROOT / "docs" / "howto" / "write-a-plugin.md").read_text("utf-8")
    project, module = (
        re.search(rf"^```{kind}\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)[1]
        for kind in ("toml", "python")
    )
    assert f"[project.entry-points.{GROUP}]" in project
    (tmp_path / "cxrbench_histogram.py").write_text(module)
    code = (
        "from importlib.metadata import EntryPoint\n"
        "from cxrbench.registry import load_registry\n"
        "point = EntryPoint('histogram', 'cxrbench_histogram', 'cxrbench')\n"
        "plugin, = load_registry([point]).plugins\n"
        "print(plugin.error, *plugin.provides)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None feature histogram\n"
