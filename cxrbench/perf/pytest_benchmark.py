"""The samples of a comparison in pytest-benchmark's JSON format, one file per side."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import SettingsError
from cxrbench.output.files import write_text
from cxrbench.perf.comparison import BASE, HEAD, SpeedComparison

FORMAT_VERSION = "5.1.0"
"""The version of pytest-benchmark whose form this is."""


def write_benchmark_files(comparison: SpeedComparison, folder: Path) -> tuple[Path, Path]:
    """Write ``0001_base.json`` and ``0002_head.json``; ``pytest-benchmark compare`` reads both.

    Raises
    ------
    SettingsError : instructions were counted, not seconds.
    """
    if comparison.settings.counts:
        raise SettingsError(
            "pytest-benchmark's files hold seconds, but instructions were counted",
            fix="leave out --benchmark-json, or take time: --clock cpu",
        )
    folder.mkdir(parents=True, exist_ok=True)
    base, head = folder / "0001_base.json", folder / "0002_head.json"
    for path, side, turn in ((base, 0, BASE), (head, 1, HEAD)):
        write_text(path, json.dumps(_document(comparison, side, turn), indent=4) + "\n")
    return base, head


def _document(comparison: SpeedComparison, side: int, turn: int) -> dict[str, Any]:
    return {
        "machine_info": {
            "node": comparison.machine.node,
            "processor": comparison.machine.processor,
            "machine": platform.machine(),
            "system": platform.system(),
            "release": platform.release(),
            "python_implementation": platform.python_implementation(),
            "python_version": comparison.versions[side].get("python", ""),
            "cpu": {"brand_raw": comparison.machine.processor, "count": comparison.machine.cores},
        },
        "commit_info": {
            "id": comparison.commits[side] or None,
            "dirty": False,
            "project": "cxrbench",
            "branch": None,
        },
        "benchmarks": [_benchmark(comparison, path, turn) for path in comparison.samples.seconds],
        "datetime": datetime.now(UTC).isoformat(),
        "version": FORMAT_VERSION,
    }


def _benchmark(comparison: SpeedComparison, path: str, turn: int) -> dict[str, Any]:
    data = comparison.samples.by(path, comparison.settings.clock)[:, :, turn].ravel()
    return {
        "group": "hot paths",
        "name": path,
        "fullname": f"cxrbench perf::{path}",
        "params": None,
        "param": None,
        "extra_info": {
            "images": comparison.samples.images[path],
            "clock": comparison.settings.clock,
        },
        "options": {
            "disable_gc": False,
            "timer": "process_time" if comparison.settings.clock == "cpu" else "perf_counter",
            "min_rounds": len(data),
            "max_time": comparison.settings.budget,
            "min_time": 0.0,
            "warmup": True,
        },
        "stats": statistics(data, comparison.samples.calls[path]),
    }


def statistics(data: np.ndarray, iterations: int) -> dict[str, Any]:
    """pytest-benchmark's fields of seconds (n,), n even, by its own definitions."""
    ordered, half = np.sort(data), len(data) // 2
    q1, q3 = float(np.median(ordered[:half])), float(np.median(ordered[half:]))
    mean, deviation = float(ordered.mean()), float(ordered.std(ddof=1))
    low, high = q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)
    tukey = int(((ordered < low) | (ordered > high)).sum())
    far = int((np.abs(ordered - mean) > deviation).sum())
    return {
        "min": float(ordered[0]),
        "max": float(ordered[-1]),
        "mean": mean,
        "stddev": deviation,
        "rounds": len(ordered),
        "median": float(np.median(ordered)),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": tukey,
        "stddev_outliers": far,
        "outliers": f"{far};{tukey}",
        "ld15iqr": float(ordered[ordered >= low][0]),
        "hd15iqr": float(ordered[ordered <= high][-1]),
        "ops": 1 / mean,
        "total": float(ordered.sum()),
        "data": data.tolist(),
        "iterations": iterations,
    }
