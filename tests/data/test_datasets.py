"""``--data``: names, options, paths, the current folder, and plugins that fail to look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tiny_parts import Drawn

from cxrbench import Cohort, Dataset, Display
from cxrbench.data.datasets import describe, examine, find_dataset, load_cohort
from cxrbench.errors import DataError, PluginError, RecipeError


def test_without_a_text_the_current_folder_is_taken_if_it_holds_a_cohort(
    registry, tiny_nih, tmp_path
):
    found = find_dataset(None, registry, tiny_nih)
    assert (found.name, Path(found.path)) == ("nih", tiny_nih)
    assert "the current folder" in describe(found, None)
    fallback = find_dataset(None, registry, tmp_path)
    assert fallback.name == "phantom"
    assert "built-in synthetic cohort" in describe(fallback, None)


def test_a_name_with_options(registry, tmp_path):
    phantom = find_dataset("phantom:patients=40,seed=3", registry, tmp_path)
    assert (phantom.patients, phantom.seed) == (40, 3)
    assert find_dataset("PHANTOM", registry, tmp_path).name == "phantom"
    assert find_dataset("chestxray14", registry, tmp_path).name == "nih"
    assert describe(phantom, "phantom:patients=40") == "data: phantom"


def test_a_path_is_recognised(registry, tiny_nih, tmp_path):
    found = find_dataset(str(tiny_nih), registry, tmp_path)
    assert found.name == "nih"
    assert describe(found, str(tiny_nih)) == f"data: nih at {tiny_nih}"


def test_nihs_own_table_is_nihs_and_other_tables_are_csv(registry, tiny_nih, tmp_path):
    found = find_dataset(str(tiny_nih / "Ground_Truth.csv"), registry, tmp_path)
    assert (found.name, found.path) == ("nih", str(tiny_nih))
    for name in ("Ground_Truth.csv", "t.csv", "T.CSV.GZ", "t.tsv"):
        (tmp_path / name).touch()
        found = find_dataset(str(tmp_path / name), registry, tmp_path)
        assert (found.name, found.path) == ("csv", str(tmp_path / name))


def test_a_dataset_that_knows_a_file_goes_before_a_general_one(registry, tmp_path):
    @dataclass(frozen=True)
    class Special(Failing):
        name = "zz"

        @classmethod
        def recognise(cls, path):
            return cls() if path.name == "special.csv" else None

    datasets = {**registry.parts["dataset"], "zz": Special}
    both = replace(registry, parts={**registry.parts, "dataset": datasets})
    for name, expected in (("special.csv", "zz"), ("other.csv", "csv")):
        (tmp_path / name).touch()
        assert find_dataset(str(tmp_path / name), both, tmp_path).name == expected


def test_an_option_may_hold_a_path_with_a_colon(registry, tmp_path):
    found = find_dataset("nih:path=/a:b/c", registry, tmp_path)
    assert found.path == "/a:b/c"


def test_wrong_names_and_options_say_what_there_is(registry, tmp_path):
    with pytest.raises(DataError) as error:
        find_dataset("fantom", registry, tmp_path)
    assert "drawn, nih, phantom" in str(error.value)
    assert "Did you mean 'phantom'?" in str(error.value)
    with pytest.raises(RecipeError, match="no parameter 'patient'"):
        find_dataset("phantom:patient=3", registry, tmp_path)
    with pytest.raises(RecipeError, match="a whole number"):
        find_dataset("phantom:patients=few", registry, tmp_path)


def test_a_folder_of_another_layout_is_listed(registry, tmp_path):
    with pytest.raises(DataError, match="an empty folder"):
        find_dataset(str(tmp_path), registry, tmp_path)
    for number in range(7):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(DataError, match=r"0\.txt.*and 2 more"):
        find_dataset(str(tmp_path), registry, tmp_path)
    with pytest.raises(DataError, match="a file"):
        find_dataset(str(tmp_path / "0.txt"), registry, tmp_path)


@dataclass(frozen=True)
class Failing(Dataset):
    name = "failing"

    @classmethod
    def recognise(cls, path):
        raise ValueError("bug in the plugin")

    def load(self):
        raise NotImplementedError


def test_a_plugin_that_fails_to_look_at_a_path_harms_no_other(registry, tiny_nih, tmp_path):
    datasets = {"failing": Failing, **registry.parts["dataset"]}
    broken = replace(registry, parts={**registry.parts, "dataset": datasets})
    assert find_dataset(str(tiny_nih), broken, tmp_path).name == "nih"
    assert find_dataset(None, broken, tmp_path).name == "phantom"
    with pytest.raises(PluginError, match="failing: ValueError: bug in the plugin"):
        find_dataset(str(tmp_path), broken, tmp_path)


@dataclass(frozen=True)
class Slow(Drawn):
    """Shows progress, and keeps something in the cache."""

    def load_showing(self, display: Display, cache: Path) -> Cohort:
        display.say(f"kept in {cache}")
        ids = self.load().image_ids
        return replace(self.load(), notes=("drawn",), patient_ids=ids, patients_known=False)


def test_loading_shows_progress_and_notes_and_that_patients_are_unknown(recorder, tmp_path):
    cohort = load_cohort(Slow(), recorder, tmp_path)
    assert len(cohort) == len(Slow().load())
    kept, note, unknown = recorder.lines
    assert (kept, note) == (f"kept in {tmp_path}", "  drawn")
    assert unknown.startswith("  Patients are unknown")


def test_a_dataset_is_examined_by_what_it_loads_with_progress(recorder, tmp_path):
    examined = examine(Slow(), recorder, tmp_path)
    assert recorder.lines == [f"kept in {tmp_path}"]
    assert (examined.faults, examined.has_images) == ((), True)
    assert examined.cohort.notes == ("drawn",)


@pytest.mark.parametrize(("ask", "verb"), [(load_cohort, "load"), (examine, "examine")])
def test_a_dataset_that_fails_is_a_plugins_fault(ask, verb, recorder, tmp_path):
    @dataclass(frozen=True)
    class Broken(Drawn):
        def load(self) -> Cohort:
            raise KeyError("Mass")

    with pytest.raises(PluginError, match=rf"failed to {verb}(?s:.*)KeyError: 'Mass'"):
        ask(Broken(), recorder, tmp_path)
