"""Every write of a command fails once: one message, nothing that only looks whole, same end.

The slow form fails about six operations of each command in each of four ways, and with
CXRBENCH_EXHAUSTIVE=1 in the environment each operation. The fast form takes fewer.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import EXHAUSTIVE
from failing_writes import MODES, Ended, WarmProcess, compiler
from recorded import recording

from cxrbench.perf.recordings import append_recording

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler")

DATA = ("--data", "drawn:patients=24")
MOST = 6
PLACES = ("--runs", "runs", "--cache", "cache")
SHORT = ("--epochs", 2, "--batch-size", 16)
PRIOR = ("run", "prior", *DATA, *PLACES)
GRID = ("run", "grid", *DATA, *PLACES, "--protocol", "probe")
PREDICTED = "predicted.csv"
RECORDED = "history.jsonl"


@dataclass(frozen=True)
class Case:
    """A command, those before it that make what it needs, and how many samples the fast form takes.

    ``{prior}`` and ``{grid}`` stand for the run directories of these recipes.
    """

    command: Sequence[object]
    before: Sequence[Sequence[object]] = ()
    samples: int = 2


CASES: Mapping[str, Case] = {
    "prepare": Case(
        ("data", "prepare", *DATA, "--for", "tinynet+grid", "--cache", "cache"), samples=6
    ),
    "prior": Case(PRIOR, samples=6),
    "probe": Case(GRID, samples=3),
    "finetune": Case(("run", "tinynet", *DATA, *PLACES, *SHORT, "--protocol", "finetune")),
    "score": Case(("score", "{prior}", "--calibration", "isotonic"), (PRIOR,), samples=6),
    "submit": Case(
        ("submit", "other", PREDICTED, *DATA, *PLACES, "--split", "predictions"), (PRIOR,), 6
    ),
    "report": Case(("report", "{prior}", "--output", "report.html"), (PRIOR,), samples=1),
    "export": Case(
        ("export", "{grid}", "--format", "keras", "--output", "model.keras"), (GRID,), samples=0
    ),
    "cache clear": Case(
        ("cache", "clear", "--all", "--yes", "--cache", "cache"), (PRIOR,), samples=6
    ),
    "perf compare": Case(
        (
            *("perf", "compare", f"{RECORDED}@aaaa", f"{RECORDED}@bbbb"),
            *("--markdown", "speed.md", "--output", "samples.json", "--benchmark-json", "bench"),
        ),
        samples=4,
    ),
}


class Place:
    """A folder with a warm process; ``state`` of the folder is what tests compare."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.warm = WarmProcess(root)

    def run(self, command: Sequence[object], **fault: object) -> Ended:
        names = {"{prior}": "drawn-prior-", "{grid}": "drawn-grid-"}
        arguments = []
        for word in command:
            if word in names:
                (found,) = (self.root / "runs").glob(f"{names[str(word)]}*[!k]")
                arguments.append(found)
            else:
                arguments.append(word)
        return self.warm.run(arguments, **fault)

    def clear(self) -> None:
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.root / "tmp").mkdir()

    def restore(self, saved: Path) -> None:
        self.clear()
        shutil.copytree(saved, self.root, dirs_exist_ok=True)

    def state(self) -> dict[str, str]:
        """A digest of each file, without locks, temporary files and what tells the time."""
        return {
            str(path.relative_to(self.root)): hashlib.sha256(_timeless(path)).hexdigest()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.suffix != ".lock" and self.root / "tmp" not in path.parents
        }


def _timeless(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name == "run.json":
        values = json.loads(content)
        for name in ("started", "finished", "seconds", "train_seconds", "images_per_second"):
            values.pop(name, None)
        # Each of these has a time in it, and its digest is here.
        for name in ("history.csv", "model.keras"):
            values["files"].pop(name, None)
        return json.dumps(values).encode()
    if path.name == "history.csv":
        return b"\n".join(line.rsplit(b",", 2)[0] for line in content.splitlines())
    if path.suffix == ".keras":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return b"".join(archive.read(name) for name in ("config.json", "model.weights.h5"))
    if path.parent.name == "bench":
        return json.dumps(json.loads(content) | {"datetime": ""}).encode()
    if path.name.endswith(".keras.json"):
        return json.dumps(json.loads(content) | {"sha256": ""}).encode()
    return content


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("faults") / "root")
    yield place
    place.warm.close()


@dataclass(frozen=True)
class Prepared:
    """A case with the folder before its command, what is there after it, and its operations."""

    case: Case
    before: Path
    after: Mapping[str, str]
    count: int


@pytest.fixture(scope="module", params=CASES)
def prepared(request, place, tmp_path_factory) -> Prepared:
    case = CASES[request.param]
    place.clear()
    for command in case.before:
        ended = place.run(command)
        assert ended.code == 0, ended.err
    if request.param == "submit":
        write_predictions(place.root)
    if request.param == "perf compare":
        for number, commit in enumerate(("aaaa1111", "bbbb2222")):
            append_recording(recording(commit, seed=number), place.root / RECORDED)
    before = tmp_path_factory.mktemp("before") / "root"
    shutil.copytree(place.root, before)
    ended = place.run(case.command)
    assert ended.code == 0, ended.err
    assert ended.count, "the layer counts nothing"
    return Prepared(case, before, place.state(), ended.count)


def write_predictions(root: Path) -> None:
    import pandas as pd

    (run,) = (root / "runs").glob("drawn-prior-*[!k]")
    table = pd.read_parquet(run / "predictions.parquet").query("split == 'test'")
    scores = {n: table[n] for n in table.columns if n.startswith("y_score_")}
    frame = pd.DataFrame({"image": table["image"], **scores})
    frame.columns = [name.removeprefix("y_score_") for name in frame.columns]
    frame.to_csv(root / PREDICTED, index=False)


def require_recovery(place: Place, prepared: Prepared, at: int, mode: str) -> int:
    """Fail one operation and check everything; the number of faults that happened (0 or 1)."""
    place.restore(prepared.before)
    ended = place.run(prepared.case.command, at=at, mode=mode)
    if not ended.failed:  # counts differ a little from run to run
        assert ended.code == 0, ended.err
        return 0
    told = f"{mode} at {at}, {ended.failed}: {ended.err}"
    assert "Traceback" not in ended.err, told
    assert "Exception ignored" not in ended.err, told
    if ended.code == 0:  # there was another way, as for a folder that is there already
        assert place.state() == prepared.after, told
        return 1
    elif mode == "kill" and ended.code != 2:  # 2: a process that the command started was killed
        assert ended.code == -9, told
    else:
        assert ended.code == 2, told
        assert ended.err.count("cxrbench: ") == 1, told
    require_no_half(place.root, prepared.after, told)
    if (place.root / "model.keras").exists():  # whole, and no export replaces one
        return 1
    again = place.run(prepared.case.command)
    assert again.code == 0, f"{told}\nthen: {again.err}"
    assert place.state() == prepared.after, told
    return 1


def require_no_half(root: Path, whole: Mapping[str, str], told: str) -> None:
    """What says that it is complete is complete."""
    for path in (root / "runs").glob("*/run.json"):
        values = json.loads(path.read_bytes())
        if values["status"] == "complete":
            for name, digest in values["files"].items():
                content = (path.parent / name).read_bytes()
                assert hashlib.sha256(content).hexdigest() == digest, told
    for name in ("report.html", "model.keras"):
        if (root / name).exists():
            assert name in whole, told
            assert hashlib.sha256(_timeless(root / name)).hexdigest() == whole[name], told


def test_a_sample_of_the_writes_fails(place, prepared):
    samples = prepared.case.samples
    if not samples:
        pytest.skip("its processes take too long: the slow form has it")
    step = prepared.count / samples
    happened = 0
    for number in range(samples):
        mode = MODES[number % len(MODES)]
        happened += require_recovery(place, prepared, 1 + int(number * step), mode)
    assert happened >= samples - 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_write_fails_once(place, prepared, mode):
    # Without EXHAUSTIVE some operations, other ones for each way.
    step = 1 if EXHAUSTIVE else max(1, prepared.count // MOST)
    places = range(1 + MODES.index(mode) * step // len(MODES), prepared.count + 1, step)
    happened = sum(require_recovery(place, prepared, at, mode) for at in places)
    print(f"\n{' '.join(map(str, prepared.case.command[:2]))}: {happened} faults of kind {mode}")
    # On a full disk, files are still removed.
    assert happened >= (1 if mode == "full" else 0.9 * len(places) - 1)
