"""One list of words for views, sexes, modalities and patients, for all commands."""

from __future__ import annotations

import pytest

from cxrbench.data.record_cells import (
    body_part_word,
    modality_word,
    sex_of,
    similar_ids,
    view_word,
)

POSITIONS = {
    "PA": ("PA", "pa", "POSTEROANTERIOR", "Postero-Anterior", "PA erect"),
    "AP": ("AP", "AP Supine", "AP_horizontal", "AP-horizontal", "AP Erect", "ANTEROPOSTERIOR"),
    "": ("Frontal", "", "nan", "Unknown", "frontal view"),
}
OTHERS = (
    *("L", "LL", "RL", "Lateral", "LATERAL", "LEFT LATERAL", "XTABLE LATERAL", "SWIMMERS"),
    *("AP LLD", "PA RLD", "AP LLO", "LAO", "RPO", "AP AXIAL", "AP LORDOTIC", "COSTAL"),
    *("Axial", "Coronal", "sagittal", "EXCLUDE"),
)


@pytest.mark.parametrize(
    ("position", "text"), [(p, text) for p, texts in POSITIONS.items() for text in texts]
)
def test_a_frontal_view(position, text):
    assert (view_word(text).code, view_word(text).reason) == (position, "")
    assert view_word(text).known


@pytest.mark.parametrize("text", OTHERS)
def test_a_view_that_is_left_out(text):
    assert view_word(text).reason == f"not a frontal view: {text}"
    assert view_word(text).code == ""


@pytest.mark.parametrize("text", ["AP foo", "front", "PA AP", "17"])
def test_a_word_that_is_not_understood(text):
    assert not view_word(text).known
    assert view_word(text).code == view_word(text).reason == ""


def test_modalities_and_parts_of_the_body():
    assert [modality_word(t).reason for t in ("X-ray", "CR", "DX", "", "xray")] == [""] * 5
    assert modality_word("CT").reason == "not a radiograph: CT"
    assert not modality_word("photo").known
    assert body_part_word("ABDOMEN").reason == "not a chest radiograph: ABDOMEN"
    assert [body_part_word(t).reason for t in ("CHEST", "Thorax", "CHEST ABDOMEN")] == [""] * 3
    assert not body_part_word("STUFF").known


def test_sexes():
    assert [sex_of(t) for t in ("F", "female", "M", "MALE", "O", "Unknown", "x")] == [
        *("F", "F", "M", "M", "", "", "")
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [("123", "123.0"), ("13", "00000013"), ("pat7", "PAT7"), ("P7", "P-7"), ("P007", "p 7")],
)
def test_ids_that_may_be_one_patient(one, other):
    assert similar_ids([one, "9", other]) == [tuple(sorted((one, other)))]


def test_ids_that_are_different_patients():
    assert similar_ids(["1", "10", "1-0", "p1", "p10", "12.5", "1_23", "12_3", "--", "..."]) == []
