"""Judge the bank by the gate's rule, and by what people use today; prints Markdown.

    python benchmarks/gate/judge.py

Rules, each on the same blocks:

- cxrbench's, at its first look (4 restarts of 6 rounds), and with the second look that it takes
  where the answer is open: pairs of blocks one after the other, as 8 restarts.
- pytest-benchmark's ``--benchmark-compare-fail=median:10%`` on wall time, as it is run: base, then
  head, so base from the first half of a block's restarts and head from the second; and on samples
  taken in turn.
- asv's, that a Mann-Whitney test gives p < 0.002 and the medians differ by more than a factor of
  1.1, likewise.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu

from cxrbench.perf.comparison import BASE, CONTROL, HEAD
from cxrbench.perf.process import CLOCKS
from cxrbench.perf.sampling import FIRST_RESTARTS
from cxrbench.perf.verdict import INCONCLUSIVE, Criterion, judge, paired_effect

FOLDER = Path(__file__).parent
WALL = CLOCKS.index("wall")

Slower = Callable[[np.ndarray, int], list[bool]]
"""From a block's samples (paths, restarts, rounds, turns, clocks) and head's turn to each path's
verdict."""


def by_cxrbench(clock: str, looks: int = 1) -> Callable[[np.ndarray, int], list[str]]:
    """States of the paths after so many looks; a path that has a verdict keeps it."""

    def judged(block: np.ndarray, turn: int) -> list[str]:
        logs = np.log(block[..., CLOCKS.index(clock)])
        states: dict[str, str] = {}
        for look in range(1, looks + 1):
            seen = logs[:, : FIRST_RESTARTS * 2 ** (look - 1)]
            effects = {
                str(path): (
                    paired_effect(seen[path][..., turn] - seen[path][..., BASE]),
                    paired_effect(seen[path][..., CONTROL] - seen[path][..., BASE]),
                )
                for path in range(len(block))
                if states.get(str(path), INCONCLUSIVE) == INCONCLUSIVE
            }
            verdicts = judge(effects, Criterion(look=look), paths=len(block))
            states |= {path: one.state for path, one in verdicts.items()}
        return [states[str(path)] for path in range(len(block))]

    return judged


def by_medians(block: np.ndarray, turn: int, *, in_turn: bool) -> list[bool]:
    """pytest-benchmark: the median grew by more than 10 %."""
    return [
        bool(np.median(head) > 1.1 * np.median(base))
        for base, head in (sides(path, turn, in_turn=in_turn) for path in block)
    ]


def by_asv(block: np.ndarray, turn: int, *, in_turn: bool) -> list[bool]:
    """asv: different by a rank test, and by more than a factor of 1.1."""
    return [
        bool(mannwhitneyu(base, head).pvalue < 0.002 and np.median(head) > 1.1 * np.median(base))
        for base, head in (sides(path, turn, in_turn=in_turn) for path in block)
    ]


def sides(path: np.ndarray, turn: int, *, in_turn: bool) -> tuple[np.ndarray, np.ndarray]:
    """Wall times of base and head: of all restarts, or of the first half and of the second."""
    half = len(path) // 2
    before, after = (path, path) if in_turn else (path[:half], path[half:])
    return before[..., BASE, WALL].ravel(), after[..., turn, WALL].ravel()


def doubled(blocks: np.ndarray) -> np.ndarray:
    """Blocks one after the other joined: half as many, with twice the restarts."""
    pairs = blocks[: len(blocks) // 2 * 2].reshape(-1, 2, *blocks.shape[1:])
    joined: np.ndarray = np.concatenate([pairs[:, 0], pairs[:, 1]], axis=2)
    return joined


def rates(states: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """How often any path of a comparison is slower, and how often a path is."""
    table = np.array(states)
    return float(table.any(axis=1).mean()), float(table.mean())


def main() -> None:
    """A table for each load, and how often each path was inconclusive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", nargs="+", default=["none", "core"])
    given = parser.parse_args()
    for load in given.load:
        with np.load(FOLDER / f"bank-{load}.npz") as bank:
            blocks, about = bank["seconds"].astype(np.float64), json.loads(str(bank["about"]))
        print(f"\n### Load: {load}. {len(blocks)} blocks of {', '.join(about['paths'])}\n")
        _print_rates(blocks, about["slowdowns"])
        _print_states(blocks, about)


def _print_rates(blocks: np.ndarray, slowdowns: Sequence[float]) -> None:
    titles = [f"+{100 * (slowdown - 1):.0f} %" for slowdown in slowdowns[1:]]
    print(f"| rule | comparisons | false alarms (any path) | {' | '.join(titles)} |")
    print(f"| --- | ---: | ---: | {' | '.join('---:' for _ in titles)} |")
    for name, (rule, on) in _rules(blocks).items():
        rows = [
            rates([rule(block, HEAD + place) for block in on]) for place in range(len(slowdowns))
        ]
        cells = [f"{100 * found:.1f} %" for _, found in rows[1:]]
        alarms = f"{100 * rows[0][0]:.1f} % ({round(rows[0][0] * len(on))} of {len(on)})"
        print(f"| {name} | {len(on)} | {alarms} | {' | '.join(cells)} |")


def _rules(blocks: np.ndarray) -> Mapping[str, tuple[Slower, np.ndarray]]:
    def gate(clock: str, looks: int) -> Slower:
        judged = by_cxrbench(clock, looks)
        return lambda block, turn: [state == "slower" for state in judged(block, turn)]

    def other(rule: Callable[..., list[bool]], in_turn: bool) -> Slower:
        return lambda block, turn: rule(block, turn, in_turn=in_turn)

    twice = doubled(blocks)
    return {
        "cxrbench, first look": (gate("cpu", 1), blocks),
        "cxrbench, two looks": (gate("cpu", 2), twice),
        "cxrbench on wall time, two looks": (gate("wall", 2), twice),
        "pytest-benchmark, median:10%": (other(by_medians, False), blocks),
        "the same on samples in turn": (other(by_medians, True), blocks),
        "asv": (other(by_asv, False), blocks),
        "asv on samples in turn": (other(by_asv, True), blocks),
    }


def _print_states(blocks: np.ndarray, about: Mapping[str, Sequence[float]]) -> None:
    judged, twice = by_cxrbench("cpu", 2), doubled(blocks)
    print("\n| cxrbench, two looks: path | change | slower | faster | no change | inconclusive |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for place, slowdown in enumerate(about["slowdowns"]):
        states = np.array([judged(block, HEAD + place) for block in twice])
        for number, path in enumerate(about["paths"]):
            shares = [
                f"{100 * (states[:, number] == state).mean():.0f} %"
                for state in ("slower", "faster", "no change", INCONCLUSIVE)
            ]
            print(f"| {path} | +{100 * (slowdown - 1):.0f} % | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
