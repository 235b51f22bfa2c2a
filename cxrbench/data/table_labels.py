"""Labels from the text of a table: one column per label, or all labels of an image in one cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from cxrbench.data.tables import HEADINGS, Columns, Table, names_in
from cxrbench.errors import DataError, SettingsError

if TYPE_CHECKING:
    import numpy as np

FINDINGS = "findings"
LABEL = "label:"

_STANDS_FOR: Mapping[str, float] = MappingProxyType(
    {"unknown": float("nan"), "ones": 1.0, "zeros": 0.0}
)
_SEPARATORS: Mapping[str, str] = MappingProxyType({"comma": ",", "space": " "})
_WORDS: Mapping[str, float] = MappingProxyType({"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0})
_BLANK = ("", "nan", "na")


@dataclass(frozen=True, eq=False)
class Labels:
    """``names`` (L,), ``values`` (N, L) float32 1, 0 or NaN, and notes, which quote no cell.

    ``ignored`` are names in cells that are none of the labels, sorted.
    """

    names: tuple[str, ...]
    values: np.ndarray
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelOptions:
    """How a table's labels are written, in the words that options of datasets have for it.

    ``findings`` names one column with all labels of an image, joined by ``separator``, of which
    ``labels`` can choose some, joined by ``+``; else ``labels`` names a column for each.
    ``uncertain`` is what -1 stands for, ``blank`` what an empty cell stands for.
    """

    labels: str = ""
    findings: str = ""
    separator: str = "|"
    uncertain: Literal["unknown", "ones", "zeros"] = "unknown"
    blank: Literal["unknown", "zeros"] = "unknown"

    def __post_init__(self) -> None:
        """Raise `SettingsError` for options that cannot work."""
        if not self.separator:
            raise SettingsError("separator is empty", expected="the separator of labels, such as |")

    @property
    def joiner(self) -> str:
        """What ``separator`` means; ``comma`` and ``space`` stand for these."""
        return _SEPARATORS.get(self.separator, self.separator)

    def columns(self, table: Table, taken: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
        """What columns of labels are called, by keys for `Table.columns`.

        Without options it is the usual column of findings, else every column but those ``taken``,
        which are names in small or capital letters.

        Raises
        ------
        DataError : a column that an option names is not there, or none is left for labels.
        """
        joined = {FINDINGS: (self.findings,) if self.findings else HEADINGS["findings"]}
        in_one_column = bool(table.places(joined))
        if self.findings and not in_one_column:
            raise table.missing_column(joined[FINDINGS])
        named = _keys(names_in(self.labels))
        there = table.places(named)
        if named and not self.findings and (there or not in_one_column):
            for key, names in named.items():
                if key not in there:
                    raise table.missing_column(names)
            return named
        if in_one_column:
            return joined
        known = {name.strip().lower() for name in taken}
        rest = [title for title in table.header if title and title.lower() not in known]
        if not rest:
            raise _no_labels(table)
        return _keys(rest)

    def read(self, columns: Columns) -> Labels:
        """The labels in the columns that `columns` named.

        In columns of their own: 1, 0, -1 or nothing, also yes and no. In one column those that a
        cell does not name are absent; their order is that of ``labels``, else they are sorted.

        Raises
        ------
        DataError : a cell holds something else, or no row names a label, or one of ``labels``.
        """
        if FINDINGS in columns.cells:
            return self._in_one_column(columns)
        return self._in_several(columns)

    def _in_several(self, columns: Columns) -> Labels:
        import numpy as np

        keys = [key for key in columns.cells if key.startswith(LABEL)]
        values = np.empty((len(columns), len(keys)), np.float32)
        for place, key in enumerate(keys):
            column = columns.cells[key]
            known = {text: self._value(text) for text in set(column)}
            odd = next((text for text in column if known[text] is None), None)
            if odd is not None:
                raise _no_label(columns, key, odd)
            values[:, place] = [known[text] for text in column]
        return Labels(tuple(columns.titles[key] for key in keys), values)

    def _in_one_column(self, columns: Columns) -> Labels:
        import numpy as np

        column = columns.cells[FINDINGS]
        counts = Counter(column)
        names_of = {text: self._names(text) for text in counts}
        there = {name for several in names_of.values() for name in several}
        chosen = names_in(self.labels) or tuple(sorted(there))
        if not chosen or not there.issuperset(chosen):
            raise _no_names(columns, sorted(set(chosen) - there), sorted(there))
        vectors = {text: self._vector(several, chosen) for text, several in names_of.items()}
        values = np.array([vectors[text] for text in column], np.float32)
        ignored = tuple(sorted(there - set(chosen)))
        rows = sum(counts[text] for text in counts if not names_of[text].isdisjoint(ignored))
        note = f"{columns.titles[FINDINGS]}: {len(ignored)} names in {rows:,} rows are not labels"
        return Labels(chosen, values, ignored, (note,) if ignored else ())

    def _value(self, text: str) -> float | None:
        if text.lower() in _BLANK:
            return _STANDS_FOR[self.blank]
        try:
            value = _WORDS[text.lower()] if text.lower() in _WORDS else float(text)
        except ValueError:
            return None
        if value == -1:
            return _STANDS_FOR[self.uncertain]
        return value if value in (0, 1) else None

    def _names(self, text: str) -> frozenset[str]:
        return frozenset(name.strip() for name in text.split(self.joiner) if name.strip())

    def _vector(self, names: frozenset[str], chosen: Sequence[str]) -> list[float]:
        return [float(name in names) if names else _STANDS_FOR[self.blank] for name in chosen]


def _keys(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return {f"{LABEL}{name}": (name,) for name in names}


def _no_labels(table: Table) -> DataError:
    return DataError(
        f"{table.path} has no labels",
        expected="a column for each label, or one with all labels of an image",
        found=f"the columns {', '.join(map(repr, table.header[:20]))}",
        fix="name them with the dataset's options: labels=A+B, or findings=COLUMN",
    )


def _no_label(columns: Columns, key: str, text: str) -> DataError:
    line = columns.lines[columns.cells[key].index(text)]
    return DataError(
        f"Line {line} of {columns.path} has no label in the column {columns.titles[key]!r}",
        expected="1 (present), 0 (absent), -1 (uncertain) or nothing (unknown)",
        found=repr(text[:100]),
        fix="correct that cell; if the column is no label, name those that are with the dataset's "
        "option: labels=A+B",
    )


def _no_names(columns: Columns, missing: Sequence[str], there: Sequence[str]) -> DataError:
    title = columns.titles[FINDINGS]
    return DataError(
        f"{columns.path} names no label{' ' + repr(missing[0]) if missing else ''}",
        expected=f"a column of this name, or the name in the column {title!r}"
        if missing
        else f"names in the column {title!r}",
        found=", ".join(map(repr, there[:20])) or f"{len(columns):,} rows without any",
        fix="correct labels=… (joined by +), or name another column: findings=COLUMN",
    )
