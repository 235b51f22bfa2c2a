"""Folders of DICOM files with a table of labels, and what is loaded from them."""

from __future__ import annotations

from pathlib import Path

from dicom_files import SECRET, write

from cxrbench.builtin.dicom import DICOM
from cxrbench.data.cohort import validate


def use_key(monkeypatch, tmp_path: Path) -> None:
    """A key for the test, and no way to the user's own."""
    monkeypatch.setenv("CXRBENCH_DICOM_KEY", SECRET)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))


def table(folder: Path, *rows: str, header: str = "file,Effusion,Mass") -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def folder_of(tmp_path: Path, **elements) -> Path:
    """One good file ``good.dcm`` and one ``odd`` with these elements, and a row for each."""
    root = tmp_path / "archive"
    write(root / "good.dcm", PatientID="good")
    write(root / "odd", **elements)
    table(root, "good.dcm,1,0", "odd,0,1")
    return root


def load(root: Path, **options):
    cohort = DICOM(path=str(root), **options).load()
    validate(cohort)
    return cohort


def only(root: Path, **options):
    """What became of the file ``odd``: the cohort's row, or the reason."""
    cohort = load(root, image_ids="path", **options)
    if "odd" in cohort.image_ids:
        row = cohort.image_ids.index("odd")
        return cohort.ages[row], cohort.sexes[row], cohort.views[row]
    (found,) = cohort.excluded
    assert found.image_id == "odd"
    return found.reason
