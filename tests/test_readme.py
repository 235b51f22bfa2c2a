"""Every command line of the README works, in its order, on one small board."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import NIH_LABELS, Said, write_nih
from dicom_files import SECRET, pixels, write
from tiny_parts import TinyNet

from cxrbench.builtin.resnet50 import ResNet50

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    command.strip()
    for block in re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    for command in line.partition(" #")[0].split("&&")
    if command.strip().startswith("cxrbench ")
]
# So that a line takes seconds: a small network in place of ResNet50, few images, short training.
SHORT = {
    "run": ("--image-size", "32", "--epochs", "1", "--batch-size", "16"),
    "data prepare": ("--image-size", "32"),
    "figures": ("--only", "roc", "--format", "svg"),
    "perf time": ("--data", "my_nih/", "--image-size", "32", "--batch-size", "2"),
}
NEEDS_PLUGINS = "efficientnetb0"


def test_the_readme_has_all_its_commands() -> None:
    names = {" ".join(command.split()[1:3]) for command in COMMANDS}
    assert len(COMMANDS) >= 19
    assert {"perf compare", "data check", "run resnet+orb", "compare resnet+orb"} <= names


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """The files that the README names, under the names that it gives them."""
    folder = tmp_path_factory.mktemp("readme")
    nih = write_nih(folder / "my_nih")
    names = sorted(path.name for path in (nih / "images").iterdir())
    header = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    boxes = (f"{name},{label},10,10,40,40\n" for name in names for label in NIH_LABELS)
    (nih / "BBox_List_2017.csv").write_text(header + "".join(boxes))
    (folder / "new_images").mkdir()
    for name in names[:2]:
        shutil.copy(nih / "images" / name, folder / "new_images" / name)
    shutil.copy(nih / "images" / names[0], folder / "image.png")
    write_archive(folder / "archive")
    return folder


def write_archive(folder: Path) -> None:
    """DICOM files of 30 patients, and beside their folder a table of labels."""
    rows = ["file,Effusion,Mass"]
    for number in range(30):
        write(folder / f"{number}.dcm", pixels(seed=number), PatientID=f"P{number}")
        rows.append(f"{number}.dcm,{number % 2},{number // 2 % 2}")
    (folder.parent / "labels.csv").write_text("\n".join(rows) + "\n")


def small_resnet(self, image_size, weights):
    network = TinyNet().build(image_size, weights)
    network.get_layer("second").name = self.freeze_at
    return network


@pytest.fixture
def at_desk(desk, monkeypatch) -> Path:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("CXRBENCH_CACHE", str(desk / "cache"))
    monkeypatch.setenv("CXRBENCH_DICOM_KEY", SECRET)
    monkeypatch.setattr(ResNet50, "build", small_resnet)
    return desk


def typed(command: str, desk: Path) -> list[str]:
    """The words of the command with a real run for RUN, and short."""
    words = shlex.split(command)[1:]
    runs = sorted((desk / "runs").glob("nih-resnet50+orb-probe-*"))
    if runs:
        words = [word.replace("RUN", str(runs[0])) for word in words]
    for name, more in SHORT.items():
        if words[: len(name.split())] == name.split() and "--config" not in words:
            words += more
    if words[0] == "run" and "--weights" not in words and "--config" not in words:
        words += ["--weights", "none"]
    if words[:2] == ["run", "resnet+orb"] and "--data" not in words:
        words += ["--data", "phantom"]
    words = ["phantom:patients=40" if word == "phantom" else word for word in words]
    if words[0] == "submit":
        write_predictions(desk)
    return words


def write_predictions(desk: Path) -> None:
    """``other.csv`` with a number for each test image and label of a run."""
    import pandas as pd

    run = next((desk / "runs").glob("nih-orb-*"))
    table = pd.read_parquet(run / "predictions.parquet")
    table = table[table["split"] == "test"]
    names = [name for name in table.columns if name.startswith("y_score_")]
    with (desk / "other.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(name.removeprefix("y_score_") for name in names)])
        writer.writerows([row["image"], *row[names]] for _, row in table.iterrows())


def test_the_commands_work_in_their_order(at_desk, cli) -> None:
    """One test, because later commands use what earlier ones leave."""
    for command in COMMANDS:
        if NEEDS_PLUGINS in command or "perf time" in command:
            continue  # the tests of plugins/ run the first, and a slow test the second
        if command.startswith("cxrbench perf compare"):
            # Outside of a checkout: the options are read, and the message says what is missing.
            said: Said = cli(*shlex.split(command)[1:])
            assert said.code == 2
            assert "git" in said.err
            continue
        said = cli(*typed(command, at_desk))
        assert said.code == 0, f"{command}\n{said.err}"


@pytest.mark.slow
def test_the_hot_paths_are_timed(at_desk, cli) -> None:
    """It starts a process for each hot path."""
    (command,) = (command for command in COMMANDS if "perf time" in command)
    said = cli(*typed(command, at_desk))
    assert said.code == 0, said.err
