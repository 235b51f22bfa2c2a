"""The report: one file that loads nothing, says what the board says, and survives odd names."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cxrbench.boards.figures.rows import choose_rows
from cxrbench.boards.report.cases import Viewing, cases_chapter
from cxrbench.boards.report.page import (
    Chapter,
    Picture,
    Report,
    gather_report,
    report_page,
    write_report,
)
from cxrbench.output.display import SilentDisplay

CHAPTERS = (
    *("conditions", "board", "tests", "curves", "labels", "groups", "calibration", "cases"),
    *("cost", "reproduce"),
)


class Page(HTMLParser):
    """What a page holds: ids, links, sources, texts; and whether every element is closed."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.tags.append(tag)
        self.ids += [told["id"]] if "id" in told else []
        self.links += [told[n] for n in ("href", "xlink:href") if n in told]
        self.sources += [told["src"]] if "src" in told else []
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def written(grid, tmp_path_factory) -> Path:
    """A report on the whole grid, as the command makes it."""
    path = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    rows, display = choose_rows((), grid.runs), SilentDisplay()
    viewing = Viewing(cases=1, data=None, device="cpu", cache=grid.cache, threads=1)
    report = gather_report(
        rows,
        partial(cases_chapter, viewing=viewing, display=display),
        literature="all",
        display=display,
    )
    write_report(report, path)
    return path


@pytest.fixture(scope="module")
def page(written) -> Page:
    return Page(written.read_text(encoding="utf-8"))


def test_it_loads_nothing_and_runs_nothing(page):
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert len(page.ids) == len(set(page.ids)), "ids of several pictures do not meet"
    for link in page.links:
        assert link.startswith("data:") or link[1:] in page.ids


def test_every_chapter_is_there_and_linked(page):
    for key in CHAPTERS:
        assert key in page.ids
        assert f"#{key}" in page.links


def test_the_method_of_each_kind_of_interval_is_named_once(page):
    assert page.text.count("Wilson's score interval") == 1  # of scores
    assert page.text.count("95 % interval of A − B by Student's t") == 1  # of tests
    assert page.text.count("pairs of groups (Bonferroni, t quantile)") == 1  # of gaps
    assert page.text.count("95 % interval over patients (paired bootstrap, t quantile)") <= 1


def test_it_says_what_the_board_says(page, grid):
    rows = grid.result["boards"][0]["rows"]
    first = rows[0]
    told = f"{first['recipe']} has the highest macro AUROC of these rows, "
    assert f"{told}{first['macro_auroc']:.3f}" in page.text
    for row in rows:
        assert f"{row['macro_auroc']:.3f} [{row['macro_auroc_low']:.3f}" in page.text
    assert "the pipeline that cxrbench grew from" in page.text
    assert f"cxrbench run --config {grid.runs / first['runs'][0]}/settings.toml" in page.text


def test_cases_are_shown_with_what_they_are(page):
    assert len(page.sources) == 3
    for kind in ("found: ", "missed: ", "false alarm: "):
        assert kind in page.text


def test_without_images_it_says_why_and_the_rest_stands(cli, grid, tmp_path):
    runs = Path(shutil.copytree(grid.runs, tmp_path / "runs"))
    said = cli(
        "report", "--runs", runs, "--output", tmp_path / "r.html", "--data", tmp_path / "nothing",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "no single images in the report" in said.err
    text = Page((tmp_path / "r.html").read_text()).text
    assert "The images cannot be shown: --data" in text
    assert "macro AUROC" in text


def test_seeds_that_are_named_one_by_one_are_one_row(grid):
    seeds = [str(grid.run_of("grid", seed)) for seed in (0, 1)]
    for names in (seeds, ["grid", seeds[0]], seeds[::-1]):
        report = gather_report(
            choose_rows(names, grid.runs),
            lambda rows: Chapter("cases", "none"),
            literature=False,
            display=SilentDisplay(),
        )
        (board,) = (one for one in report.chapters if one.key == "board")
        (row,) = board.sections[0].tables[0].rows
        assert row[1] == "grid"
        assert report.title.startswith("Benchmark of 1 recipe ")
        code = report.chapters[-1].code
        assert sum("--config" in line for line in code.splitlines()) == 2


def test_the_prior_alone_makes_a_report(cli, grid, tmp_path):
    said = cli(
        "report", "prior", "--runs", grid.runs, "--output", tmp_path / "r.html", "--json",
    )  # fmt: skip
    assert json.loads(said.out) == {"file": str(tmp_path / "r.html")}
    text = Page((tmp_path / "r.html").read_text()).text
    assert "There is only one row, so there is nothing to compare." in text
    assert "No run of these rows was trained by cxrbench, so there is no model." in text


def test_a_place_that_cannot_be_written_is_told(cli, grid, tmp_path):
    (tmp_path / "file").write_text("")
    said = cli("report", "prior", "--runs", grid.runs, "--output", tmp_path / "file" / "r.html")
    assert said.code == 2
    assert "cannot write the report" in said.err


def test_names_with_markup_are_text():
    odd = '<script>alert("&")</script>'
    svg = b'<?xml version="1.0"?>\n<svg id="a"><use xlink:href="#b"/><g id="b"/></svg>'
    chapter = Chapter(
        "board", odd, pictures=(Picture("svg", svg, odd), Picture("svg", svg, odd, odd)),
        notes=(odd,), code=odd,
    )  # fmt: skip
    text = report_page(Report(odd, odd, (odd,), (chapter,)))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 7
    parsed = Page(re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL))
    assert {"p1-a", "p1-b", "p2-a", "p2-b"} <= set(parsed.ids)
    assert {"#p1-b", "#p2-b"} <= set(parsed.links)
