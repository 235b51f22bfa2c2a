"""What the benchmarks share: drawn films of NIH's size, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrbench.perf.hot_paths import ImageSet
from cxrbench.perf.workload import write_drawn_films


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Four films of 1024 x 1024 pixels; networks see them at 64, in batches of 8."""
    folder: Path = tmp_path_factory.mktemp("films")
    write_drawn_films(folder)
    return ImageSet.read(folder, network_size=64, batch_size=8, device="cpu")
