"""The files that can be downloaded, with their official addresses, sizes and checksums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from cxrbench.errors import DownloadError
from cxrbench.parameters import build, nearest, parse_pairs


@dataclass(frozen=True)
class RemoteFile:
    """One published file.

    ``checksum`` is ``md5:…`` or ``sha256:…``, and ``checksum_by`` who published it. ``size`` is in
    bytes, None where it is not known beforehand. ``images`` is how many images a ``.tar.gz`` holds,
    None for a file that is used as it is.
    """

    name: str
    url: str
    checksum: str
    checksum_by: str
    size: int | None
    images: int | None = None

    @property
    def folder(self) -> str | None:
        """The folder that the archive is unpacked to, None for a file that is no archive."""
        return None if self.images is None else self.name.removesuffix(".tar.gz")


class PublishedCohort(ABC):
    """A cohort that can be downloaded; its fields are options, as in ``chestmnist:size=64``."""

    name: ClassVar[str]

    @abstractmethod
    def files(self) -> tuple[RemoteFile, ...]:
        """All of its files."""


def _archives(table: str) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(
            name=f"images_{number:03d}.tar.gz",
            url=f"https://nihcc.box.com/shared/static/{link}.gz",
            checksum=f"md5:{md5}",
            checksum_by="NIH",
            size=int(size),
            images=int(images),
        )
        for number, (link, size, md5, images) in enumerate(map(str.split, table.splitlines()), 1)
    )


def _list(name: str, box_id: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(
        name=name,
        url="https://nihcc.app.box.com/index.php?rm=box_download_shared_file"
        f"&vanity_name=ChestXray-NIHCC&file_id=f_{box_id}",
        checksum=f"sha256:{sha256}",
        checksum_by="cxrbench",
        size=size,
    )


def _chestmnist(name: str, md5: str, size: int | None = None) -> RemoteFile:
    return RemoteFile(
        name=name,
        url=f"https://zenodo.org/records/10519652/files/{name}?download=1",
        checksum=f"md5:{md5}",
        checksum_by="MedMNIST",
        size=size,
    )


# https://nihcc.app.box.com/v/ChestXray-NIHCC. Links of the archives: batch_download_zips.py there.
# Their MD5: FAQ_CHESTXRAY.pdf there, question 7. Their sizes: as Box tells them.
NIH_ARCHIVES = _archives("""\
vfk49d74nhbxq3nqjg0900w5nvkorp5c 2008470987 fe8ed0a6961412fddcbb3603c11b3698 4999
i28rlmbvmfjbl8p2n3ril0pptcmcu9d1 3952623504 ab07a2d7cbe6f65ddd97b4ed7bde10bf 10000
f1t00wrtdk94satdfb9olcolqx20z2jp 3929234850 2301d03bde4c246388bad3876965d574 10000
0aowwzs5lhjrceb3qp67ahp0rd1l1etg 3838903983 9f1b7f5aae01b13f4bc8e2c44a4b8ef6 10000
v5e3goj22zr6h8tzualxfsqlqaygfbsn 3935496531 1861f3cd0ef7734df8104f2b0309023b 10000
asi7ikud9jwnkrnkj99jnpfkjdes7l6l 3986301172 456b53a8b351afd92a35bc41444c58c8 10000
jn1b4mw4n6lnh74ovmcjb8y48h8xj07n 4016328426 1075121ea20a137b87f290d6a4a5965e 10000
tvpxmn7qyrgl0w8wfh9kqfjskv6nmm1j 4018347353 b61f34cec3aa69f295fbb593cbd9d443 10000
upyy3ml7qdumlgk2rfcvlb9k6gvqq2pj 4111327929 442a3caa61ae9b64e61c561294d1e183 10000
l6nilvfa9cg3s28tqv1qc1olm3gnz54p 4181556296 09ec81c4c31e32858ad8cf965c494b74 10000
hhq8fkdgvcari67vfhs7ppg2w6ni4jze 4187084020 499aefc67207a5a97692424cf5dbeed5 10000
ioqwiy20ihqwyr8pf4c24eazhh281pbu 2914187733 dc9fda1757c2de0032b63347a7d2895c 7121
""")

# NIH publishes no checksum of these; the SHA-256 are those of the files as they were in 2026.
NIH_LISTS = (
    _list(
        "Data_Entry_2017_v2020.csv",
        "219760887468",
        9003496,
        "c69a6daca3549af707ca9cacbdf9f9a7b6a9188e8c61157df653520bb72d8eb1",
    ),
    _list(
        "BBox_List_2017.csv",
        "219760940956",
        92416,
        "0bbfea9d4c4e9771481b3023b1bc9f0df9dea924453b12986beb29b0c4d0c95b",
    ),
    _list(
        "train_val_list.txt",
        "256056636701",
        1470907,
        "61fbe896321c1c1c8b75f3e4f3a08e4fef6486d95ef8a667c31d4d60dca6cb81",
    ),
    _list(
        "test_list.txt",
        "256055473534",
        435131,
        "38ca5ef7f756092946f57c1a59faca882ed589a1ab1f72590b45dc06c6d5e1cc",
    ),
)

# https://zenodo.org/records/10519652; the MD5 are also in the package medmnist.
CHESTMNIST: Mapping[int, RemoteFile] = MappingProxyType(
    {
        28: _chestmnist("chestmnist.npz", "02c8a6516a18b556561a56cbdd36c4a8"),
        64: _chestmnist("chestmnist_64.npz", "9de6cd0b934ebb5b7426cfba5efbae16"),
        128: _chestmnist("chestmnist_128.npz", "db107e5590b27930b62dbaf558aebee3"),
        224: _chestmnist("chestmnist_224.npz", "45bd33e6f06c3e8cdb481c74a89152aa", 3889293042),
    }
)


@dataclass(frozen=True)
class NIHSource(PublishedCohort):
    """NIH ChestX-ray14; ``archives`` is how many of its twelve, from the first on."""

    name: ClassVar[str] = "nih"

    archives: int = 12

    def __post_init__(self) -> None:
        if not 1 <= self.archives <= len(NIH_ARCHIVES):
            raise DownloadError(
                f"nih cannot have {self.archives} archives",
                expected=f"1 to {len(NIH_ARCHIVES)}",
                found=str(self.archives),
            )

    def files(self) -> tuple[RemoteFile, ...]:
        """The table and the lists, then the archives."""
        return NIH_LISTS + NIH_ARCHIVES[: self.archives]


@dataclass(frozen=True)
class ChestMNISTSource(PublishedCohort):
    """ChestMNIST+ of MedMNIST: NIH's images at one size; 224 is what backbones are made for."""

    name: ClassVar[str] = "chestmnist"

    size: Literal[28, 64, 128, 224] = 224

    def files(self) -> tuple[RemoteFile, ...]:
        """The one file of this size."""
        return (CHESTMNIST[self.size],)


SOURCES: Mapping[str, type[PublishedCohort]] = MappingProxyType(
    {kind.name: kind for kind in (NIHSource, ChestMNISTSource)}
)


def find_source(text: str) -> PublishedCohort:
    """The source that a text such as ``nih`` or ``chestmnist:size=64`` names.

    Raises
    ------
    DownloadError : there is no source of this name, or an option is out of its range.
    RecipeError : it has no such option, or the option no such value.
    """
    name, _, options = text.partition(":")
    kind = SOURCES.get(name.lower())
    if kind is None:
        raise DownloadError(
            f"{name!r} cannot be downloaded",
            expected=" or ".join(SOURCES),
            found=repr(name),
            fix=nearest(name, SOURCES) or "download other cohorts from their publishers",
        )
    source: PublishedCohort = build(kind, parse_pairs(options, name) if options else {}, name)
    return source
