"""What the tests of the core and of the command line share."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from rich.console import Console

# How long an example takes says more of what else the machine does.
hypothesis.settings.register_profile("cxrbench", deadline=None)
hypothesis.settings.load_profile("cxrbench")

EXHAUSTIVE = "CXRBENCH_EXHAUSTIVE" in os.environ
"""Whether slow proofs try everything, for hours, and not a stated sample."""

TESTS = Path(__file__).parent
TINY = EntryPoint("tiny_parts", "tiny_parts", "cxrbench")


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Recorder:
    """A display that remembers its lines, and its tasks with the steps that were done."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tasks: list[tuple[str, int]] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def task(self, description: str, total: int):
        self.tasks.append((description, total))
        yield lambda steps=1, detail="": None

    def count(self, description: str) -> int:
        return sum(name == description for name, _ in self.tasks)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="session")
def tiny_plugin():
    """The plugin of tiny_parts beside the built-in ones, for the whole session."""
    installed = tuple(entry_points(group="cxrbench"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxrbench.registry.entry_points", lambda group: (*installed, TINY))
        yield


@pytest.fixture(scope="session")
def registry(tiny_plugin):
    from cxrbench.registry import load_registry

    return load_registry()


@pytest.fixture
def cli(monkeypatch, capfd, tiny_plugin) -> Callable[..., Said]:
    """Run the command line in this process."""

    def run(*arguments: object) -> Said:
        from cxrbench.cli import main

        monkeypatch.setattr(sys, "argv", ["cxrbench", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run


def environment(site: Path | None = None) -> dict[str, str]:
    """For another process: the folder ``site`` and this one are on its path."""
    places = [str(TESTS), *([str(site)] if site else []), *filter(None, [os.getenv("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), "NO_COLOR": "1"}


def install(site: Path, name: str, module: str, *, plugin: str | None = None) -> None:
    """Make ``module`` an installed plugin for processes that have ``site`` on their path."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[cxrbench]\n{plugin or module} = {module}\n")


_MAIN = "from cxrbench.cli import main; main()"


def spawn(*arguments: object, site: Path | None = None) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    command = [sys.executable, "-c", _MAIN, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=environment(site),
        preexec_fn=take_signals,
    )


def take_signals() -> None:
    """A shell starts jobs with signals ignored, in the background or by nohup; tests may be one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


NIH_LABELS = ("Effusion", "Mass", "Nodule")


def write_nih(root: Path, *, patients: int = 40, size: int = 96, seed: int = 0) -> Path:
    """A folder in NIH's layout; a label makes its third of the picture brighter."""
    import cv2

    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender"
    lines = [f"{header},View Position"]
    for patient in range(1, patients + 1):
        present = [name for number, name in enumerate(NIH_LABELS) if patient >> number & 1]
        for visit in range(1 + patient % 2):
            name = f"{patient:08}_{visit:03}.png"
            image = cv2.GaussianBlur(rng.integers(0, 160, (size, size)).astype(np.uint8), (5, 5), 0)
            for label in present:
                third = NIH_LABELS.index(label) * size // 3
                image[third : third + size // 3] += 60
            cv2.imwrite(str(root / "images" / name), image)
            told = "|".join(present) or "No Finding"
            sex, view = "MF"[patient % 2], ("PA", "AP")[patient % 3 == 0]
            lines.append(f"{name},{told},{visit},{patient},{30 + patient},{sex},{view}")
    (root / "Ground_Truth.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def tiny_nih(tmp_path_factory) -> Path:
    """60 images of 40 patients; each test split has both classes of several labels."""
    return write_nih(tmp_path_factory.mktemp("nih") / "cohort")


def write_drawn(root: Path) -> Path:
    """The phantom's films as PNG files, with NIH's table of one row for each."""
    import cv2

    from cxrbench.builtin.phantom import Phantom

    phantom = Phantom(patients=30, size=160)
    drawn = phantom.load()
    (root / "images").mkdir(parents=True)
    columns = ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "View Position")
    with (root / "Ground_Truth.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row, source in enumerate(drawn.sources):
            visit = drawn.image_ids[row].partition("_")[2]
            patient = int(drawn.patient_ids[row][1:])
            name = f"{patient:08}_{visit}.png"
            image = phantom.read(source, max_pixels=10**6)
            cv2.imwrite(str(root / "images" / name), image)
            labels = [n for n, v in zip(drawn.label_names, drawn.labels[row], strict=True) if v]
            age = f"{drawn.ages[row]:.0f}"
            writer.writerow((name, "|".join(labels), patient, age, drawn.views[row]))
    return root


@pytest.fixture(scope="session")
def drawn_films(tmp_path_factory) -> Path:
    """Films of 30 patients; tests only read them."""
    return write_drawn(tmp_path_factory.mktemp("drawn") / "cohort")


@pytest.fixture
def films_to_spoil(drawn_films, tmp_path) -> Path:
    """A copy of the drawn films that a test may change."""
    return shutil.copytree(drawn_films, tmp_path / "cohort")


@pytest.fixture
def cohort_of() -> Callable:
    """A cohort from labels (N, L): each image of its own patient unless patients are given."""

    def build(labels, *, patients=None, **changes):
        from cxrbench.interfaces import Cohort

        told = np.array(labels, np.float32)
        count = len(told)
        names = ("Effusion", "Mass", "Nodule", "No Finding")[-told.shape[1] :]
        ids = tuple(f"i{row}" for row in range(count))
        fields = {
            "name": "made",
            "label_names": names,
            "image_ids": ids,
            "patient_ids": tuple(patients or (f"p{row}" for row in range(count))),
            "labels": told,
            "ages": np.full(count, np.nan, np.float32),
            "sexes": ("",) * count,
            "views": ("",) * count,
            "sources": tuple(f"{name}.png" for name in ids),
        }
        return Cohort(**fields | changes)

    return build


@dataclass(frozen=True)
class Grid:
    """A grid of recipes that was run once for many tests; they only read it."""

    folder: Path
    runs: Path
    cache: Path
    result: dict
    display: Recorder
    calls: dict

    def run_of(self, recipe: str, seed: int = 0) -> Path:
        import json

        for path in sorted(self.runs.iterdir()):
            if path.is_dir():
                info = json.loads((path / "run.json").read_text())
                if (info["recipe"], info["seed"]) == (recipe, seed):
                    return path
        raise AssertionError(f"no run of {recipe}")


FAST = {"head": "mlp", "epochs": 2, "batch_size": 16, "weights": "none"}


@pytest.fixture(scope="session")
def grid(tiny_plugin, tmp_path_factory) -> Grid:
    """tinynet, tinynet with two features and grid alone, as probes with two seeds."""
    import tiny_parts

    import cxrbench

    folder = tmp_path_factory.mktemp("grid")
    display = Recorder()
    before = tiny_parts.calls.copy()
    result = cxrbench.run(
        ["tinynet", "tinynet+grid+rows:words=8", "grid"],
        data="drawn",
        runs=folder / "runs",
        cache=folder / "cache",
        protocol="probe",
        seeds=2,
        display=display,
        **FAST,
    )
    calls = dict(tiny_parts.calls - before)
    return Grid(folder, folder / "runs", folder / "cache", result, display, calls)


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes standard output a terminal of this width, without colours."""

    def of(width: int) -> None:
        settings = {"highlight": False, "markup": False, "emoji": False, "color_system": None}
        monkeypatch.setattr(
            "cxrbench.output.show.plain_console",
            lambda: Console(width=width, force_terminal=True, **settings),
        )

    return of
