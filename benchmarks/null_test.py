"""The null test: what a recipe loses by a part that brings nothing.

    python benchmarks/null_test.py FOLDER [RECIPE ...] [--split-seeds 5] [--weights W] [--head H]

FOLDER has NIH's layout. Each recipe is measured as a probe, and again with ``+noise``, on each
split; a fusion is named as in ``orb+sift@gated``. Printed are the means of macro AUROC over the
splits, their difference, and its standard deviation between splits.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from cxrbench import run
from cxrbench.output.display import SilentDisplay
from cxrbench.recipe import parse_recipe
from cxrbench.registry import load_registry

RECIPES = ("orb", "sift", "orb+sift", "orb+sift@late")


def with_noise(recipe: str) -> str:
    """The recipe with noise as a further part."""
    parts, at, fusion = recipe.partition("@")
    return f"{parts}+noise{at}{fusion}"


def scores(options: argparse.Namespace, split_seed: int) -> dict[str, float]:
    """Macro AUROC of each recipe, with and without noise, by its canonical text."""
    result = run(
        [text for recipe in options.recipes for text in (recipe, with_noise(recipe))],
        data=options.folder,
        protocol="probe",
        head=options.head,
        weights=options.weights,
        runs=options.work / "runs",
        cache=options.work / "cache",
        split_seed=split_seed,
        display=SilentDisplay(),
    )
    rows = [row for board in result["boards"] for row in board["rows"]]
    return {row["recipe"]: row["macro_auroc"] for row in rows if row["split_seed"] == split_seed}


def main() -> None:
    """Print a row per recipe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--split-seeds", type=int, default=5)
    parser.add_argument("--weights", nargs="*", default=["none"])
    parser.add_argument("--head", default="auto")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "cxrbench-null")
    options = parser.parse_args()
    splits = [scores(options, seed) for seed in range(options.split_seeds)]
    registry = load_registry()
    print(f"{'recipe':32} without   with    change (sd between splits)")
    for recipe in options.recipes:
        names = [parse_recipe(text, registry).text for text in (recipe, with_noise(recipe))]
        without, beside = np.array([[split[name] for name in names] for split in splits]).T
        change = beside - without
        print(
            f"{recipe:32} {without.mean():.3f}     {beside.mean():.3f}   "
            f"{change.mean():+.3f} ({change.std(ddof=1) if len(change) > 1 else 0:.3f})"
        )


if __name__ == "__main__":
    main()
