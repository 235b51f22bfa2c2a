"""Prepare a cohort for recipes that are run later: what their run would do to the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrbench.data.datasets import describe, find_dataset, load_cohort
from cxrbench.experiment.plans import make_plans, preparation_for
from cxrbench.interfaces import Display, Exclusion
from cxrbench.parameters import data_text
from cxrbench.registry import load_registry
from cxrbench.request import Request
from cxrbench.settings import thread_count
from cxrbench.store.contents import Entry, entry_of_store
from cxrbench.store.prepare import prepare


@dataclass(frozen=True)
class Ahead:
    """What is ready for later runs.

    ``data`` is what ``--data`` names the cohort by, ``excluded`` are the rows and images that are
    not used, ``stores`` what the runs will read, ``made`` the keys of those that this call made.
    """

    data: str
    images: int
    usable: int
    excluded: tuple[Exclusion, ...]
    stores: tuple[Entry, ...]
    made: frozenset[str]


def prepare_ahead(request: Request, display: Display) -> Ahead:
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
        threads=thread_count(request.threads),
        display=display,
    )
    return Ahead(
        data=data_text(dataset),
        images=len(cohort),
        usable=int(prepared.usable.sum()),
        excluded=(*cohort.excluded, *prepared.excluded),
        stores=tuple(map(entry_of_store, prepared.stores)),
        made=frozenset(folder.name for folder in prepared.made),
    )
