"""Boards as documents: what is in a cell arrives as it is, and nothing in it is markup."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from rich.console import Console

from cxrbench.output.formats import WRITERS, print_section
from cxrbench.output.sections import CellTable, Column, Section, text_column

NASTY = (
    r"<script>alert('1')</script> & \input{x} 50 % $a_b$ #1 {x} ~ ^ | `code` *b* [t](u) \\ \" –±×…"
)
TABLE = CellTable(
    (Column("rank"), text_column("recipe"), Column("macro AUROC")),
    (("1", NASTY, "0.677 [0.624, 0.725]"), ("–", "[first] *", "-0.013 [-0.026, +0.052]")),
)
SECTIONS = (
    Section(f"131 test images · {NASTY}", (TABLE, TABLE), (f"a note: {NASTY}", "two\nlines")),
    Section("nothing yet", ()),
)


class Page(HTMLParser):
    """The texts of a page by tag, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1], data))


def test_html_is_whole_escaped_and_needs_nothing_else():
    page = Page(WRITERS["html"](SECTIONS))
    assert page.open == []
    names = [tag for tag, _ in page.tags]
    assert (names.count("table"), names.count("section"), names.count("h2")) == (2, 2, 2)
    assert not {"script", "img", "link", "a", "iframe"} & set(names)
    assert not any({"src", "href"} & set(attributes) for _, attributes in page.tags)
    assert [text for tag, text in page.texts if tag == "td"][:2] == ["1", TABLE.rows[0][2]]
    assert [text for tag, text in page.texts if tag == "th"][3:5] == [NASTY, "[first] *"]
    scopes = [a.get("scope") for tag, a in page.tags if tag == "th"]
    assert scopes == 2 * (3 * ["col"] + 2 * ["row"])
    assert ("p", f"a note: {NASTY}") in page.texts


def test_markdown_is_tables_as_github_reads_them():
    blocks = WRITERS["markdown"](SECTIONS).strip().split("\n\n")
    assert [block[:4] for block in blocks] == ["### ", "| ra", "| ra", "- a ", "### "]
    head, rule, first, second = blocks[1].splitlines()
    assert head == "| rank | recipe | macro AUROC |"
    assert rule == "| ---: | --- | ---: |"
    for line in (head, rule, first, second):
        assert len(re.split(r"(?<!\\)(?:\\\\)*\|", line)) == 5
    assert second == r"| – | [first] \* | -0.013 [-0.026, +0.052] |"
    assert r"\<script\>" in first
    assert r"[t]\(u)" in first
    assert blocks[3].splitlines()[1] == "- two lines"


@pytest.fixture(scope="module")
def renderer():
    return pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")


def test_a_markdown_renderer_shows_the_texts(renderer):
    page = Page(renderer.render(WRITERS["markdown"](SECTIONS)))
    names = [tag for tag, _ in page.tags]
    assert names.count("table") == 2
    assert not {"script", "a", "em", "strong", "code"} & set(names)
    cells = " ".join(text for tag, text in page.texts if tag == "td")
    assert "<script>alert('1')</script>" in cells


# What a LaTeX document may hold outside of commands: no character that means something there.
_COMMANDS = re.compile(
    r"\\(?:begin|end)\{\w+\*?\}|\\[a-z]+(?![a-z])(?:\{\})?|\\[&%$#_{}]|\$[-\\^a-z0-9]*\$|\\\\"
)


def test_latex_is_balanced_and_escaped():
    text = WRITERS["latex"](SECTIONS)
    body = "\n".join(text.splitlines()[1:])
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", body):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    assert body.count(r"\toprule") == body.count(r"\bottomrule") == 2
    rows = re.findall(r"^(.*) \\\\$", body, flags=re.MULTILINE)
    assert len(rows) == 6
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == 2
        assert not set('%#~^_\\<>|"') & set(_COMMANDS.sub("", row))
    assert "\n" + r"-- & [first] * & $-$0.013 [$-$0.026, +0.052] \\" in body
    first = CellTable((text_column("recipe"),), (("[first]",), ("*",)))
    assert "\n{}[first] \\\\\n{}* \\\\\n" in WRITERS["latex"]([Section("", (first,))])
    assert r"\textbackslash{}input\{x\}" in body
    assert body.count("{") == body.count("}")


WIDE = CellTable(
    (Column("rank"), text_column("recipe"), *(Column(f"measure {n}") for n in range(4))),
    tuple(
        ("1", name, *["0.707 [0.649, 0.758]"] * 4)
        for name in ("mobilenet:alpha=0.25,permuted=true+orb:words=512+sift@concat", "prior")
    ),
)


def test_each_latex_table_has_a_label_of_its_own():
    board = Section("nih (98ab) · 55 images", (WIDE,))
    text = WRITERS["latex"]([board, board])
    assert r"\label{tab:nih-98ab-55-images}" in text
    assert r"\label{tab:nih-98ab-55-images-2}" in text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("options", ["a4paper", "a4paper,twocolumn"])
def test_latex_compiles_and_no_table_is_wider_than_the_text(tmp_path, options):
    note = "Weights of all backbones: mobilenet_0.25_224_notop.weights.h5."
    sections = [*SECTIONS, Section("A board", (WIDE,), (note,))]
    document = (
        f"\\documentclass[{options}]{{article}}\\usepackage{{booktabs}}\\usepackage[T1]{{fontenc}}\n"
        f"\\begin{{document}}{WRITERS['latex'](sections)}\\end{{document}}\n"
    )
    (tmp_path / "board.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "board.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "too large" not in done.stdout


@pytest.mark.parametrize("is_terminal", [True, False])
def test_notes_fold_in_a_terminal_alone_and_never_within_quotes(is_terminal):
    path = "--data '/data/a cohort with a long name, in several words/'"
    note = f"Next: cxrbench run resnet+orb {path} and then look at the board"
    console = Console(file=io.StringIO(), width=40, force_terminal=is_terminal, highlight=False)
    print_section(console, Section("", (), (note,)))
    lines = console.file.getvalue().split("\n")
    assert (note in lines) is not is_terminal
    if is_terminal:
        assert path.removeprefix("--data ") in lines
        assert " ".join(lines).strip() == note


ODD = "a\x1b[2J\x9b\u202eb\r\nc"
SHOWN = r"a\x1b[2J\x9b\u202eb\r\nc"


def test_a_terminal_obeys_no_name(capsys):
    from cxrbench.output.sections import visible_section
    from cxrbench.output.show import show

    class Shown:
        def sections(self):
            columns = (text_column(ODD), Column("n"))
            return (Section(ODD, (CellTable(columns, ((ODD, "1"),)),), (ODD,)),)

    for output in ("table", "markdown", "html", "latex"):
        show(Shown(), output)
        text = capsys.readouterr().out
        assert not set(text) & set("\x1b\x9b\u202e\r"), output
    section = visible_section(Shown().sections()[0])
    assert section.tables[0].rows == ((SHOWN, "1"),)
    assert section.title == SHOWN.replace(r"\n", "\n")  # texts may have lines


def test_progress_and_errors_show_no_control_characters(capsys):
    from cxrbench.cli import _fail
    from cxrbench.output.display import RichDisplay

    display = RichDisplay()
    display.say(ODD)
    with display.task(ODD, 1) as advance:
        advance(1, ODD)
    with pytest.raises(SystemExit):
        _fail(ODD)
    assert r"a\x1b[2J\x9b\u202eb\r" in (told := capsys.readouterr().err)
    assert not set(told) & set("\x9b\u202e")
    assert "\x1b[2J" not in told


FORMULAS = ("=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\t=1", "'=1", "''@x")
TEXTS = ("-0.5", "+1", "1e-3", "-inf", "Mass", "'tis", "a=b", "", "--", "'")


@pytest.mark.parametrize("text", [*FORMULAS, *TEXTS])
def test_cells_that_a_spreadsheet_computes_are_written_as_text(text):
    from cxrbench.output.sections import as_csv_cell, from_csv_cell

    cell = as_csv_cell(text)
    assert (cell == f"'{text}") is (text in FORMULAS or text == "--")
    assert from_csv_cell(cell) == text
    assert as_csv_cell(-0.5) == -0.5


def test_a_csv_has_no_formulas(capsys):
    from cxrbench.output.show import show

    class Lines:
        def records(self):
            return [{"image": "=HYPERLINK(1)", "score": -0.5, "unknown": None}]

    show(Lines(), "csv")
    assert capsys.readouterr().out == "image,score,unknown\n'=HYPERLINK(1),-0.5,\n"
