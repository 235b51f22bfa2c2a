"""Every hot path of a run by itself, on films of 1024 x 1024 pixels.

Run it with ``pytest benchmarks/test_hot_paths.py``; ``-k decode`` takes one path.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from threadpoolctl import threadpool_limits

from cxrbench.perf.hot_paths import ImageSet, set_up
from cxrbench.store.image_pass import quiet_single_threaded_libraries

KINDS = ("rotation", "translation", "zoom", "brightness", "contrast", "noise", "medical")
PATHS = (
    "decode",
    "resize",
    "clahe",
    "extract/orb",
    "extract/sift",
    "encode/orb",
    "encode/sift",
    "encode/orb:encoding=vlad",
    "gather",
    "bootstrap",
    *(f"augment/{kind}" for kind in KINDS),
    "forward/resnet50",
    "train-step/resnet50+orb+sift",
    "predict/resnet50+orb+sift",
)
IDS = [name.replace("/", "-").replace(":", "-") for name in PATHS]


@pytest.mark.benchmark(min_rounds=3, max_time=1.0, warmup=False)
@pytest.mark.parametrize("name", PATHS, ids=IDS)
def test_path(benchmark: BenchmarkFixture, films: ImageSet, name: str) -> None:
    """Set up and called before it is timed: networks compile at the first call."""
    path = set_up(name, films)
    # As in a run, where threads share the images and not what is done with one of them.
    with nullcontext() if path.device else threadpool_limits(1), quiet_single_threaded_libraries():
        path.call()
        benchmark(path.call)
    benchmark.extra_info["images"] = path.images
    if path.images and benchmark.stats:
        benchmark.extra_info["images_per_second"] = path.images / benchmark.stats.stats.median
