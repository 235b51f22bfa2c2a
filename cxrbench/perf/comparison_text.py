"""A comparison of two sides' speed as a table, as Markdown for a pull request, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.output.formats import markdown_text, print_section
from cxrbench.output.sections import CellTable, Column, Section, text_column
from cxrbench.output.show import plain_console
from cxrbench.perf.gate import BASE, HEAD, as_json

if TYPE_CHECKING:
    from cxrbench.perf.gate import SpeedComparison
    from cxrbench.perf.verdict import Verdict

_COLUMNS = (
    text_column("path", 10),
    text_column("verdict", 9),
    Column("change %"),
    Column("95 % interval"),
    Column("base"),
    Column("head"),
    Column("base again"),
    Column("pairs"),
)
_CLOCKS = {"cpu": "processor time", "wall": "wall time", "instructions": "instructions counted"}


def print_comparison(found: SpeedComparison, *, as_json_text: bool) -> None:
    """Print it on standard output; as JSON, with all samples, it carries nothing else."""
    if as_json_text:
        print(json.dumps(as_json(found)))
        return
    out = plain_console()
    for line in _header(found):
        out.print(line, soft_wrap=True)
    out.print()
    print_section(out, _section(found))


def comparison_markdown(found: SpeedComparison) -> str:
    """A heading with the outcome, the table and its notes, for a comment."""
    section = _section(found)
    notes = (*_header(found), *section.notes)
    return markdown_text([Section(section.title, section.tables, notes)])


def outcome(found: SpeedComparison) -> str:
    """The whole result in one line."""
    if found.slower():
        return f"Slower: {', '.join(found.slower())}"
    if found.failed():
        return f"Could not run: {', '.join(found.failed())}"
    if not found.verdicts:
        return "Nothing was compared"
    unclear = found.in_state("cannot tell")
    told = "No path is slower"
    if len(unclear) == len(found.verdicts):
        told = "Cannot tell of any path"
    elif unclear:
        told += f"; cannot tell of {', '.join(unclear)}"
    if found.in_state("faster"):
        told += f"; faster: {', '.join(found.in_state('faster'))}"
    return told


def _header(found: SpeedComparison) -> Iterator[str]:
    yield f"base: {found.base}"
    yield f"head: {found.head}"
    machine = found.machine
    measured = f", measured for {found.seconds:.0f} s" if found.paired else ""
    yield (
        f"{machine.processor}, {machine.cores} cores, {machine.system}; "
        f"{_CLOCKS[found.options.clock]}, one thread{measured}"
    )
    yield _versions(found)
    yield from (f"note: {note}" for note in found.notes)


def _versions(found: SpeedComparison) -> str:
    one, other = found.versions
    if one == other:
        return ", ".join(f"{name} {version}" for name, version in one.items())
    differing = [
        f"{name} {one.get(name, 'not installed')} and {other.get(name, 'not installed')}"
        for name in {**one, **other}
        if one.get(name) != other.get(name)
    ]
    return f"DIFFERENT VERSIONS on base and head: {', '.join(differing)}"


def _section(found: SpeedComparison) -> Section:
    rows = tuple(_row(found, path, verdict) for path, verdict in found.verdicts.items())
    return Section(outcome(found), (CellTable(_COLUMNS, rows),), tuple(_notes(found)))


def _row(found: SpeedComparison, path: str, verdict: Verdict) -> tuple[str, ...]:
    seconds = found.samples.by(path, found.options.clock)
    base, head = (float(np.median(seconds[..., turn])) for turn in (BASE, HEAD))
    return (
        path,
        verdict.state,
        _percent(verdict.ratio),
        f"[{_percent(verdict.low)}, {_percent(verdict.high)}]",
        _cost(base, found),
        _cost(head, found),
        f"{_percent(verdict.control)} ± {50 * (verdict.control_high - verdict.control_low):.1f}",
        str(seconds.shape[0] * seconds.shape[1]),
    )


def _notes(found: SpeedComparison) -> Iterator[str]:
    for path in found.in_state("cannot tell"):
        yield f"{path}: cannot tell: {found.verdicts[path].why}"
    for path, troubles in found.absent.items():
        for trouble in troubles:
            yield f"{path}: not compared, {trouble.state} on {trouble.side}: {trouble.told}"
    threshold = f"{100 * found.options.threshold:g} %"
    yield (
        f"slower, faster: by more than {threshold}, with an error rate of 1 % over all paths; "
        f"no change: less than {threshold} either way. base again: base beside itself, its change "
        "and half of its 95 % interval."
    )
    if found.interrupted:
        yield "Interrupted: this is what was complete by then."


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}"


def _cost(value: float, found: SpeedComparison) -> str:
    return f"{value / 1e6:.4g} M" if found.options.counts else f"{1e3 * value:.3g} ms"
