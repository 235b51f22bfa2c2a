"""NIH's official split, and the splits of its real sample and of a table of its size."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest
from nih_folders import STEMS, folder, rows

from cxrbench import DataError
from cxrbench.builtin.nih import NIH
from cxrbench.data.cohort import validate
from cxrbench.data.splits import make_split, split_by_patient


def lists(where: Path, train_val: tuple[str, ...], test: tuple[str, ...], packed: bool = False):
    for name, stems in (("train_val_list.txt", train_val), ("test_list.txt", test)):
        data = "".join(f"{stem}.png\r\n" for stem in stems).encode()
        path = where / (name + ".gz" * packed)
        path.write_bytes(gzip.compress(data) if packed else data)


@pytest.mark.parametrize("packed", [False, True])
def test_official_parts_are_read_beside_the_table_and_elsewhere(tmp_path, packed):
    folder(tmp_path, files=tuple(f"{stem}.jpg" for stem in STEMS))
    dataset = NIH(path=str(tmp_path))
    cohort = dataset.load()
    lists(tmp_path, STEMS[:2], STEMS[2:3], packed)

    beside = dataset.official_parts(cohort, None)

    assert beside == ("train_val", "train_val", "test", "")
    assert NIH().official_parts(cohort, tmp_path) == beside


def test_official_lists_that_cannot_be_used_are_explained(tmp_path):
    folder(tmp_path)
    dataset = NIH(path=str(tmp_path))
    cohort = dataset.load()
    (tmp_path / "lists").mkdir()

    def text() -> str:
        with pytest.raises(DataError) as error:
            dataset.official_parts(cohort, tmp_path / "lists")
        return str(error.value)

    assert "--split official:DIR" in text()
    lists(tmp_path / "lists", STEMS[:3], STEMS[2:])
    assert "1 images in both, such as 00000002_000" in text()
    lists(tmp_path / "lists", STEMS[:3], ())
    assert "test_list.txt is empty" in text()
    lists(tmp_path / "lists", ("a",), ("b",))
    assert "none of the cohort's images" in text()
    (tmp_path / "lists" / "test_list.txt").unlink()
    assert "has no test_list.txt" in text()


REAL = os.environ.get("CXRBENCH_REAL_DATA")


@pytest.mark.skipif(REAL is None, reason="CXRBENCH_REAL_DATA is not set")
def test_the_real_sample_and_its_official_split():
    root = Path(REAL or "")
    dataset = NIH.recognise(root / "nih-mini")
    assert dataset is not None
    cohort = dataset.load()
    validate(cohort)

    assert (len(cohort), len(set(cohort.patient_ids)), len(cohort.boxes)) == (640, 480, 302)
    assert cohort.excluded == cohort.notes == ()
    split = make_split(cohort, dataset, f"official:{root / 'nih-metadata'}")
    published = dataset.official_parts(cohort, root / "nih-metadata")
    assert [part == "test" for part in split.parts] == [part == "test" for part in published]
    assert {box.image_id for box in cohort.boxes} <= {
        cohort.image_ids[row] for row in split.rows("test")
    }


@pytest.mark.slow
def test_a_table_of_nihs_size_loads_and_splits_in_five_seconds(tmp_path):
    """112,120 images of 30,805 patients; the files are empty, for no pixel is read."""
    names = [f"{row % 30_805 + 1:08d}_{row // 30_805:03d}.png" for row in range(112_120)]
    findings = ("No Finding", "Mass|Nodule", "Edema", "Infiltration|Atelectasis|Effusion", "Mass")
    lines = [
        f"{name},{findings[row % 5]},0,{int(name[:8])},57,M,PA,2682,2749,0.143,0.143"
        for row, name in enumerate(names)
    ]
    dataset = NIH(path=str(folder(tmp_path, rows(*lines), files=tuple(names))))

    start = time.process_time()  # one thread's work, however busy the machine is
    cohort = dataset.load()
    split = split_by_patient(cohort)
    seconds = time.process_time() - start

    assert len(cohort) == 112_120
    assert len(split.rows("test")) == pytest.approx(0.2 * 112_120, rel=0.01)
    assert seconds < 5
