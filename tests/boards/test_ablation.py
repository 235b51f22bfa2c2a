"""Which rows are compared, and what is made of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_conditions import conditions

from cxrbench.boards.ablation import ablations
from cxrbench.boards.ablation_tables import ablation_section
from cxrbench.metrics.intervals import Spread, difference_interval, joined, p_value
from cxrbench.metrics.ranking import holm
from cxrbench.output.show import plain
from cxrbench.runs.run import Run

CONDITIONS = {
    **{"fingerprint": "f", "split_hash": "s", "backend": "tensorflow", "device": "cpu"},
    **{"devices": 1, "precision": "float32", "version": "1", "protocol": "probe"},
    **{"weights": "none", "weights_sha256": None, "image_size": None, "trains": "head"},
    **{"engine": "keras", "patients_known": True, "board_key": "b", "train_seconds": 2.0},
    "scoring": {"calibration": "none", "thresholds": "youden"},
}
SETTINGS = {"epochs": 100, "batch_size": 32, "learning_rate": 1e-4, "augment": "none", "fit": "pad"}
FINETUNE = {
    **{"protocol": "finetune", "weights": "imagenet", "image_size": 224, "trains": "all"},
    "settings": {**SETTINGS, "epochs": 20, "augment": "medical", "rotation": 15.0},
}
SHARED = np.random.default_rng(0).normal(scale=0.02, size=500)


def stored(recipe, macro=0.6, *, seed=0, noise=1, **changes) -> Run:
    """A run whose replicates hold the same patients as every other's."""
    told = {**CONDITIONS, "settings": SETTINGS, "parameters": 1000 * (1 + recipe.count("+"))}
    told |= {"recipe": recipe, "seed": seed} | changes
    told["row_key"] = repr({**told, "seed": 0, "train_seconds": 0, "scoring": {}})
    scores = {"macro_auroc": macro, "micro_auroc": macro + 0.1}
    rng = np.random.default_rng([noise, seed])
    replicates = {
        name: value + SHARED + rng.normal(scale=0.004, size=500) for name, value in scores.items()
    }

    class Drawn(Run):
        def replicates(self, names):
            return {name: replicates[name] for name in names}

    metrics = {**scores, "images": 90, "patients": 30}
    return Drawn(Path("runs") / f"{recipe}-{macro}-{seed}", conditions(**told), {}, metrics)


def gains(*runs):
    (found,) = ablations(runs)
    return [(row.part, row.without, len(row.runs_control)) for row in found.rows]


def test_rows_that_differ_by_one_part_are_compared():
    runs = [stored(text) for text in ("orb", "sift", "orb+sift", "orb+rows+sift", "rows")]
    assert gains(*runs) == [("orb", "sift", 0), ("rows", "orb+sift", 0), ("sift", "orb", 0)]
    assert gains(*runs[:2]) == []


def test_parameters_and_fusion_have_to_be_the_same():
    assert gains(stored("orb:words=8+sift"), stored("orb"), stored("sift@other")) == []
    found = gains(stored("orb:words=8+sift@other"), stored("sift@other"), stored("sift"))
    assert found == [("orb:words=8", "sift@other", 0)]


@pytest.mark.parametrize(
    "changes",
    [
        *({name: "x"} for name in ("fingerprint", "split_hash", "backend", "precision")),
        *({name: "x"} for name in ("version", "protocol", "engine", "weights")),
        {"settings": {**SETTINGS, "epochs": 7}},
        {"settings": {**SETTINGS, "batch_size": 7}},
    ],
    ids=str,
)
def test_whatever_else_differs_keeps_rows_apart(changes):
    changes = {k: "finetune" if k == "protocol" else v for k, v in changes.items()}
    assert gains(stored("orb+sift"), stored("sift", **changes)) == []
    assert gains(stored("orb+sift", **changes), stored("sift", **changes)) == [("orb", "sift", 0)]


def test_how_rows_were_calibrated_keeps_none_apart():
    """AUROC does not depend on it; seeds that were calibrated in two ways are one row here."""
    isotonic = {"scoring": {"calibration": "isotonic", "thresholds": "youden"}}
    seeds = [stored("sift"), stored("sift", seed=1, **isotonic)]
    (found,) = ablations([stored("orb+sift"), *seeds])
    (row,) = found.rows
    assert (row.part, len(row.runs_without)) == ("orb", 2)


def test_a_recipe_without_a_backbone_has_no_floor_of_steps():
    """Its linear head has no epochs, and its settings no ``min_steps``."""
    whole = {"settings": {**SETTINGS, "min_steps": 500}, "image_size": 32, "head": "mlp"}
    assert gains(stored("resnet50+orb", **whole), stored("orb")) == [("resnet50", "orb", 0)]


def test_a_control_has_to_have_the_same_conditions():
    control = "orb:permuted=true+sift"
    assert gains(stored("orb+sift"), stored("sift"), stored(control)) == [("orb", "sift", 1)]
    other = stored(control, settings={**SETTINGS, "epochs": 7})
    assert gains(stored("orb+sift"), stored("sift"), other) == [("orb", "sift", 0)]
    # Nor is a control a recipe whose parts are asked about.
    assert gains(stored(control), stored("orb:permuted=true"), stored("sift")) == []


def test_the_backbone_brings_the_conditions_of_its_training():
    network = stored("resnet50+orb", **FINETUNE)
    assert gains(network, stored("orb")) == [("resnet50", "orb", 0)]
    assert gains(network, stored("resnet50", **FINETUNE)) == [("orb", "resnet50", 0)]
    learning = stored("orb", settings={**SETTINGS, "learning_rate": 1.0})
    assert gains(network, learning) == []
    assert gains(network, stored("orb", fingerprint="x")) == []
    # Features of a network that is trained otherwise are not compared.
    assert gains(network, stored("resnet50", **{**FINETUNE, "weights": "none"})) == []


def test_each_board_has_its_own():
    runs = [stored(text, board_key=key) for key in "ab" for text in ("orb", "orb+sift")]
    assert [(one.board, len(one.rows)) for one in ablations(runs)] == [("a", 1), ("b", 1)]
    told = plain([one.rows for one in ablations(runs)])
    assert [rows[0]["part"] for rows in told] == ["sift", "sift"]
    assert told[1][0]["runs"] == ["orb+sift-0.6-0"]


def test_gain_control_and_what_is_beyond_it():
    seeds = [stored("orb+sift", value, seed=s, noise=2) for s, value in enumerate((0.66, 0.64))]
    without = stored("sift", 0.62, noise=3)
    control = stored("orb:permuted=true+sift", 0.61, noise=4)
    (row,) = ablations([*seeds, without, control])[0].rows
    gain = row.macro_auroc
    assert gain.part.difference == pytest.approx(0.03)
    assert gain.control.difference == pytest.approx(-0.01)
    assert gain.beyond_control.difference == pytest.approx(0.04)
    mean = np.mean([run.replicates(["macro_auroc"])["macro_auroc"] for run in seeds], axis=0)
    drawn = mean - without.replicates(["macro_auroc"])["macro_auroc"]
    # Test noise of the two seeds' own is in both variances, and counted once.
    one, other = (run.replicates(["macro_auroc"])["macro_auroc"] for run in seeds)
    noise = np.mean((one - other - 0.02) ** 2) / 4
    expected = joined(
        [
            Spread((np.var(drawn, ddof=1) - noise) * 30 / 29, 29),
            Spread(np.var([0.66, 0.64], ddof=1) / 2, 1),
        ]
    )
    assert gain.part.p == pytest.approx(p_value(0.03, expected))
    bounds = difference_interval(0.03, expected)
    assert (gain.part.low, gain.part.high) == pytest.approx(bounds)
    assert row.micro_auroc.part.difference == pytest.approx(0.03)
    assert (row.parameters, row.train_seconds) == (1000, 0.0)
    assert row.config == "runs/orb+sift-0.66-0/settings.toml"
    assert (len(row.runs), len(row.runs_without), len(row.runs_control)) == (2, 1, 1)


def test_the_advice_can_be_copied_into_a_shell():
    (ablation,) = ablations([stored("orb+sift"), stored("sift")])
    (row,) = ablation.rows
    config = "my runs/a $(touch b)/settings.toml"
    section = ablation_section(replace(ablation, rows=(replace(row, config=config),)))
    assert f"`cxrbench run --config '{config}' --seeds 1 --ablation`" in " ".join(section.notes)


def test_noise_in_the_place_of_a_part_is_another_control():
    runs = [stored("orb+sift", 0.63), stored("orb", 0.62, noise=2), stored("sift", 0.61, noise=3)]
    runs += [stored("noise+sift", 0.6, noise=4), stored("noise", 0.5)]
    orb, sift = ablations(runs)[0].rows
    assert (orb.part, orb.noise, len(orb.runs_noise)) == ("orb", "noise+sift", 1)
    assert orb.macro_auroc.noise.difference == pytest.approx(-0.01)
    assert orb.macro_auroc.noise.low < -0.01 < orb.macro_auroc.noise.high
    assert (sift.noise, sift.runs_noise, sift.macro_auroc.noise) == ("", (), None)
    # It takes part in no correction.
    assert orb.macro_auroc.part_p_holm == ablations(runs[:3])[0].rows[0].macro_auroc.part_p_holm


def test_noise_in_the_place_of_the_backbone_has_the_conditions_of_the_features():
    runs = [stored("resnet50+orb", 0.7, **FINETUNE), stored("orb"), stored("resnet50", **FINETUNE)]
    runs += [stored("noise+orb", 0.59), stored("resnet50+noise", 0.58, **FINETUNE)]
    orb, network = ablations(runs)[0].rows
    assert (orb.part, orb.noise) == ("orb", "resnet50+noise")
    assert (network.part, network.noise) == ("resnet50", "noise+orb")
    assert network.macro_auroc.noise.difference == pytest.approx(-0.01)


def test_holm_is_over_all_tests_of_the_table():
    runs = [stored("orb+sift", 0.63), stored("orb", 0.62, noise=2), stored("sift", 0.61, noise=3)]
    runs.append(stored("orb:permuted=true+sift", 0.62, noise=4))
    rows = ablations(runs)[0].rows
    orb, sift = (row.macro_auroc for row in rows)
    adjusted = holm([orb.part.p, sift.part.p, orb.beyond_control.p])
    found = (orb.part_p_holm, sift.part_p_holm, orb.beyond_control_p_holm)
    assert found == pytest.approx(adjusted)
    assert (sift.control, sift.beyond_control) == (None, None)
    assert math.isnan(sift.beyond_control_p_holm)


@pytest.mark.parametrize("tested", [True, False])
def test_the_method_of_its_intervals_is_named_once(tested):
    (one,) = ablations([stored("orb+sift", 0.61), stored("orb", noise=2)])
    notes = " ".join(ablation_section(one, tested=tested).notes)
    assert notes.count("95 % interval over patients (paired bootstrap, t quantile)") == 1


def test_a_part_that_was_left_out_is_no_question_of_power():
    (same,) = ablations([stored("orb+sift"), stored("orb")])
    (other,) = ablations([stored("orb+sift", 0.61), stored("orb", noise=2)])
    left_out, measured = (ablation_section(one).notes[0] for one in (same, other))
    assert left_out.startswith("sift: no significant gain over orb. Both have the same score")
    assert "Minimum detectable" not in left_out
    # Means of equal seeds differ by rounding.
    (row,) = same.rows
    rounded = replace(row.macro_auroc.part, low=-3e-16, high=3e-16)
    gain = replace(row.macro_auroc, part=rounded)
    again = replace(same, rows=(replace(row, macro_auroc=gain),))
    assert ablation_section(again).notes[0] == left_out
    assert "Minimum detectable" in measured


def test_what_is_undefined_stays_so():
    seeds = {"macro_auroc": None, "micro_auroc": 0.5, "images": 90, "patients": 30}
    run = stored("orb+sift", train_seconds=None)
    class_of = type(run)
    undefined = class_of(run.path, run.conditions, {}, seeds)
    (row,) = ablations([undefined, stored("orb")])[0].rows
    assert math.isnan(row.macro_auroc.part.difference)
    assert math.isnan(row.macro_auroc.part_p_holm)
    assert not math.isnan(row.micro_auroc.part_p_holm)
    assert math.isnan(row.train_seconds)
