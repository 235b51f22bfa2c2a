"""Peak memory of `cxrbench data prepare` on a cohort of NIH's size: its whole table, 112,120 rows.

    python benchmarks/prepare_memory_nih.py METADATA FILMS [--recipe resnet+orb] [OPTION ...]

METADATA holds NIH's ``Data_Entry_2017_v2020.csv`` or ``.csv.gz``, FILMS a few radiographs. Twelve
of these, at 256 pixels, are linked under the table's names in NIH's twelve folders: what each image
holds does not matter to the memory, how many there are does. The command is a process of its own,
whose anonymous memory (``RssAnon``: what it has allocated, without pages of mapped files) is
sampled from outside. Further options go to it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
from run_memory import peak_of

from cxrbench.builtin._nih.table import find_table, read_labels

FOLDERS = 12
SIDE = 256
RUN = "from cxrbench.cli import main; main()"


def link_cohort(metadata: Path, films: Path, target: Path, rows: int | None) -> int:
    """NIH's layout below ``target``, with ``rows`` of the table's rows; how many images it has."""
    table = find_table(metadata)
    if table is None:
        raise SystemExit(f"{metadata} has no NIH label table")
    (target / table.name).symlink_to(table.absolute())
    names = read_labels(table).file_names[:rows]
    few = [path for path in sorted(films.iterdir()) if path.suffix == ".png"][:FOLDERS]
    for number, film in enumerate(few):
        folder = target / f"images_{number + 1:03}" / "images"
        folder.mkdir(parents=True)
        image = cv2.imread(str(film), cv2.IMREAD_GRAYSCALE)
        first = target / f"{number}.png"
        cv2.imwrite(str(first), cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
        for name in names[number :: len(few)]:
            os.link(first, folder / name)
    return len(names)


def main() -> None:
    """Print the peak, and how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metadata", type=Path)
    parser.add_argument("films", type=Path)
    parser.add_argument("--recipe", default="resnet+orb")
    parser.add_argument("--rows", type=int, help="use only the first so many")
    given, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        images = link_cohort(given.metadata, given.films, data, given.rows)
        command = ["data", "prepare", str(data), "--for", given.recipe, "--json", "--protocol"]
        command += ["probe", "--cache", str(Path(folder) / "cache"), *more]
        began = time.perf_counter()
        peak = peak_of([sys.executable, "-c", RUN, *command])
        taken = time.perf_counter() - began
        again = peak_of([sys.executable, "-c", RUN, *command])
    print(
        f"{images:,} images: peak {peak / 1e6:,.1f} MB in {taken:,.0f} s, "
        f"with the stores there {again / 1e6:,.1f} MB"
    )


if __name__ == "__main__":
    main()
