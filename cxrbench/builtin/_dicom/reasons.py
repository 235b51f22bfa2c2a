"""Why files and rows were left out, told to the user by reason and count, never by name."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cxrbench import DataError

if TYPE_CHECKING:
    from cxrbench.builtin._dicom.match import Match
    from cxrbench.builtin._dicom.scan import Scan

_SHOWN = 12


def told_reasons(reasons: list[str]) -> tuple[str, ...]:
    """Lines that count the reasons, the most frequent first; none where nothing was left out."""
    if not reasons:
        return ()
    ranked = Counter(reasons).most_common()
    told = [f"  {count:,}: {reason}" for reason, count in ranked[:_SHOWN]]
    if len(ranked) > _SHOWN:
        told.append(f"  and {len(ranked) - _SHOWN} more reasons")
    return (f"left out {len(reasons):,} files or rows (each is in excluded.csv):", *told)


def nothing_to_use(found: Scan, matched: Match, rows: int) -> DataError:
    """The error for an archive of which nothing is left."""
    reasons = [reason for _, reason in (*found.rejected, *matched.files)]
    return DataError(
        "dicom: not one file is a frontal chest radiograph with a row in the table",
        expected="files that the table names by path, name or SOP Instance UID",
        found=f"{len(found.radiographs):,} radiographs, {rows:,} rows; "
        + "; ".join(line.strip() for line in told_reasons(reasons)[1:]),
        fix="check path and table; see unknown=accept for headers that say little",
    )
