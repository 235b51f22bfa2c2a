"""Maps against boxes: each measure beside a plain loop, ties, flat maps, references, intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrbench.errors import DataError
from cxrbench.interfaces import Box
from cxrbench.metrics.boxes import (
    Localised,
    centre_prior,
    inside_boxes,
    localise,
    random_map_scores,
    score_map,
    summarise,
)


def box(x, y, width, height, image="i0", label="Mass"):
    return Box(image, label, x, y, width, height)


def test_pixels_are_inside_where_their_centre_is():
    inside = inside_boxes([box(1, 2, 2.5, 1)], (6, 5))
    expected = np.zeros((5, 6), bool)
    expected[2, 1:3] = True  # the centre of the fourth, 3.5, is on the edge
    assert (inside == expected).all()
    both = inside_boxes([box(0, 0, 2, 2), box(1, 1, 2, 2)], (6, 5))
    assert both.sum() == 7


@given(st.floats(0, 9.9), st.floats(0, 9.9), st.floats(1e-3, 5), st.floats(1e-3, 5))
def test_every_box_has_a_pixel_and_never_one_out_of_the_image(x, y, width, height):
    width, height = min(width, 10 - x), min(height, 10 - y)
    inside = inside_boxes([box(x, y, width, height)], (10, 10))
    assert 1 <= inside.sum() <= (width + 1) * (height + 1)
    rows, columns = np.nonzero(inside)
    assert abs(columns.mean() + 0.5 - (x + width / 2)) <= 1
    assert abs(rows.mean() + 0.5 - (y + height / 2)) <= 1


def test_a_box_drawn_on_a_larger_image_is_refused():
    with pytest.raises(DataError) as caught:
        inside_boxes([box(500, 300, 200, 100)], (224, 224))
    assert "reaches out of the image 'i0'" in str(caught.value)
    assert "224 × 224" in str(caught.value)
    assert "x 500 to 700" in str(caught.value)
    assert inside_boxes([box(1000, 0, 26, 10)], (1024, 1024)).any()  # as NIH's do


def test_measures_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        saliency = rng.random((7, 9)).astype(np.float32)
        inside = rng.random((7, 9)) < 0.3
        inside[0, 0] = True
        hit, energy, iou = score_map(saliency, inside, 0.6)
        within = total = both = either = 0.0
        best, at = -1.0, (0, 0)
        for row in range(7):
            for column in range(9):
                value, marked = saliency[row, column], saliency[row, column] >= 0.6 * saliency.max()
                total += value
                within += value * inside[row, column]
                both += marked and inside[row, column]
                either += marked or inside[row, column]
                if value > best:
                    best, at = value, (row, column)
        assert hit == float(inside[at])
        assert energy == pytest.approx(within / total, rel=1e-5)
        assert iou == pytest.approx(both / either)


def test_several_maxima_are_each_as_good():
    saliency = np.zeros((4, 4))
    saliency[0, 0] = saliency[0, 3] = saliency[3, 3] = saliency[2, 2] = 5
    inside = inside_boxes([box(2, 2, 2, 2)], (4, 4))
    assert score_map(saliency, inside, 0.5) == (0.5, 0.5, 2 / 6)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_flat_map_points_nowhere_and_has_the_share_of_the_boxes(value):
    inside = inside_boxes([box(0, 0, 2, 5)], (10, 10))
    assert score_map(np.full((10, 10), value), inside, 0.5) == (0.1, 0.1, 0.1)
    told = localise(np.full((10, 10), value), [box(0, 0, 2, 5)], "p", 0.5)
    assert told.flat
    assert not localise(np.eye(10), [box(0, 0, 2, 5)], "p", 0.5).flat


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_the_random_map_in_closed_form_is_the_mean_of_many_draws(threshold):
    inside = inside_boxes([box(20, 10, 30, 15), box(5, 60, 10, 10)], (80, 80))
    rng = np.random.default_rng(0)
    draws = [score_map(rng.random((80, 80)), inside, threshold) for _ in range(2000)]
    expected = random_map_scores(inside, threshold)
    found, spread = np.mean(draws, axis=0), np.std(draws, axis=0) / np.sqrt(2000)
    np.testing.assert_array_less(np.abs(found - expected), 4 * spread + 5e-4)


def test_the_centre_prior_is_highest_in_the_middle():
    prior = centre_prior((30, 20))
    assert prior.shape == (20, 30)
    assert {tuple(at) for at in np.argwhere(prior == prior.max()).tolist()} == {
        (9, 14), (9, 15), (10, 14), (10, 15),
    }  # fmt: skip
    # One standard deviation, a quarter of the side, from the middle.
    assert prior[9, 22] / prior[9, 15] == pytest.approx(np.exp(-0.5), abs=0.02)
    told = localise(np.eye(20)[:, :20], [box(5, 5, 10, 10)], "p", 0.5)
    assert told.centre[0] == 1


def made(rng, patients=12, labels=("Mass", "Nodule")):
    found = []
    for patient in range(patients):
        for image in range(1 + patient % 3):
            for label in labels[: 1 + (patient + image) % 2]:
                found.append(
                    Localised(
                        f"i{patient}-{image}",
                        f"p{patient}",
                        label,
                        *(tuple(rng.random(3).tolist()) for _ in range(3)),
                        flat=bool(rng.random() < 0.2),
                    )
                )
    return found


def boxes_of(found):
    return [box(0, 0, 1, 1, one.image_id, one.label) for one in found]


NAMES = ("Effusion", "Mass", "Nodule")


def test_means_are_over_images_and_macro_is_over_labels():
    found = made(np.random.default_rng(0))
    summary = summarise(found, boxes_of(found), NAMES, board_key="b", replicates=50)
    assert [label.label for label in summary.labels] == ["Mass", "Nodule"]
    means = {}
    for label in summary.labels:
        members = [one for one in found if one.label == label.label]
        assert (label.images, label.boxes) == (len(members), len(members))
        assert label.patients == len({one.patient for one in members})
        assert label.flat == sum(one.flat for one in members)
        assert label.counted
        for place, name in enumerate(("hit_rate", "energy", "iou")):
            for source in ("map", "random", "centre"):
                expected = np.mean([getattr(one, source)[place] for one in members])
                assert label.measures[source][name].value == pytest.approx(expected)
                means.setdefault((source, name), []).append(expected)
    for (source, name), values in means.items():
        assert summary.macro[source][name].value == pytest.approx(np.mean(values))


def test_intervals_are_those_of_drawn_patients():
    """A plain loop over resamples of patients gives the same bounds, but for chance."""
    found = made(np.random.default_rng(1), patients=30)
    summary = summarise(found, boxes_of(found), NAMES, board_key="b", replicates=2000)
    rng = np.random.default_rng(2)
    by_patient = {}
    for one in found:
        by_patient.setdefault(one.patient, []).append(one)
    groups = list(by_patient.values())
    drawn = []
    for _ in range(2000):
        chosen = [one for at in rng.integers(0, 30, 30) for one in groups[at]]
        drawn.append(
            np.mean(
                [
                    np.mean([one.map[1] for one in chosen if one.label == label])
                    for label in ("Mass", "Nodule")
                ]
            )
        )
    energy = summary.macro["map"]["energy"]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert energy.low == pytest.approx(low, abs=0.015)
    assert energy.high == pytest.approx(high, abs=0.015)
    assert len(summary.replicates["energy"]) == 2000
    assert summary.replicates["energy"].mean() == pytest.approx(energy.value, abs=0.01)


def test_the_same_patients_are_drawn_for_every_run_of_a_board_and_in_any_order():
    found = made(np.random.default_rng(3))
    one = summarise(found, boxes_of(found), NAMES, board_key="b", replicates=20)
    turned = summarise(found[::-1], boxes_of(found), NAMES, board_key="b", replicates=20)
    other = summarise(found, boxes_of(found), NAMES, board_key="c", replicates=20)
    np.testing.assert_allclose(one.replicates["iou"], turned.replicates["iou"])
    assert not np.allclose(one.replicates["iou"], other.replicates["iou"])


def test_a_label_with_boxes_on_few_patients_is_told_and_does_not_count():
    found = [
        *made(np.random.default_rng(4)),
        Localised("x", "p0", "Effusion", (1, 1, 1), (0, 0, 0), (0, 0, 0), flat=False),
    ]
    summary = summarise(found, boxes_of(found), NAMES, board_key="b", replicates=50)
    effusion = next(label for label in summary.labels if label.label == "Effusion")
    assert not effusion.counted
    assert effusion.measures["map"]["hit_rate"].value == 1
    assert np.isnan(effusion.measures["map"]["hit_rate"].low)
    assert summary.macro["map"]["hit_rate"].value < 1
    assert not np.isnan(summary.macro["map"]["hit_rate"].low)


def test_without_a_label_that_counts_there_is_no_macro():
    found = made(np.random.default_rng(5), patients=3)
    summary = summarise(found, boxes_of(found), NAMES, board_key="b", replicates=20)
    assert np.isnan(summary.macro["map"]["energy"].value)
    assert np.isnan(summary.replicates["energy"]).all()
