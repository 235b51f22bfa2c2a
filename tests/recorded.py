"""Recordings of hot paths that were never measured."""

from __future__ import annotations

import numpy as np

from cxrbench.perf.recordings import Recording
from cxrbench.perf.samples import Samples, this_machine


def recording(commit="c0ffee00", changes=None, seed=0):
    """Two paths of 10 ms, with a little noise."""
    rng = np.random.default_rng(seed)
    changes = {"decode": 0.0, "resize": 0.0} | (changes or {})
    seconds = {
        path: 0.01 * (1 + change) * np.exp(rng.normal(0, 0.005, (12, 4, 1, 2)))
        for path, change in changes.items()
    }
    known = dict.fromkeys(seconds, 2)
    return Recording(
        side=f"revision {commit}",
        commit=commit,
        time="2026-01-01T00:00:00+00:00",
        machine=this_machine(),
        versions={"python": "3.11.0"},
        samples=Samples(seconds, known, known),
        absent={"gone": "missing: ImportError: no"},
    )
