"""DICOM files as tests need them, written by pydicom."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    generate_uid,
)

SECRET = "a key of the tests, longer than 32 characters"


def pixels(shape: tuple[int, int] = (48, 40), *, bits: int = 12, seed: int = 0) -> np.ndarray:
    """A smooth picture whose values run from 0 to the highest of so many bits."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    shade = np.sin(rows / 7 + seed) + np.cos(columns / 5) + rows / shape[0]
    shade = (shade - shade.min()) / np.ptp(shade)
    return np.rint(shade * (2**bits - 1)).astype(np.uint16 if bits > 8 else np.uint8)


def radiograph(image: np.ndarray | None = None, *, bits: int = 12, **elements: Any) -> Dataset:
    """A frontal chest radiograph; None as the value of an element leaves it out."""
    image = pixels(bits=bits) if image is None else image
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    uid = generate_uid()
    usual = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": uid,
        "Modality": "CR",
        "PatientID": "1",
        "PatientAge": "045Y",
        "PatientSex": "F",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": image.shape[0],
        "Columns": image.shape[1],
        "BitsAllocated": image.dtype.itemsize * 8,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(image.dtype.kind == "i"),
        "PixelData": image.tobytes(),
    }
    for name, value in {**usual, **elements}.items():
        if value is not None:
            setattr(found, name, value)
    if "PixelData" in found:
        found["PixelData"].VR = "OW" if image.dtype.itemsize == 2 else "OB"
    found.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    found.file_meta.MediaStorageSOPInstanceUID = found.get("SOPInstanceUID", uid)
    return found


def save(path: Path, dataset: Dataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write(path: Path, image: np.ndarray | None = None, **elements: Any) -> Path:
    """A file with a radiograph."""
    return save(path, radiograph(image, **elements))


def compressed(dataset: Dataset, syntax: str, encode: Callable[[bytes], bytes]) -> Dataset:
    """The same with its pixels encoded by a function."""
    dataset.PixelData = encapsulate([encode(dataset.PixelData)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def as_jpeg(dataset: Dataset) -> Dataset:
    """8-bit pixels as baseline JPEG."""
    from PIL import Image

    def encode(raw: bytes) -> bytes:
        out = io.BytesIO()
        Image.frombytes("L", (dataset.Columns, dataset.Rows), raw).save(out, "JPEG", quality=95)
        return out.getvalue()

    return compressed(dataset, JPEGBaseline8Bit, encode)


def by_imagecodecs(dataset: Dataset, syntax: str) -> Dataset:
    """The same as lossless JPEG, JPEG-LS, or JPEG of up to 12 bits."""
    import imagecodecs

    kind = np.uint16 if dataset.BitsAllocated == 16 else np.uint8

    def encode(raw: bytes) -> bytes:
        image = np.frombuffer(raw, kind).reshape(dataset.Rows, dataset.Columns)
        image = image & kind(2**dataset.BitsStored - 1)
        if syntax == JPEGLSLossless:
            return imagecodecs.jpegls_encode(image)
        lossless = {"lossless": True} if syntax == JPEGLosslessSV1 else {"level": 98}
        return imagecodecs.jpeg8_encode(image, bitspersample=dataset.BitsStored, **lossless)

    return compressed(dataset, syntax, encode)
