"""Labels from the text of a table: one column per label, or all labels of an image in one cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from cxrbench.data.finding_cells import (
    AUTO,
    LIKELY,
    RULES,
    FindingCells,
    join_labels,
    joiner_of,
    label_key,
    loose_key,
    no_readers,
    read_cells,
)
from cxrbench.data.record_cells import BOX_HEADINGS, HEADINGS, LABEL_WORDS, OTHER_HEADINGS
from cxrbench.data.tables import Columns, Table, has_no_name, names_in, shortened
from cxrbench.errors import DataError, SettingsError

if TYPE_CHECKING:
    import numpy as np

FINDINGS = "findings"
LABEL = "label:"
READER = "reader"
BOX = "box"

_STANDS_FOR: Mapping[str, float] = MappingProxyType(
    {"unknown": float("nan"), "ones": 1.0, "zeros": 0.0}
)
_BLANK = ("", "nan", "na", "n/a", "null", "none")

DEFAULT_NO_FINDING = "No Finding"

RowRule = Literal["auto", "agree", "any", "majority", "all"]


@dataclass(frozen=True, eq=False)
class Labels:
    """``names`` (L,), ``values`` (N, L) float32 1, 0 or NaN, and notes, which quote no cell.

    ``ignored`` are names in cells that are none of the labels, sorted. ``no_finding`` is the label
    for no finding, or None.
    """

    names: tuple[str, ...]
    values: np.ndarray
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    no_finding: str | None = None


@dataclass(frozen=True)
class LabelOptions:
    """How a table's labels are written, in the words that options of datasets have for it.

    ``findings`` names one column with all labels of an image, joined by ``separator``, of which
    ``labels`` can choose some, joined by ``+``; else ``labels`` names a column for each.
    ``uncertain`` is what -1 stands for, ``blank`` what an empty cell stands for. ``rows`` says what
    several rows of one image mean: they ``agree``, or a label is present if ``any``, the
    ``majority`` or ``all`` of the readers in the column ``reader`` name it. ``auto`` is ``any`` in
    a table with a column of readers or boxes, else ``agree``. ``no_finding`` is the label for no
    finding, in any capitals.
    """

    labels: str = ""
    findings: str = ""
    separator: str = AUTO
    uncertain: Literal["unknown", "ones", "zeros"] = "unknown"
    blank: Literal["unknown", "zeros"] = "unknown"
    rows: RowRule = "auto"
    reader: str = ""
    no_finding: str = DEFAULT_NO_FINDING

    def __post_init__(self) -> None:
        """Raise `SettingsError` for options that cannot work."""
        if not self.separator:
            raise SettingsError("separator is empty", expected="the separator of labels, such as |")

    @property
    def joiner(self) -> str:
        """What ``separator`` means; ``comma`` and ``space`` stand for these, ``auto`` for ``|``."""
        return "|" if self.separator == AUTO else joiner_of(self.separator)

    def columns(self, table: Table, taken: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
        """What columns of labels are called, by keys for `Table.columns`.

        Without options it is the usual column of findings, else every column but those ``taken``,
        which are names in small or capital letters.

        Raises
        ------
        DataError : a column that an option names is not there, or none is left for labels.
        """
        readers = {
            READER: (self.reader,) if self.reader else HEADINGS["reader"],
            BOX: BOX_HEADINGS[:1],
        }
        places = table.places(readers)
        if self.reader and READER not in places:
            raise table.missing_column(readers[READER])
        more = {key: names for key, names in readers.items() if key in places}
        return {**self._label_columns(table, [*taken, self.reader]), **more}

    def _label_columns(self, table: Table, taken: Iterable[str]) -> dict[str, tuple[str, ...]]:
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
        usual = [name for key, names in HEADINGS.items() if key != FINDINGS for name in names]
        known = {name.strip().lower() for name in (*taken, *usual, *BOX_HEADINGS, *OTHER_HEADINGS)}
        rest = [t for t in table.header if not has_no_name(t) and t.lower() not in known]
        if not rest:
            raise _no_labels(table)
        return _keys(rest)

    def join_rows(self, columns: Columns, ids: Sequence[str]) -> Columns:
        """One row for each image, its labels joined as ``rows`` says; `read` takes the result.

        Parameters
        ----------
        ids : (N,) the image of each row.

        Raises
        ------
        DataError : rows of one image disagree about something else; or cells that are no labels.
        """
        rule = self._rule(columns)
        if rule == "agree" or len(set(ids)) == len(ids):
            return self.first_rows(columns, ids)
        labels = self.read(columns)
        if rule != "any" and FINDINGS in columns.cells and READER not in columns.cells:
            raise no_readers(columns, rule)
        rows = list(dict.fromkeys(ids))
        values = join_labels(
            labels.values, ids, columns.cells.get(READER), rule, labels.names, labels.no_finding
        )
        first = self.first_rows(columns, ids)
        unknown = "-1" if self.uncertain == "unknown" else ""
        texts = {1.0: "1", 0.0: "0"}
        cells = {
            f"{LABEL}{name}": [texts.get(value, unknown) for value in values[:, place].tolist()]
            for place, name in enumerate(labels.names)
        }
        kept = {k: v for k, v in first.cells.items() if k != FINDINGS and not k.startswith(LABEL)}
        note = (
            f"{columns.path.name}: joined {len(ids):,} rows to {len(rows):,} images: a label is "
            f"present if {RULES[rule]} (rows={rule})"
        )
        return replace(
            first,
            cells={**kept, **cells},
            titles={**first.titles, **{key: key.removeprefix(LABEL) for key in cells}},
            notes=(*columns.notes, note, *labels.notes),
        )

    def first_rows(self, columns: Columns, ids: Sequence[str]) -> Columns:
        """The first row of each image, as it is written.

        Raises
        ------
        DataError : rows of one image disagree about something that ``rows`` does not join.
        """
        joined = self._rule(columns) != "agree"
        same = [
            key
            for key in columns.cells
            if key not in ("image", "id", READER, BOX)
            and not (joined and (key == FINDINGS or key.startswith(LABEL)))
        ]
        return columns.without_repeats(ids, same, separator=self._joiner(columns))

    def _rule(self, columns: Columns) -> str:
        if self.rows != "auto":
            return self.rows
        return "any" if READER in columns.cells or BOX in columns.cells else "agree"

    def read(self, columns: Columns) -> Labels:
        """The labels in the columns that `columns` named.

        In columns of their own: 1, 0, -1 or nothing, also yes and no. In one column those that a
        cell does not name are absent; their order is that of ``labels``, else they are sorted.

        Raises
        ------
        DataError : a cell holds something else, no row names a label, or one of ``labels``, or
            ``no_finding`` is given and no label.
        """
        if FINDINGS in columns.cells and not self._is_one_label(columns):
            labels = self._in_one_column(columns)
        else:
            labels = self._in_several(columns)
        return replace(labels, no_finding=self._no_finding_in(columns, labels.names))

    def faults(self, columns: Columns, *, quoting: bool = True) -> dict[int, str]:
        """What is wrong in the columns of labels by row, where ``quoting`` with the cells' text."""
        faults: dict[int, str] = {}
        for key in columns.cells:
            if not key.startswith(LABEL):
                continue
            column = columns.cells[key]
            odd = {text for text in set(column) if self._value(text) is None}
            for row, text in enumerate(column if odd else ()):
                if text in odd:
                    cell = f"{text[:100]!r}" if quoting else "no label"
                    faults.setdefault(row, f"{cell} in the column {columns.titles[key]!r}")
        return faults

    def _is_one_label(self, columns: Columns) -> bool:
        """Whether a column that is only called like findings holds 1 and 0, as a label's does."""
        texts = set(columns.cells[FINDINGS])
        return (
            not self.findings
            and all(self._value(text) is not None for text in texts)
            and any(text.lower() not in _BLANK for text in texts)
        )

    def _no_finding_in(self, columns: Columns, names: Sequence[str]) -> str | None:
        by_key = {loose_key(name): name for name in names}
        name = by_key.get(loose_key(self.no_finding))
        if name is None and self.no_finding != DEFAULT_NO_FINDING:
            raise DataError(
                f"{columns.path} has no label {self.no_finding!r}",
                expected="no_finding=NAME with one of the labels",
                found=shortened(", ".join(names)),
                fix="correct no_finding=…, or leave it out if no label means that nothing is found",
            )
        return name

    def _in_several(self, columns: Columns) -> Labels:
        import numpy as np

        keys = [key for key in columns.cells if key.startswith(LABEL) or key == FINDINGS]
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
        cells = self._cells(columns, counts)
        there = {name for several in cells.names.values() for name in several}
        spelling = {label_key(name): name for name in there}
        asked = names_in(self.labels)
        missing = sorted(name for name in asked if label_key(name) not in spelling)
        chosen = tuple(dict.fromkeys(spelling.get(label_key(name), name) for name in asked))
        chosen = chosen or tuple(sorted(there))
        if not chosen or missing:
            raise _no_names(columns, missing, sorted(there))
        vectors = {
            text: self._vector(names, chosen, unlabelled=text in cells.unlabelled)
            for text, names in cells.names.items()
        }
        codes = {text: code for code, text in enumerate(vectors)}
        table = np.array(list(vectors.values()), np.float32)
        values = table[[codes[text] for text in column]]
        ignored = tuple(sorted(there - set(chosen)))
        rows = sum(counts[text] for text in counts if not cells.names[text].isdisjoint(ignored))
        note = f"{columns.titles[FINDINGS]}: {len(ignored)} names in {rows:,} rows are not labels"
        return Labels(chosen, values, ignored, (*cells.notes, *([note] if ignored else [])))

    def _cells(self, columns: Columns, counts: Mapping[str, int]) -> FindingCells:
        title = columns.titles[FINDINGS]
        return read_cells(counts, self.separator, title, names_in(self.labels))

    def _joiner(self, columns: Columns) -> str:
        """What separates names in cells of findings that may say the same in another order."""
        if self.separator != AUTO:
            return self.joiner
        text = "".join(set(columns.cells.get(FINDINGS, ())))
        return next((one for one in LIKELY if one in text), "|")

    def _value(self, text: str) -> float | None:
        word = text.lower()
        if word in _BLANK:
            return _STANDS_FOR[self.blank]
        try:  # some spreadsheets write 1,0
            value = LABEL_WORDS[word] if word in LABEL_WORDS else float(word.replace(",", "."))
        except ValueError:
            return None
        known = {-1.0: _STANDS_FOR[self.uncertain], 0.0: 0.0, 1.0: 1.0}
        return known.get(value)

    def _vector(
        self, names: frozenset[str], chosen: Sequence[str], *, unlabelled: bool
    ) -> list[float]:
        absent = 0.0 if names else _STANDS_FOR[self.blank]
        absent = float("nan") if unlabelled else absent
        return [1.0 if name in names else absent for name in chosen]


def _keys(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    return {f"{LABEL}{name}": (name,) for name in names}


def _no_labels(table: Table) -> DataError:
    return DataError(
        f"{table.path} has no labels",
        expected="a column for each label, or one with all labels of an image",
        found=shortened(f"the columns {', '.join(map(repr, table.header[:20]))}"),
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
        found=shortened(", ".join(map(repr, there[:20]))) or f"{len(columns):,} rows without any",
        fix="correct labels=… (joined by +), or name another column: findings=COLUMN",
    )
