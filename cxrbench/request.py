"""The `Request` of a run: recipes, data, folders and options, from any of the three interfaces."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from cxrbench import settings
from cxrbench.errors import SettingsError
from cxrbench.options import LARGEST_SEED, Option, check_options, options_of


def _is_rule(text: str) -> bool:
    from cxrbench.metrics.thresholds import parse_rule

    return parse_rule(text) is not None


def _user_cache() -> Path:
    from cxrbench.store.cache import cache_folder

    return cache_folder(None)


@dataclass(frozen=True)
class Request:
    """What to run; ``settings`` are the options of `Settings` that were given."""

    recipes: Annotated[
        tuple[str, ...],
        Option(
            "Recipes, such as `resnet`, `resnet+orb` or `orb:words=512+sift`.",
            metavar="RECIPE…",
            default="those of the file",
            positional=True,
        ),
    ] = ()
    data: Annotated[
        str | None,
        Option(
            "A folder, a table, or the name of a dataset, such as `phantom` or "
            "`phantom:patients=200`.",
            metavar="DATA",
            short="d",
            default="the current folder if it contains a cohort, else phantom",
        ),
    ] = None
    runs: Annotated[Path, Option("Folder of the run directories.", metavar="DIR", short="r")] = (
        Path("runs")
    )
    cache: Annotated[
        Path,
        Option(
            "Folder for images, features and embeddings that later commands reuse.",
            metavar="DIR",
            envvar="CXRBENCH_CACHE",
            default="CXRBENCH_CACHE, else the user's cache folder",
        ),
    ] = field(default_factory=_user_cache)
    threads: Annotated[
        int | None,
        Option(
            "Number of threads that read images.",
            least=1,
            most=1024,
            default="one for each core",
            short="j",
        ),
    ] = None
    seed: Annotated[
        int,
        Option(
            "Seed of initial weights, image order, augmentation and codebooks.",
            least=0,
            most=LARGEST_SEED,
            short="s",
        ),
    ] = 0
    seeds: Annotated[
        int, Option("Number of seeds to run, counted up from `--seed`.", least=1, most=10_000)
    ] = 1
    force: Annotated[bool, Option("Repeat runs that are already complete.")] = False
    ablation: Annotated[
        bool,
        Option(
            "Also run each recipe without each of its parts, and with each part permuted; report "
            "what each part adds."
        ),
    ] = False
    ablation_noise: Annotated[
        bool,
        Option(
            "With `--ablation`: also run each recipe with `noise` in place of each part; report "
            "what a part without information changes."
        ),
    ] = False
    saliency: Annotated[
        bool, Option("Also score saliency maps against the boxes of the test images.")
    ] = False
    latency: Annotated[
        bool, Option("Also measure the time from one image file to its probabilities.")
    ] = False
    executor: Annotated[
        Literal["local", "ray"],
        Option("Compute on this machine or on a Ray cluster.", panel="Computing"),
    ] = "local"
    ray_address: Annotated[
        str | None,
        Option(
            "Address of the Ray cluster.",
            metavar="HOST:PORT",
            default="RAY_ADDRESS, else a new Ray on this machine",
        ),
    ] = None
    calibration: Annotated[
        Literal["none", "temperature", "isotonic"],
        Option("Calibration of probabilities, fitted on the validation split.", panel="Scoring"),
    ] = "none"
    thresholds: Annotated[
        str,
        Option(
            "How thresholds are chosen on the validation split: `youden` or `sensitivity=0.9`.",
            metavar="RULE",
            valid=_is_rule,
        ),
    ] = "youden"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def thread_count(self) -> int:
        """``threads``, else one for each core that this process may use."""
        return self.threads or len(os.sched_getaffinity(0))

    @property
    def device(self) -> str:
        """The device of ``settings``, else ``auto``."""
        return str(self.settings.get("device", settings.Settings.device))

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of each row."""
        return tuple(range(self.seed, self.seed + self.seeds))


def known_options() -> dict[str, Option]:
    """All options of a run by name; those of a panel stand together."""
    own, shaping = options_of(Request), options_of(settings.Settings)
    panels = ["", *(option.panel for option in (*shaping.values(), *own.values()))]
    options = sorted([*own.values(), *shaping.values()], key=lambda o: panels.index(o.panel))
    return {option.name: option for option in options}


def request_of(options: Mapping[str, Any]) -> Request:
    """The request that options make, each checked by its declaration; None: not given.

    Raises
    ------
    SettingsError : an unknown option, or a value that cannot work.
    """
    checked = check_options(options, known_options())
    own = {name: checked.pop(name) for name in options_of(Request) if name in checked}
    request = Request(**own, settings=checked)
    if request.seed + request.seeds - 1 > LARGEST_SEED:
        raise SettingsError(
            f"--seed {request.seed} --seeds {request.seeds} go beyond the largest seed",
            expected=f"seeds from 0 to {LARGEST_SEED}",
            found=f"{request.seed} to {request.seed + request.seeds - 1}",
        )
    if request.ray_address is not None and request.executor != "ray":
        raise SettingsError(
            f"--ray-address {request.ray_address} has no meaning without --executor ray",
            expected="--executor ray beside it",
            found=f"--executor {request.executor}",
        )
    if request.saliency and checked.get("limit") is not None:
        raise SettingsError(
            "--saliency and --limit cannot be combined",
            expected="saliency of all test images with boxes, or a smoke test of few images",
            found=f"--saliency --limit {checked['limit']}",
            fix="leave one of the two out",
        )
    if request.ablation_noise and not request.ablation:
        raise SettingsError(
            "--ablation-noise has no meaning without --ablation",
            expected="--ablation beside it",
            found="--ablation-noise alone",
        )
    return request
