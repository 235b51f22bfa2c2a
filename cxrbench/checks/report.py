"""The result of checking a cohort: as tables for people, and as JSON with every image named."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from cxrbench.checks.counts import Counts, Distribution, PartCount
from cxrbench.checks.finding import Finding, Severity
from cxrbench.checks.shortcuts import Shortcut
from cxrbench.data.tables import shortened
from cxrbench.output.sections import CellTable, Column, Section, counted, number, text_column

_TITLES = {
    Severity.error: "Errors: these invalidate a benchmark",
    Severity.warning: "Warnings: look at these",
    Severity.info: "Worth knowing",
}
_MOST_IMAGES, _MOST_DETAILS, _MOST_PAIRS = 3, 20, 8
_MOST_CHARACTERS = 1000  # of a line: names in a table may be endless
_NOTABLE = 0.55  # AUROC of a label worth naming


@dataclass(frozen=True)
class Checkup:
    """The findings of all checks, and the data that they are about.

    ``counts`` is None if the dataset could not be loaded. ``looked_at`` is the number of images
    that were read, None if none should be. ``split``, ``split_seed`` and ``split_hash`` are those
    of the split that the checks use.
    """

    dataset: str
    path: str
    findings: tuple[Finding, ...]
    counts: Counts | None
    shortcuts: tuple[Shortcut, ...]
    looked_at: int | None
    split: str
    split_seed: int
    split_hash: str | None

    @property
    def sound(self) -> bool:
        """No finding invalidates a benchmark."""
        return all(finding.severity is not Severity.error for finding in self.findings)

    def sections(self) -> tuple[Section, ...]:
        """Findings by severity, counts, shortcuts, and the conclusion in one line."""
        by_severity = {
            title: tuple(_finding(one) for one in self.findings if one.severity is severity)
            for severity, title in _TITLES.items()
        }
        return (
            *(Section(title, (), notes) for title, notes in by_severity.items() if notes),
            *([] if self.counts is None else [_counts(self.counts)]),
            *([_shortcuts(self.shortcuts)] if self.shortcuts else []),
            Section(self._conclusion(), ()),
        )

    def records(self) -> list[dict[str, Any]]:
        """One line for each place of each finding."""
        return [
            {
                **{"check": finding.check, "severity": finding.severity.value},
                **{"images": " ".join(item.image_ids), "detail": item.detail},
                **{"summary": finding.summary, "fix": finding.fix},
            }
            for finding in self.findings
            for item in finding.items
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything, with all images of every finding."""
        findings = [
            {
                "check": finding.check,
                "severity": finding.severity.value,
                "summary": finding.summary,
                "fix": finding.fix,
                "count": len(finding.items),
                "items": [asdict(item) for item in finding.items],
            }
            for finding in self.findings
        ]
        return {"sound": self.sound, **asdict(self), "findings": findings}

    def _conclusion(self) -> str:
        numbers = Counter(finding.severity for finding in self.findings)
        errors, warnings = numbers[Severity.error], numbers[Severity.warning]
        if self.looked_at is not None:
            scope = counted(self.looked_at, "image")
        else:
            scope = "nothing" if self.counts is None else "the table only"
        return f"{counted(errors, 'error')}, {counted(warnings, 'warning')}; checked {scope}"


def _finding(finding: Finding) -> str:
    lines = [f"{finding.summary} [{finding.check}]", *_examples(finding)]
    if finding.severity is not Severity.info:
        lines.append(f"to do: {finding.fix}")
    return "\n    ".join(lines)


def _examples(finding: Finding) -> Iterator[str]:
    """A few places of a finding, those with the same detail together."""
    by_detail: dict[str, list[str]] = defaultdict(list)
    for item in finding.items:
        by_detail[item.detail] += [", ".join(item.image_ids)] if item.image_ids else []
    most = _MOST_IMAGES if any(by_detail.values()) else _MOST_DETAILS
    for detail, images in list(by_detail.items())[:most]:
        lines = detail.splitlines()
        if finding.severity is Severity.info:
            del lines[1:]
        line = "\n".join(map(_cut, lines))
        yield f"{line}: {_some(images)}" if images else line
    if len(by_detail) > most:
        yield f"… and {len(by_detail) - most:,} more (all in --json)"


def _cut(line: str) -> str:
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"


def _some(images: Sequence[str]) -> str:
    more = len(images) - _MOST_IMAGES
    rest = f" and {more:,} more (all in --json)" if more > 0 else ""
    return ", ".join(map(shortened, images[:_MOST_IMAGES])) + rest


def _counts(counts: Counts) -> Section:
    lines = {
        "images": f"{counts.images:,}",
        "patients": _patients(counts),
        "ages": f"{_spread(counts.ages)} years" if counts.ages else "unknown",
        "views": _shares(counts.views, counts.images),
        "sexes": _shares(counts.sexes, counts.images),
        "boxes": f"{counts.boxes:,}",
        "split": ", ".join(map(_part, counts.parts)),
        "files": _files(counts.files),
        "pairs": _pairs(counts),
    }
    columns = (text_column("count of", 8), text_column("value", 20))
    rows = tuple((name, text) for name, text in lines.items() if text)
    return Section("Counts", (CellTable(columns, rows), _labels(counts)))


def _patients(counts: Counts) -> str:
    if counts.patients is None:
        return "unknown"
    return f"{counts.patients:,}; images per patient: {_spread(counts.images_per_patient)}"


def _part(part: PartCount) -> str:
    known = "" if part.patients is None else f" ({counted(part.patients, 'patient')})"
    return f"{part.part} {part.images:,}{known}"


def _spread(spread: Distribution | None) -> str:
    if spread is None:
        return "unknown"
    least, quarter, median, three_quarters, most = (
        f"{value:.0f}" if value >= 10 else f"{value:g}"
        for value in list(asdict(spread).values())[1:]
    )
    return f"{least} to {most}, median {median}, IQR {quarter} to {three_quarters}"


def _shares(numbers: Mapping[str, int], total: int) -> str:
    return ", ".join(f"{name} {n:,} ({n / total:.0%})" for name, n in numbers.items())


def _files(numbers: Mapping[str, int]) -> str:
    shown = [f"{kind}: {count:,}" for kind, count in list(numbers.items())[:_MOST_IMAGES]]
    more = len(numbers) - len(shown)
    return "; ".join(shown) + (f" and {more:,} more kinds (all in --json)" if more else "")


def _pairs(counts: Counts) -> str:
    """The pairs of labels that are most often on one image."""
    names = [shortened(label.label) for label in counts.labels]
    pairs = combinations(range(len(names)), 2)
    ranked = sorted(((counts.together[a][b], a, b) for a, b in pairs), key=lambda p: (-p[0], p[1:]))
    return "; ".join(f"{names[a]} and {names[b]} {n:,}" for n, a, b in ranked[:_MOST_PAIRS] if n)


def _labels(counts: Counts) -> CellTable:
    parts = [part.part for part in counts.parts]
    patients = ["patients"] if counts.patients is not None else []
    columns = (
        text_column("label", 12),
        *map(Column, ("images", "share", *patients, "unknown", *parts)),
    )
    rows = []
    for label in counts.labels:
        known = [] if label.patients is None else [label.patients]
        numbers = [*known, label.unknown, *(label.parts[part] for part in parts)]
        share = f"{label.images / counts.images:.1%}"
        rows.append(
            (shortened(label.label), f"{label.images:,}", share, *(f"{n:,}" for n in numbers))
        )
    return CellTable(columns, tuple(rows))


def _shortcuts(shortcuts: Sequence[Shortcut]) -> Section:
    columns = (text_column("from", 17), Column("macro AUROC"), text_column("most for", 20))
    rows = []
    for shortcut in shortcuts:
        best = sorted(shortcut.per_label.items(), key=lambda item: -item[1])[:_MOST_IMAGES]
        most = ", ".join(
            f"{shortened(name)} {score:.2f}" for name, score in best if score >= _NOTABLE
        )
        rows.append((shortcut.features, number(shortcut.macro, ".3f"), most))
    return Section("What file properties alone predict", (CellTable(columns, tuple(rows)),))
