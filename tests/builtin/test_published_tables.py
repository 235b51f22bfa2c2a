"""From each published dataset to a board, with what the guide says and no change to a file.

The tables are miniatures with the published headings and words; the images are noise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from dicom_files import write
from dicom_folders import use_key

GUIDE = Path(__file__).parents[2] / "docs" / "howto" / "own-data.md"
PATIENTS = 40

CHEXPERT = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture", "Support Devices"),
)
PADCHEST = (
    *("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth"),
    *("PatientSex_DICOM", "ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric"),
    *("Modality_DICOM", "Manufacturer_DICOM", "PhotometricInterpretation_DICOM"),
    *("PixelRepresentation_DICOM", "PixelAspectRatio_DICOM", "SpatialResolution_DICOM"),
    *("BitsStored_DICOM", "WindowCenter_DICOM", "WindowWidth_DICOM", "Rows_DICOM"),
    *("Columns_DICOM", "XRayTubeCurrent_DICOM", "Exposure_DICOM", "ExposureInuAs_DICOM"),
    *("ExposureTime", "RelativeXRayExposure_DICOM", "ReportID", "Report", "MethodLabel"),
    *("Labels", "Localizations", "LabelsLocalizationsBySentence", "labelCUIS"),
    "LocalizationsCUIS",
)
COVID = (
    *("patientid", "offset", "sex", "age", "finding", "RT_PCR_positive", "survival", "intubated"),
    *("intubation_present", "went_icu", "in_icu", "needed_supplemental_O2", "extubated"),
    *("temperature", "pO2_saturation", "leukocyte_count", "neutrophil_count"),
    *("lymphocyte_count", "view", "modality", "date", "location", "folder", "filename", "doi"),
    *("url", "license", "clinical_notes", "other_notes", ""),
)
NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
NIH_SAMPLE = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImageWidth,OriginalImageHeight,OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y"
)


def noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
    assert cv2.imwrite(str(path), pixels)


def documented(heading: str) -> list[str]:
    """The ``--data`` texts in this section of the guide."""
    section = re.split(rf"^### {re.escape(heading)}$", GUIDE.read_text(), flags=re.M)[1]
    section = re.split(r"^##", section, flags=re.M)[0]
    return [a or b for a, b in re.findall(r'--data (?:"([^"]+)"|(\S+))', section)]


def write_chexpert(root: Path) -> dict[str, int]:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(PATIENTS):
        study = f"CheXpert-v1.0-small/train/patient{number + 1:05}/study1"
        for view, kind, position in (
            ("view1_frontal", "Frontal", ("AP", "PA")[number % 2]),
            ("view2_lateral", "Lateral", ""),
        ):
            noise(root / study / f"{view}.jpg", number * 2 + (kind == "Lateral"))
            labels = rng.choice(["1.0", "0.0", "-1.0", ""], 14).tolist()
            if number % 5 == 0:  # the labeller's own rule
                labels = ["1.0", *[""] * 12, "1.0"]
            else:
                labels[0] = ""
            sex = ("Female", "Male", "Unknown")[number % 3]
            rows.append([f"{study}/{view}.jpg", sex, 40 + number, kind, position, *labels])
    head = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT]
    pd.DataFrame(rows, columns=head).to_csv(root / "CheXpert-v1.0-small/train.csv", index=False)
    return {"images": PATIENTS, "patients": PATIENTS, "labels": 14}


def write_mimic(root: Path) -> dict[str, int]:
    rng = np.random.default_rng(1)
    """The three tables of MIMIC-CXR-JPG 2.0.0; one study has no labels, and one no image.

    github.com/filipepcampos/mimic-cxr-jpg-loader, src/mimic_cxr_jpg_loader/dataset.py, joins the
    same tables, and names the files as here.
    """
    root = root / "mimic-cxr-jpg"
    labels, metadata, split = [], [], []
    for number in range(PATIENTS):
        subject, study = 10_000_032 + number * 137_000, 50_414_267 + number
        labels.append([subject, study, *rng.choice(["1.0", "0.0", "-1.0", ""], 14)])
        labels[-1][2 + 8] = ""  # No Finding stands ninth in this table
        for view in (("PA", "AP", "")[number % 3], ("LATERAL", "LL", "AP LLD")[number % 3]):
            dicom = f"{number:08x}-{view or 'none'}".replace(" ", "")
            stored = "21800506", "213014.531", "CHEST (PA AND LAT)", "postero-anterior", "Erect"
            metadata.append(
                [dicom, subject, study, "CHEST (PA AND LAT)", view, 2544, 3056, *stored]
            )
            split.append(
                [dicom, study, subject, ("train", "train", "validate", "test")[number % 4]]
            )
            noise(root / f"files/p{str(subject)[:2]}/p{subject}/s{study}/{dicom}.jpg", len(split))
    labels[-1][:2] = [19_999_999, 59_999_999]
    names = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum"]
    names += ["Fracture", "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion"]
    names += ["Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices"]
    for name, rows, head in (
        ("chexpert", labels, ["subject_id", "study_id", *names]),
        (
            "metadata",
            metadata,
            [
                *("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription"),
                *("ViewPosition", "Rows", "Columns", "StudyDate", "StudyTime"),
                *("ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning"),
                "PatientOrientationCodeSequence_CodeMeaning",
            ],
        ),
        ("split", split, ["dicom_id", "study_id", "subject_id", "split"]),
    ):
        frame = pd.DataFrame(rows, columns=head)
        frame.to_csv(root / f"mimic-cxr-2.0.0-{name}.csv.gz", index=False)
    return {"images": PATIENTS - 1, "patients": PATIENTS - 1, "labels": 14}


def write_padchest(root: Path) -> dict[str, int]:
    findings = ["cardiomegaly", "pleural effusion", "pneumonia", "COPD signs"]
    rows = []
    for number in range(2 * PATIENTS):
        name = f"{216840606248420851 + number}_00-{number:03}.png"
        lateral = number % 8 == 7
        noise(root / str(number % 4) / name, number)
        some = [findings[number % 4], *([findings[number % 3]] if number % 7 == 0 else [])]
        cells = dict.fromkeys(PADCHEST, "None") | {
            "": number,
            "ImageID": name,
            "ImageDir": number % 4,
            "StudyID": f"study{number}",
            "PatientID": f"{number // 2}",
            "PatientBirth": "1930.0",
            "PatientSex_DICOM": ("F", "M", "O", "None")[number % 4],
            "ViewPosition_DICOM": ("POSTEROANTERIOR", "LATERAL")[number % 2],
            "Projection": "L" if lateral else ("PA", "AP", "AP_horizontal")[number % 3],
            "Modality_DICOM": ("CR", "DX")[number % 2],
            "Labels": "['normal']" if number % 5 == 0 else str([f" {n}" for n in some]),
        }
        cells["Labels"] = "" if number == 3 else cells["Labels"]
        rows.append([cells[title] for title in PADCHEST])
    path = root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    pd.DataFrame(rows, columns=list(PADCHEST)).to_csv(path, index=False)
    return {"images": 70, "patients": PATIENTS, "labels": 4}


def vindr_rows() -> list[list[object]]:
    rows: list[list[object]] = []
    for number in range(PATIENTS):
        image = f"{number * 7919:032x}"
        finding = ("Cardiomegaly", "Aortic enlargement", "Nodule/Mass", "No finding")[number % 4]
        for reader in ("R8", "R9", "R10"):
            own = "No finding" if reader == "R10" and number % 3 == 0 else finding
            box = ["", "", "", ""] if own == "No finding" else [1, 2, 20, 21]
            rows.append([image, reader, own, *box])
            if own == "Nodule/Mass":
                rows.append([image, reader, own, 3, 3, 9, 9])
    return rows


VINDR = ["image_id", "rad_id", "class_name", "x_min", "y_min", "x_max", "y_max"]


def write_vindr(root: Path) -> dict[str, int]:
    (root / "annotations").mkdir()
    frame = pd.DataFrame(vindr_rows(), columns=VINDR)
    frame.to_csv(root / "annotations/annotations_train.csv", index=False)
    for number, image in enumerate(dict.fromkeys(frame["image_id"])):
        pixels = np.random.default_rng(number).integers(0, 4096, (40, 32), np.uint16)
        missing = dict.fromkeys(("PatientID", "Modality", "BodyPartExamined", "ViewPosition"))
        write(root / f"train/{image}.dicom", pixels, **missing)
    return {"images": PATIENTS, "patients": PATIENTS, "labels": 4}


def write_vinbigdata(root: Path) -> dict[str, int]:
    frame = pd.DataFrame(vindr_rows(), columns=VINDR)
    frame.insert(2, "class_id", 3)
    frame.to_csv(root / "train.csv", index=False)
    for number, image in enumerate(dict.fromkeys(frame["image_id"])):
        noise(root / f"train/{image}.png", number)
    return {"images": PATIENTS, "patients": PATIENTS, "labels": 4}


def write_rsna(root: Path) -> dict[str, int]:
    rows: list[list[object]] = []
    for number in range(PATIENTS):
        patient = f"{number:08x}-f2f8-4f40-a5d4-{number:012x}"
        boxes = [[264.0, 152.0, 213.0, 379.0], [562.0, 152.0, 256.0, 453.0]]
        rows += [[patient, *b, 1] for b in boxes] if number % 3 == 0 else [[patient, *[""] * 4, 0]]
        pixels = np.random.default_rng(number).integers(0, 256, (40, 32), np.uint8)
        view = ("AP", "PA")[number % 2]
        path = root / f"stage_2_train_images/{patient}.dcm"
        write(path, pixels, bits=8, PatientID=patient, ViewPosition=view)
    frame = pd.DataFrame(rows, columns=["patientId", "x", "y", "width", "height", "Target"])
    frame.to_csv(root / "stage_2_train_labels.csv", index=False)
    return {"images": PATIENTS, "patients": PATIENTS, "labels": 1}


def write_covid(root: Path) -> dict[str, int]:
    root = root / "covid-chestxray-dataset"
    kinds = ("Pneumonia/Viral/COVID-19", "Pneumonia", "No Finding", "Pneumonia/Viral/SARS", "todo")
    views = ("PA", "AP", "AP Supine", "AP Erect", "L", "Axial", "Coronal")
    rows = []
    for number in range(70):
        view = views[number % 7]
        modality = "CT" if view in ("Axial", "Coronal") else "X-ray"
        folder = "volumes" if view == "Coronal" else "images"
        name = f"{number:02}.nii.gz" if folder == "volumes" else f"auntminnie-{number}.jpg"
        cells = dict.fromkeys(COVID, "") | {
            "patientid": number // 2,
            "offset": 3,
            "sex": ("M", "F", "")[number % 3],
            "age": ("65", "", "42.0")[number % 3],
            "finding": kinds[number // 2 % 5],
            "view": view,
            "modality": modality,
            "folder": folder,
            "filename": name,
            "clinical_notes": 'A "long" note,\nof two lines; and more',
            "": "moved here" if number == 5 else "",
        }
        rows.append([cells[title] for title in COVID])
        if folder == "images":
            noise(root / "images" / name, number)
    pd.DataFrame(rows, columns=list(COVID)).to_csv(root / "metadata.csv", index=False)
    return {"images": 40, "patients": 25, "labels": 5}


def nih_lines(folders: Callable[[int], str], root: Path, age: str, rest: str) -> list[str]:
    labels = ("No Finding", "Effusion|Mass", "Mass", "Infiltration")
    lines = []
    for number in range(2 * PATIENTS):
        name = f"{number // 2 + 1:08}_{number % 2:03}.png"
        noise(root / folders(number) / name, number)
        cells = (name, labels[number % 4], number % 2, number // 2 + 1, age, "M", "PA", rest)
        lines.append(",".join(map(str, cells)))
    return lines


def write_nih(root: Path) -> dict[str, int]:
    root = root / "nih-kaggle"
    folder = "images_{:03}/images".format
    lines = nih_lines(lambda n: folder(n % 12 + 1), root, "58", "2682,2749,0.143,0.143,")
    (root / "Data_Entry_2017.csv").write_text("\n".join([NIH, *lines]) + "\n")
    return {"images": 2 * PATIENTS, "patients": PATIENTS, "labels": 15}


def write_nih_sample(root: Path) -> dict[str, int]:
    root = root / "nih-kaggle"
    lines = nih_lines(lambda n: "sample/images", root, "058Y", "2682,2749,0.143,0.143")
    (root / "sample_labels.csv").write_text("\n".join([NIH_SAMPLE, *lines]) + "\n")
    return {"images": 2 * PATIENTS, "patients": PATIENTS, "labels": 15}


def write_nih_224(root: Path) -> dict[str, int]:
    root = root / "nih-kaggle"
    lines = nih_lines(lambda n: "images-224/images-224", root, "58", "2682,2749,0.143,0.143,")
    (root / "Data_Entry_2017.csv").write_text("\n".join([NIH, *lines]) + "\n")
    return {"images": 2 * PATIENTS, "patients": PATIENTS, "labels": 15}


PUBLISHED = {
    "CheXpert": (write_chexpert, 0),
    "MIMIC-CXR-JPG": (write_mimic, 0),
    "PadChest": (write_padchest, 0),
    "VinDr-CXR": (write_vindr, 0),
    "VinDr-CXR as PNG": (write_vinbigdata, 1),
    "RSNA Pneumonia Detection Challenge": (write_rsna, 0),
    "covid-chestxray-dataset": (write_covid, 0),
    "NIH ChestX-ray14 from Kaggle": (write_nih, 0),
    "NIH ChestX-ray14 from Kaggle, sample": (write_nih_sample, 0),
    "NIH ChestX-ray14 from Kaggle, 224": (write_nih_224, 0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_from_the_download_to_a_board(name, tmp_path, cli, monkeypatch):
    use_key(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    write_files, place = PUBLISHED[name]
    expected = write_files(tmp_path)
    data = documented(re.split(" as |, ", name)[0])[place]
    split = ("--split", "official") if "MIMIC" in name else ()
    cache = ("--cache", tmp_path / "cache")
    said = cli("data", "check", data, *split, *cache, "--json")
    found = json.loads(said.out)
    errors = [f for f in found["findings"] if f["severity"] == "error"]
    assert (said.code, errors) == (0, []), said.err
    counts = found["counts"]
    assert {
        "images": counts["images"],
        "patients": counts["patients"],
        "labels": len(counts["labels"]),
    } == expected
    unwanted = ("unknown-word", "similar-patients", "similar-labels", "impossible-age")
    assert [f for f in found["findings"] if f["check"] in unwanted] == []
    said = cli("run", "prior", "--data", data, *split, *cache, "--runs", "runs", "--json")
    assert said.code == 0, said.err
    (board,) = json.loads(said.out)["boards"]
    assert board["rows"][0]["recipe"] == "prior"
