"""Run directories whose files were changed, with matching SHA-256: named, and never a traceback."""

from __future__ import annotations

import io
import json
import random
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import EXHAUSTIVE
from test_hostile_runs import rewrite

VALUES = (
    *(None, True, -1, 0, 3, 0.5, 10**400, 2**63, 1e308, -1e308, "", "x", "1", "x" * 5000, "\ud800"),
    *("\x1b[2J", "$x_{$", "../..", "prior", [], {}, [None], [[]], {"": None}, {"a": {}}),
)
JSON = (
    "run.json",
    "metrics.json",
    "labels.json",
    "subgroups.json",
    "saliency.json",
    "latency.json",
)
ARRAYS = ("bootstrap.npz", "bootstrap_details.npz", "saliency.npz", "encoders/grid.npz")
SHORT, LONG = 4, 60 if EXHAUSTIVE else 6
"""Mutations of each file, for each command."""


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """The keys to each value in a tree."""
    items = enumerate(value) if isinstance(value, list) else ()
    for key, inner in value.items() if isinstance(value, dict) else items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(tree: object, chance: random.Random) -> object:
    """The tree with one value replaced, removed or repeated; in most cases near the root."""
    found = list(places(tree))
    if not found:
        return [tree]
    place = chance.choice(chance.choice([found, [one for one in found if len(one) < 3]]))
    holder = tree
    for key in place[:-1]:
        holder = holder[key]
    match chance.randrange(6):
        case 0:
            del holder[place[-1]]
        case 1:
            holder[place[-1]] = [holder[place[-1]]] * 2
        case 2:
            nested: object = 0
            for _ in range(chance.choice([30, 300])):
                nested = [nested] if chance.random() < 0.5 else {"a": nested}
            holder[place[-1]] = nested
        case _:
            holder[place[-1]] = chance.choice(VALUES)
    return tree


def json_text(tree: object, chance: random.Random) -> bytes:
    text = json.dumps(tree)
    if chance.random() < 0.1:
        text = text.replace("0.", chance.choice(["NaN", "Infinity", "1e999", "0.0.", "-"]), 1)
    return text.encode()


def table(content: bytes, chance: random.Random) -> bytes:
    """A changed predictions.parquet."""
    rows = pd.read_parquet(io.BytesIO(content))
    column = chance.choice(list(rows.columns))
    scores = [name for name in rows if name.startswith("y_score")]
    changes: list[Callable[[], pd.DataFrame]] = [
        lambda: rows.drop(columns=column),
        lambda: rows.assign(**{column: chance.choice([0, -1, "x", None, np.inf, b"x", True])}),
        lambda: rows.assign(**{scores[0]: np.nan}),
        lambda: rows.assign(**{column: [[1]] * len(rows)}),
        lambda: rows.assign(**{scores[0]: rows[scores[0]].astype(str)}),
        lambda: rows.assign(**{scores[0]: 2.0}),
        lambda: pd.concat([rows, rows]),
        lambda: rows[:0],
        lambda: rows[rows["split"] == chance.choice(["val", "test"])],
        lambda: rows.sample(frac=0.5, random_state=1),
        lambda: rows.assign(patient=rows["image"]),
        lambda: rows.set_index("image"),
        lambda: rows.rename(columns={column: "other"}),
    ]
    try:
        out = io.BytesIO()
        chance.choice(changes)().to_parquet(out)
        return out.getvalue()
    except Exception:  # no such table can be written
        return raw(content, chance)


def arrays(content: bytes, chance: random.Random) -> bytes:
    """A changed ``.npz``."""
    with np.load(io.BytesIO(content)) as file:
        parts = {name: file[name] for name in file.files}
    name = chance.choice(sorted(parts))
    one = parts[name]
    changes = [
        one.reshape(-1)[:-1],
        one[None],
        np.concatenate([one.reshape(-1)] * 2),
        one.astype(np.complex64),
        one.astype("U8"),
        np.full(one.shape, np.inf),
        np.full(one.shape, np.nan),
        np.array(1.0),
        np.zeros((0,)),
        np.array([{}], dtype=object),
        None,
    ]
    new = chance.choice(changes)
    others = {n: array for n, array in parts.items() if n != name}
    out = io.BytesIO()
    np.savez(out, **others, **({} if new is None else {name: new}))
    return out.getvalue()


def raw(content: bytes, chance: random.Random) -> bytes:
    """Changed, cut or no bytes."""
    cut = chance.randrange(len(content))
    flipped = bytearray(content)
    for _ in range(5):
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return chance.choice([content[:cut], bytes(flipped), b"", b"\x00" * 100])


def damage(run: Path, name: str, seed: int) -> None:
    """Change one file of a run, with its SHA-256."""
    chance = random.Random(f"{name} {seed}")
    content = (run / name).read_bytes()
    if chance.random() < 0.1 and name != "run.json":
        rewrite(run, name, raw(content, chance))
    elif name.endswith(".json"):
        tree = json.loads(content)
        for _ in range(chance.choice([1, 1, 2])):
            tree = changed(tree, chance)
        text = json_text(tree, chance)
        (run / name).write_bytes(text) if name == "run.json" else rewrite(run, name, text)
    elif name.endswith(".parquet"):
        rewrite(run, name, table(content, chance))
    else:
        rewrite(run, name, arrays(content, chance))


@pytest.fixture(scope="module")
def folder(grid, tmp_path_factory) -> Path:
    """The runs of a grid, where one has everything that can be added to a run."""
    runs = tmp_path_factory.mktemp("damaged") / "runs"
    shutil.copytree(grid.runs, runs)
    from cxrbench.inference.localise import LocaliseOptions, score_saliency
    from cxrbench.output.display import SilentDisplay
    from cxrbench.registry import load_registry
    from cxrbench.runs.additions import store_latency
    from cxrbench.runs.run import read_run

    run = read_run(runs / grid.run_of("tinynet+grid+rows:words=8").name)
    options = LocaliseOptions(data="drawn", method="gradcam")
    score_saliency(
        run, options, load_registry(), cache=grid.cache, threads=1, display=SilentDisplay()
    )
    store_latency(read_run(run.path), {"latency_seconds": 0.1})
    return runs


COMMANDS: dict[str, tuple[str, ...]] = {
    "leaderboard": ("leaderboard", "--per-label", "--ablation"),
    "csv": ("leaderboard", "--format", "csv"),
    "compare": ("compare", "RUN", "OTHER"),
    "score": ("score", "RUN"),
    "figures": ("figures", "--format", "png", "--output", "OUT/figures"),
    "report": (
        "report",
        "RUN",
        "OTHER",
        "--cases",
        "1",
        "--data",
        "drawn",
        "--output",
        "OUT/r.html",
    ),
    "predict": ("predict", "RUN", "IMAGE"),
    "export": ("export", "RUN", "--output", "OUT/model.keras"),
    "localise": ("localise", "RUN", "--data", "drawn"),
    "explain": ("explain", "RUN", "IMAGE", "--output", "OUT/explained"),
}
WITH_ADDITIONS = "drawn-tinynet+grid+rows_words=8-probe-seed0"


def run_command(cli, folder: Path, tmp_path: Path, image: Path, command: str, name: str, seed: int):
    """What a command says of runs one of which is damaged."""
    runs = Path(shutil.copytree(folder, tmp_path / f"{command}-{seed}"))
    run = next(path for path in runs.iterdir() if path.name.startswith(WITH_ADDITIONS))
    other = next(path for path in runs.iterdir() if path.name.startswith("drawn-grid-probe-seed0"))
    damage(run, name, seed)
    words = {"RUN": str(run), "OTHER": str(other), "IMAGE": str(image)}
    arguments = [words.get(a, a.replace("OUT", str(tmp_path))) for a in COMMANDS[command]]
    places = [] if command == "export" else ["--runs", runs]
    said = cli(*arguments, *places)
    shutil.rmtree(runs)
    return said


def check(cli, folder, tmp_path, image, command: str, name: str, seed: int) -> None:
    case = f"{command}, {name}, seed {seed}"
    try:
        said = run_command(cli, folder, tmp_path, image, command, name, seed)
    except Exception as error:
        raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
    assert said.code in (0, 1, 2), f"{case}: {said}"
    assert "Traceback" not in said.err, f"{case}: {said.err}"
    if command in ("leaderboard", "csv", "figures"):
        assert said.code == 0, f"{case}: one bad run costs its own row only: {said.err}"


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    import cv2

    path = tmp_path_factory.mktemp("image") / "a.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8))
    return path


FILES = (*JSON, *ARRAYS, "predictions.parquet")


@pytest.mark.parametrize("name", FILES)
def test_damaged_runs_are_named_and_left_out(cli, folder, tmp_path, image, name):
    for seed in range(SHORT):
        for command in ("leaderboard", "csv", "compare"):
            check(cli, folder, tmp_path, image, command, name, seed)


@pytest.mark.parametrize("command", ["score", "figures", "report", "predict", "localise"])
def test_a_damaged_run_gives_one_message(cli, folder, tmp_path, image, command):
    for name in ("run.json", "labels.json", "predictions.parquet"):
        check(cli, folder, tmp_path, image, command, name, 0)


def test_statistics_of_another_type_are_refused(cli, folder, tmp_path, image):
    check(cli, folder, tmp_path, image, "predict", "encoders/grid.npz", 1015)  # complex numbers


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", COMMANDS)
def test_many_damaged_runs(cli, folder, tmp_path, image, command, name):
    few = command in ("figures", "report", "export", "explain", "localise")
    for seed in range(1000, 1000 + (max(2, LONG // 6) if few else LONG)):
        check(cli, folder, tmp_path, image, command, name, seed)


def test_a_bomb_of_zeros_is_not_unpacked(cli, folder, tmp_path):
    runs = Path(shutil.copytree(folder, tmp_path / "runs"))
    run = next(path for path in runs.iterdir() if path.name.startswith(WITH_ADDITIONS))
    out = io.BytesIO()
    header = io.BytesIO()
    sides = {"descr": "<f8", "fortran_order": False, "shape": (10**9,)}
    np.lib.format.write_array_header_1_0(header, sides)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("macro_auroc", "macro_auroc_findings", "micro_auroc"):
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(header.getvalue())
                for _ in range(300):
                    member.write(bytes(2**20))
    assert len(out.getvalue()) < 2**20
    rewrite(run, "bootstrap.npz", out.getvalue())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = cli("leaderboard", "--runs", runs)
    assert said.code == 0
    assert run.name in said.err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
