"""Tables of predictions from any program: a row for each image, a probability for each label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrbench.data.image_paths import ids_meant_by
from cxrbench.data.record_cells import HEADINGS
from cxrbench.data.tables import has_no_name, read_table, shortened
from cxrbench.errors import DataError
from cxrbench.output.sections import from_csv_cell
from cxrbench.parameters import nearest

IMAGE_HEADINGS = (*HEADINGS["image"], "id")
"""What the column of images may be called; the first that is there is used."""

_PREFERRED = ("", "yscore", "score", "prob", "probability", "probs", "p", "pred", "prediction")
_TOLD = frozenset({"error", *(name.lower() for names in HEADINGS.values() for name in names)})
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """``y_score`` (N, L) float64 in [0, 1] for the images ``names`` (N,), as the table has them.

    ``label_names`` are the cohort's labels that have a column, in the cohort's order.
    """

    path: Path
    names: tuple[str, ...]
    label_names: tuple[str, ...]
    y_score: np.ndarray

    def rows_for(self, image_ids: Sequence[str], what: str) -> np.ndarray:
        """The table's row of each image (n,), which are all that it has and each once.

        An image is named by its id, or by a path or file name with or without its ending, where
        only one image can be meant.

        Raises
        ------
        DataError : images are missing, there twice, or are none of these.
        """
        wanted = dict.fromkeys(image_ids)
        ids = ids_meant_by(self.names, image_ids)
        twice = [name for name, count in Counter(ids).items() if count > 1]
        others = [name for name in ids if name not in wanted]
        missing = sorted(wanted.keys() - set(ids))
        faults = (
            ("there twice", twice),
            (f"not among the {what} images", others),
            ("missing", missing),
        )
        if any(names for _, names in faults):
            raise DataError(
                f"{self.path} does not cover the {what} images",
                expected=f"one row for each of the {len(image_ids):,} {what} images, and no others",
                found="; ".join(f"{len(n):,} {told} ({_listed(n)})" for told, n in faults if n),
                fix="predict exactly these images; they depend on --split and --split-seed",
            )
        row_of = {name: row for row, name in enumerate(ids)}
        return np.array([row_of[image_id] for image_id in image_ids], np.intp)

    def known_in(self, image_ids: Sequence[str]) -> list[str]:
        """The id of each row's image, all of which are among ``image_ids``.

        Raises
        ------
        DataError : some are not, or one is there twice.
        """
        known = set(image_ids)
        ids = ids_meant_by(self.names, image_ids)
        self.rows_for([name for name in dict.fromkeys(ids) if name in known], "labelled")
        return ids


def read_predictions_table(
    path: Path,
    label_names: Sequence[str],
    *,
    image_column: str | None = None,
    prefix: str | None = None,
    ignore: Sequence[str] = (),
) -> PredictionTable:
    """Read a CSV file with a column for each label, such as ``Mass`` or ``prob_Mass``.

    Capital letters, spaces and underscores make no difference. Labels may lack a column; every
    other column has to be a label's, what tables of images usually tell, or in ``ignore``.

    Parameters
    ----------
    label_names : the labels that there are.
    prefix : what stands before each label; by default found from the header.

    Raises
    ------
    DataError : no column of images or of labels, two for one, one that is no label's; a cell that
        is no probability.
    """
    table = read_table(path)
    names = IMAGE_HEADINGS if image_column is None else (image_column,)
    places = table.places({"image": names})
    if "image" not in places:
        raise table.missing_column(names, fix="name the column with --image-column")
    others = [place for place in range(len(table.header)) if place != places["image"]]
    columns = _label_columns(path, table.header, others, label_names, prefix, ignore)
    images: list[str] = []
    lines: list[int] = []
    cells: list[list[str]] = []
    for line, row in table.rows:
        images.append(from_csv_cell(row[places["image"]].strip()))
        lines.append(line)
        cells.append([row[place] for place in columns.values()])
    if not images:
        raise DataError(
            f"{path} has a header but no rows",
            expected="one row per image below the header",
            found="0 rows",
        )
    y_score = _numbers(path, cells, lines, [table.header[place] for place in columns.values()])
    return PredictionTable(path, tuple(images), tuple(columns), y_score)


def _label_columns(
    path: Path,
    header: Sequence[str],
    places: Sequence[int],
    label_names: Sequence[str],
    prefix: str | None,
    ignore: Sequence[str],
) -> dict[str, int]:
    """The column of each label that has one, in the order of the labels."""
    ignored = {_plain(name) for name in ignore}
    named = (place for place in places if not has_no_name(header[place]))
    plain = {place: _plain(header[place]) for place in named}
    plain = {place: text for place, text in plain.items() if text not in ignored}
    labels = {_plain(label): label for label in label_names}
    ends = {
        (text[: -len(label)], label): place
        for place, text in plain.items()
        for label in labels
        if text.endswith(label)
    }
    chosen = _prefix(path, Counter(before for before, _ in ends), prefix, header)
    found = {label: [p for p, text in plain.items() if text == chosen + label] for label in labels}
    double = next((label for label, at in found.items() if len(at) > 1), None)
    if double is not None:
        raise DataError(
            f"{path} has two columns for {labels[double]!r}",
            expected="one column for each label",
            found=", ".join(repr(header[place]) for place in found[double]),
            fix="delete or rename the wrong one, or name it with --ignore",
        )
    columns = {labels[label]: at[0] for label, at in found.items() if at}
    _refuse_unknown(path, header, plain, set(columns.values()), chosen, label_names)
    return columns


def _prefix(path: Path, counts: Counter[str], prefix: str | None, header: Sequence[str]) -> str:
    if prefix is not None:
        counts = Counter({_plain(prefix): counts[_plain(prefix)]})
    most = max(counts.values(), default=0)
    likely = [text for text, count in counts.items() if count == most]
    if not most:
        raise DataError(
            f"{path} has no column for any label",
            expected="columns named like the labels, with or without a prefix such as prob_",
            found=shortened(", ".join(map(repr, header))),
            fix="rename the columns, or give --prefix",
        )
    if len(likely) == 1:
        return likely[0]
    preferred = [text for text in _PREFERRED if text in likely]
    if not preferred:
        raise DataError(
            f"{path} has several columns for each label",
            expected="one, or --prefix with the text before the label",
            found=shortened(", ".join(map(repr, header))),
            fix="give --prefix",
        )
    return preferred[0]


def _refuse_unknown(
    path: Path,
    header: Sequence[str],
    plain: dict[int, str],
    used: set[int],
    prefix: str,
    label_names: Sequence[str],
) -> None:
    def is_a_label(text: str) -> bool:
        # With a prefix only columns that have it are predictions.
        return text.startswith(prefix) if prefix else text not in map(_plain, _TOLD)

    unknown = [header[p] for p, text in plain.items() if p not in used and is_a_label(text)]
    if unknown:
        raise DataError(
            f"{path} has columns of unknown labels: {_listed(unknown)}",
            expected=", ".join(label_names),
            found=_listed(unknown),
            fix=nearest(unknown[0], label_names) or "rename them, or name them with --ignore",
        )


def _numbers(
    path: Path, cells: list[list[str]], lines: Sequence[int], titles: Sequence[str]
) -> np.ndarray:
    """The cells (N, L) as probabilities."""
    y_score = np.array([[_number(cell) for cell in row] for row in cells], np.float64)
    bad = ~((y_score >= 0) & (y_score <= 1))  # NaN is neither
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        raise DataError(
            f"{path} has cells that are not probabilities",
            expected="a number from 0 to 1 for each image and label",
            found=f"{int(bad.sum()):,} of {bad.size:,} are not; the first is "
            f"{shortened(repr(cells[row][column]))} for {titles[column]!r} in line {lines[row]}",
            fix="give probabilities; apply a sigmoid to logits",
        )
    return y_score


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.lower())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(shortened(repr(name)) for name in names[:_SHOWN]) + more
