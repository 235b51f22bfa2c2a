"""Prepare the images of a cohort for recipes that will be run later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrbench.data.datasets import describe, find_dataset, load_cohort
from cxrbench.experiment.plans import make_plans, preparation_for
from cxrbench.interfaces import Display, Exclusion
from cxrbench.output.files import size_text
from cxrbench.output.sections import CellTable, Column, Section, text_column
from cxrbench.parameters import data_text
from cxrbench.registry import load_registry
from cxrbench.request import Request
from cxrbench.store.contents import Entry, entry_of_store
from cxrbench.store.prepare import prepare

_COLUMNS = (text_column("content"), Column("size"), text_column("status"), text_column("folder"))


@dataclass(frozen=True)
class PreparedAhead:
    """The result of ``cxrbench data prepare``: what is ready for later runs.

    ``data`` is the cohort's text for ``--data``, ``excluded`` are its rows and images that are not
    used. Runs will read the ``stores``; this command made those with the keys ``made``.
    """

    data: str
    images: int
    usable: int
    excluded: tuple[Exclusion, ...]
    stores: tuple[Entry, ...]
    made: frozenset[str]

    def sections(self) -> list[Section]:
        """One table of stores; the excluded images are notes."""
        rows = tuple(
            (
                entry.purpose.what,
                size_text(entry.size),
                "made" if entry.key in self.made else "already there",
                str(entry.path),
            )
            for entry in self.stores
        )
        title = f"{self.data}: {self.usable:,} of {self.images:,} images are ready"
        notes = tuple(f"Excluded {one.image_id}: {one.reason}" for one in self.excluded)
        return [Section(title, (CellTable(_COLUMNS, rows),), notes)]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "data": self.data,
            "images": self.images,
            "usable": self.usable,
            "excluded": self.excluded,
            "stores": self.records(),
        }

    def records(self) -> list[dict[str, Any]]:
        """One line for each store."""
        return [{**entry.to_json(), "made": entry.key in self.made} for entry in self.stores]


def prepare_ahead(request: Request, display: Display) -> PreparedAhead:
    """Prepare the images as ``cxrbench run`` with this request would.

    Raises
    ------
    CxrbenchError : for everything that the caller can mend, as `cxrbench.run` does.
    """
    registry = load_registry()
    dataset = find_dataset(request.data, registry, Path.cwd())
    plans = make_plans(request.recipes, registry, request.settings, dataset)
    display.say(describe(dataset, request.data))
    cohort = load_cohort(dataset, display, request.cache)
    prepared = prepare(
        dataset,
        cohort,
        preparation_for(plans),
        max_bad=plans[0].settings.max_bad,
        cache=request.cache,
        threads=request.thread_count,
        display=display,
    )
    return PreparedAhead(
        data=data_text(dataset),
        images=len(cohort),
        usable=int(prepared.usable.sum()),
        excluded=(*cohort.excluded, *prepared.excluded),
        stores=tuple(map(entry_of_store, prepared.stores)),
        made=frozenset(folder.name for folder in prepared.made),
    )
