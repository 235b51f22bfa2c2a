"""What a machine is, as far as times measured on it can be compared with others."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Times of two machines that differ in any of these must not be compared."""

    node: str
    processor: str
    cores: int
    memory_mb: int
    system: str

    def to_json(self) -> dict[str, str | int]:
        """Plain values."""
        return asdict(self)


def this_machine() -> Machine:
    """The machine that this process runs on; ``cores`` are those that it may use."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        node=platform.node(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_mb=pages // 2**20,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
    )


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
