"""A cohort's checkup as a report for people, or as JSON with every image named."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cxrbench.output.show import plain_console

if TYPE_CHECKING:
    from cxrbench.checks.checkup import Checkup
    from cxrbench.checks.counts import Counts, PartCount, Spread
    from cxrbench.checks.finding import Finding
    from cxrbench.checks.shortcuts import Shortcut

_GROUPS = (
    ("error", "Errors: these make a benchmark wrong", "bold red"),
    ("warning", "Warnings: look at these", "bold yellow"),
    ("info", "Worth knowing", "bold"),
)
_EXAMPLES = 3
_PAIRS = 8
_TOLD = 0.55  # AUROC of a label worth naming


def print_checkup(checkup: Checkup, output: str) -> None:
    """Print the checkup as ``table`` or ``json``; the last carries nothing else."""
    if output == "json":
        print(json.dumps(as_json(checkup), indent=2, allow_nan=False))
        return
    console = plain_console()
    for severity, title, style in _GROUPS:
        _print_findings(console, checkup.findings, severity, Text(title, style=style))
    if checkup.counts is not None:
        _print_counts(console, checkup.counts)
    if checkup.shortcuts:
        _print_shortcuts(console, checkup.shortcuts)
    console.print(_verdict(checkup))


def as_json(checkup: Checkup) -> dict[str, Any]:
    """Everything as plain values, with all images of every finding."""
    findings = [
        {
            "check": found.check,
            "severity": found.severity.value,
            "summary": found.summary,
            "fix": found.fix,
            "count": len(found.items),
            "items": [asdict(item) for item in found.items],
        }
        for found in checkup.findings
    ]
    return {"sound": checkup.sound, **asdict(checkup), "findings": findings}


def _print_findings(
    console: Console, findings: Sequence[Finding], severity: str, title: Text
) -> None:
    found = [finding for finding in findings if finding.severity == severity]
    if not found:
        return
    console.print(title)
    for finding in found:
        _print_indented(console, f"{finding.summary} [{finding.check}]", 2)
        for line in _examples(finding):
            _print_indented(console, line if severity != "info" else line.splitlines()[0], 6)
        if severity != "info":
            _print_indented(console, f"to do: {finding.fix}", 6)
    console.print()


def _print_indented(console: Console, text: str, by: int) -> None:
    for line in Text(text).wrap(console, console.width - by):
        console.print(f"{' ' * by}{line.plain.rstrip()}")


def _examples(finding: Finding) -> Iterator[str]:
    """A few places of a finding, those with the same detail together."""
    by_detail: dict[str, list[str]] = defaultdict(list)
    for item in finding.items:
        by_detail[item.detail] += [", ".join(item.image_ids)] if item.image_ids else []
    shown = list(by_detail.items())[:_EXAMPLES]
    for detail, images in shown:
        yield f"{detail}: {_some(images)}" if images else detail
    if len(by_detail) > len(shown):
        yield f"… and {len(by_detail) - len(shown):,} more (all in --json)"


def _some(images: Sequence[str]) -> str:
    more = len(images) - _EXAMPLES
    return ", ".join(images[:_EXAMPLES]) + (
        f" and {more:,} more (all in --json)" if more > 0 else ""
    )


def _print_counts(console: Console, counts: Counts) -> None:
    console.print(Text("Counts", style="bold"))
    lines = {
        "images": f"{counts.images:,}",
        "patients": _patients(counts),
        "ages": _spread(counts.ages),
        "views": _shares(counts.views, counts.images),
        "sexes": _shares(counts.sexes, counts.images),
        "boxes": f"{counts.boxes:,}",
        "split": ", ".join(map(_part, counts.parts)),
        "files": _files(counts.files),
        "together": _together(counts),
    }
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, text in lines.items():
        if text:
            table.add_row(name, text)
    console.print(table)
    console.print()
    console.print(_label_table(counts))
    console.print()


def _patients(counts: Counts) -> str:
    if counts.patients is None:
        return "unknown"
    return f"{counts.patients:,}, images of each: {_spread(counts.images_per_patient)}"


def _part(part: PartCount) -> str:
    known = "" if part.patients is None else f" ({part.patients:,} patients)"
    return f"{part.part} {part.images:,}{known}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "none known"
    values = [spread.least, spread.quarter, spread.median, spread.three_quarters, spread.most]
    least, quarter, median, three_quarters, most = (f"{value:g}" for value in values)
    return f"{least} to {most}, median {median}, half of them {quarter} to {three_quarters}"


def _shares(numbers: Mapping[str, int], total: int) -> str:
    return ", ".join(f"{name} {n:,} ({n / total:.0%})" for name, n in numbers.items())


def _files(numbers: Mapping[str, int]) -> str:
    shown = [f"{kind}: {number:,}" for kind, number in list(numbers.items())[:_EXAMPLES]]
    more = len(numbers) - len(shown)
    return "; ".join(shown) + (f" and {more:,} more kinds (all in --json)" if more else "")


def _together(counts: Counts) -> str:
    """The pairs of labels that are most often on one image."""
    names = [label.label for label in counts.labels]
    pairs = combinations(range(len(names)), 2)
    ranked = sorted(((counts.together[a][b], a, b) for a, b in pairs), key=lambda p: (-p[0], p[1:]))
    some = [f"{names[a]} and {names[b]} {n:,}" for n, a, b in ranked[:_PAIRS] if n]
    return "; ".join(some)


def _label_table(counts: Counts) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("label", overflow="fold", min_width=12)
    parts = [part.part for part in counts.parts]
    patients = ["patients"] if counts.patients is not None else []
    for name in ("images", "share", *patients, "unknown", *parts):
        table.add_column(name, justify="right", no_wrap=True)
    for label in counts.labels:
        known = [] if label.patients is None else [label.patients]
        numbers = [*known, label.unknown, *(label.parts[part] for part in parts)]
        share = f"{label.images / counts.images:.1%}"
        table.add_row(label.label, f"{label.images:,}", share, *(f"{n:,}" for n in numbers))
    return table


def _print_shortcuts(console: Console, shortcuts: Sequence[Shortcut]) -> None:
    console.print(Text("What is told without a look at a film", style="bold"))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("from", min_width=17)
    table.add_column("macro AUROC", justify="right", no_wrap=True)
    table.add_column("most of")
    for shortcut in shortcuts:
        macro = "–" if shortcut.macro is None else f"{shortcut.macro:.3f}"
        best = sorted(shortcut.per_label.items(), key=lambda item: -item[1])[:_EXAMPLES]
        most = ", ".join(f"{name} {score:.2f}" for name, score in best if score >= _TOLD)
        table.add_row(shortcut.features, macro, most)
    console.print(table)
    console.print()


def _verdict(checkup: Checkup) -> str:
    if checkup.looked_at is not None:
        looked = f"{checkup.looked_at:,} images"
    else:
        looked = "nothing" if checkup.counts is None else "the table alone"
    numbers = {severity: 0 for severity, *_ in _GROUPS}
    for finding in checkup.findings:
        numbers[finding.severity.value] += 1
    told = f"{numbers['error']} errors, {numbers['warning']} warnings"
    return f"{'sound' if checkup.sound else 'not sound'}: {told}; looked at {looked}"
