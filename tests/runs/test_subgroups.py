"""Measures by sex, age and view on the labels that all groups share, with the largest gap."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrbench.metrics.measures import MEASURES
from cxrbench.metrics.patients import counted_labels, patient_table
from cxrbench.metrics.scorers import Images
from cxrbench.runs.predictions import Predictions
from cxrbench.runs.subgroups import Subgroups, subgroups


def predictions(seed: int = 0, patients: int = 240, worse_in_men: float = 0.0) -> Predictions:
    """Two images per patient, one of each view; scores of men are noisier where asked."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), 2)
    sexes = np.where(np.arange(patients) % 2, "M", "F")[owner]
    y_true = (rng.random((len(owner), 3)) < [0.3, 0.4, 0.002]).astype(np.float32)
    noise = 1 + worse_in_men * (sexes == "M")[:, None]
    y_score = 1 / (1 + np.exp(-(1.5 * y_true + noise * rng.normal(size=y_true.shape))))
    ids = np.char.add("p", owner.astype(str))
    return Predictions(
        image_ids=np.arange(len(owner)).astype(str),
        patients=ids,
        patients_known=True,
        label_names=("Mass", "Effusion", "Hernia"),
        no_finding=None,
        counted=counted_labels(y_true, ids),
        y_true=y_true,
        y_score=y_score,
        ages=(20 + 60 * (owner % 4 == 0)).astype(np.float32),
        sexes=sexes,
        views=np.tile(["PA", "AP"], patients),
    )


def measured(test: Predictions, replicates: int = 200) -> dict[str, Subgroups]:
    table = patient_table(test.y_true, test.patients)
    images = Images(
        test.y_true, test.y_score, test.y_score, np.full(3, 0.5), table.index, len(table)
    )
    found = subgroups(test, images, board_key="b", replicates=replicates)
    return {one.attribute: one for one in found}


def test_a_group_has_the_scores_of_its_images():
    test = predictions()
    found = measured(test)
    assert set(found) == {"sex", "age", "view"}
    women = found["sex"].groups[0]
    rows = test.sexes == "F"
    assert (women.name, women.images, women.patients) == ("F", rows.sum(), rows.sum() // 2)
    expected = [roc_auc_score(test.y_true[rows, i], test.y_score[rows, i]) for i in (0, 1)]
    assert women.macro["auroc"].value == pytest.approx(np.mean(expected))
    assert women.labels["Mass"]["auroc"].value == pytest.approx(expected[0])
    assert set(women.macro) == set(women.micro) == set(MEASURES)
    assert women.macro["auroc"].low < women.macro["auroc"].value < women.macro["auroc"].high
    assert [group.name for group in found["age"].groups] == ["18 to 39", "65 up"]


def test_groups_are_held_to_the_labels_that_all_of_them_have():
    test = predictions()
    test.y_true[test.sexes == "M", 1] = 0
    assert measured(test)["sex"].counted == ("Mass",)
    assert "Effusion" in measured(test)["view"].counted


def test_a_real_gap_is_found_and_chance_is_not():
    gap = measured(predictions(worse_in_men=4.0))["sex"].gaps["macro_auroc"]
    assert (gap.higher, gap.lower) == ("F", "M")
    assert gap.difference.low > 0.05
    none = measured(predictions(seed=3))["sex"].gaps["macro_auroc"]
    assert none.difference.low < 0 < none.difference.high


def test_views_of_the_same_patients_are_resampled_together():
    """Both views score alike within a patient, so that their gap varies less than each does."""
    test = predictions()
    test.y_true[1::2] = test.y_true[::2]
    test.y_score[1::2] = test.y_score[::2]
    view = measured(test)["view"]
    assert view.gaps["macro_auroc"].difference.high == pytest.approx(0, abs=1e-12)
    assert view.groups[0].macro["auroc"].high - view.groups[0].macro["auroc"].low > 0.02


def test_small_unknown_and_absent_groups_are_told():
    test = predictions()
    test.sexes[:6] = ""
    test.sexes[6:12] = "O"
    test.views[:] = ""
    found = measured(test)
    assert found["sex"].too_small == ("O",)
    assert found["sex"].unknown == 6
    assert [group.name for group in found["sex"].groups] == ["F", "M"]
    assert (found["view"].groups, found["view"].gaps, found["view"].unknown) == ((), {}, len(test))


def test_three_patients_have_no_groups_and_no_crash():
    test = predictions(patients=3)
    found = measured(test)
    assert all(one.groups == () for one in found.values())
