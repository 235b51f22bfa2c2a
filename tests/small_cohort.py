"""A cohort in two archives, a table and a list, small enough to be served by a test."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from typing import ClassVar

from cxrbench.data.download.catalog import PublishedCohort, RemoteFile

STEMS = tuple(f"{patient:08}_000" for patient in range(1, 9))


def _archive(stems: tuple[str, ...]) -> bytes:
    packed = io.BytesIO()
    # Without the time in it, the archive is the same in every process.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as plain,
        tarfile.open(fileobj=plain, mode="w") as tar,
    ):
        for number, stem in enumerate(stems):
            # Noise stays as large as it is, as PNGs do.
            data = hashlib.shake_128(stem.encode()).digest(20_000 + number)
            info = tarfile.TarInfo(f"images/{stem}.png")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


_ROWS = "".join(f"{stem}.png,Mass,{int(stem[:8])}\n" for stem in STEMS)

CONTENT = {
    "Data_Entry_2017_v2020.csv": f"Image Index,Finding Labels,Patient ID\n{_ROWS}".encode(),
    "test_list.txt": "\n".join(f"{stem}.png" for stem in STEMS[:2]).encode(),
    "images_001.tar.gz": _archive(STEMS[:3]),
    "images_002.tar.gz": _archive(STEMS[3:]),
}
IMAGES = {"images_001.tar.gz": 3, "images_002.tar.gz": 5}


@dataclass(frozen=True)
class SmallCohort(PublishedCohort):
    """What `CONTENT` has, by the names of NIH's files."""

    name: ClassVar[str] = "small"

    def files(self) -> tuple[RemoteFile, ...]:
        return tuple(
            RemoteFile(
                name=name,
                url=f"https://official.invalid/{name}",
                checksum=f"md5:{hashlib.md5(data).hexdigest()}",
                checksum_by="nobody",
                size=len(data),
                images=IMAGES.get(name),
            )
            for name, data in CONTENT.items()
        )
