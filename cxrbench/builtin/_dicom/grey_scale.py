"""The table from stored values to 8-bit grey: modality LUT, VOI LUT or window, polarity.

The grey scale pipeline of PS3.4 N.2 is a function of the stored value alone, so that a table of at
most 65,536 entries is all of it. It is written out here because pydicom 3.0's ``apply_voi`` wraps
indices around where a LUT has 8-bit entries, and takes no rescaled values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cxrbench import UnreadableImage
from cxrbench.builtin._dicom.header import real_number, text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from cxrbench.builtin._dicom.pixels import Form


def display_table(stored: np.ndarray, elements: Dataset, form: Form) -> np.ndarray:
    """What each value from the lowest to the highest of ``form.range`` is shown as, uint8.

    ``stored`` (H, W) are the values of the image: without window and VOI LUT they are stretched
    from the lowest to the highest that occurs, or over the part that holds nearly all of them.
    Padding (PS3.3 C.7.5.1.1.2) does not count, and is black.
    """
    low, high = form.range
    values = np.arange(low, high + 1)
    padding = _is_padding(values, elements)
    modality = _modality_values(values, elements, form)
    if elements.get("VOILUTSequence"):
        item = elements.VOILUTSequence[0]
        shown = _looked_up(np.rint(modality).astype(np.int64), item, form)
    elif real_number(elements, "WindowWidth") is not None:
        shown = _windowed(modality, elements)
    else:
        shown = _stretched(modality, np.where(padding, 0, _counts(stored, low, len(values))))
    # Presentation LUT Shape says the same again (PS3.3 C.8.11.1.1.1) and would invert twice.
    grey = np.rint((1 - shown if form.inverted else shown) * 255).astype(np.uint8)
    grey[padding] = 0
    return grey


def _is_padding(values: np.ndarray, elements: Dataset) -> np.ndarray:
    value = real_number(elements, "PixelPaddingValue")
    if value is None:
        return np.zeros(len(values), bool)
    limit = real_number(elements, "PixelPaddingRangeLimit")
    first, last = sorted((value, value if limit is None else limit))
    return (values >= first) & (values <= last)


def _modality_values(values: np.ndarray, elements: Dataset, form: Form) -> np.ndarray:
    """PS3.3 C.11.1: through the LUT, else rescaled."""
    if elements.get("ModalityLUTSequence"):
        item = elements.ModalityLUTSequence[0]
        return _looked_up(values, item, form) * _highest(item)
    slope, intercept = (real_number(elements, f"Rescale{name}") for name in ("Slope", "Intercept"))
    with np.errstate(over="ignore", invalid="ignore"):  # said just below
        rescaled: np.ndarray = values * (1.0 if slope is None else slope) + (intercept or 0.0)
    if not np.isfinite(rescaled).all():
        raise UnreadableImage("damaged: its rescale slope or intercept is not finite")
    return rescaled


def _windowed(values: np.ndarray, elements: Dataset) -> np.ndarray:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, from 0 to 1; the first window where there are several."""
    center, width = (real_number(elements, f"Window{name}") for name in ("Center", "Width"))
    function = text(elements, "VOILUTFunction").upper() or "LINEAR"
    if center is None or width is None or not np.isfinite([center, width]).all():
        raise UnreadableImage("damaged: its window has no centre or no width")
    if width < 1 if function == "LINEAR" else width <= 0:
        raise UnreadableImage("damaged: its window is too narrow")
    if function == "SIGMOID":
        with np.errstate(over="ignore"):  # far below the window: exp is infinite, the value is 0
            return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise UnreadableImage("damaged: its VOI LUT function is not one of the standard")
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0, 1)


_BAND = 256


def _counts(stored: np.ndarray, low: int, size: int) -> np.ndarray:
    """How many pixels have each value from ``low`` on; in bands, for the memory."""
    counts = np.zeros(size, np.int64)
    for top in range(0, len(stored), _BAND):
        band = stored[top : top + _BAND].reshape(-1).astype(np.int64)
        counts += np.bincount(band - low, minlength=size)
    return counts


_OUTSIDE = 0.005


def _stretched(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """From 0 to 1, by the rule for other deep images, `cxrbench.store.grey.grey_range`.

    A burnt-in marker far outside the values of all but 0.5 % of the pixels does not set the range.
    """
    if not counts.any():
        return np.zeros(len(values))
    order = np.argsort(values, kind="stable")
    order = order[counts[order] > 0]
    shares = np.cumsum(counts[order]) / counts.sum()
    low, high = values[order[0]], values[order[-1]]
    places = np.searchsorted(shares, (_OUTSIDE, 1 - _OUTSIDE))
    first, last = values[order[places]]
    span = last - first
    if span > 0 and high - low > 4 * span:
        low, high = max(low, first - span / 10), min(high, last + span / 10)
    return np.clip((values - low) / (high - low if high > low else 1), 0, 1)


def _looked_up(values: np.ndarray, item: Dataset, form: Form) -> np.ndarray:
    """PS3.3 C.11.1.1 and C.11.2.1.1: values through a LUT, as shares of its highest, 0 to 1."""
    entries, first = _descriptor(item)[:2]
    if first > 32767 and values.min() < 0:  # signed, but written or read as unsigned
        first -= 65536
    data = _lut_data(item, entries, form)
    return data[np.clip(values - first, 0, entries - 1)] / _highest(item)


def _highest(item: Dataset) -> int:
    return int(2 ** _descriptor(item)[2] - 1)


def _descriptor(item: Dataset) -> tuple[int, int, int]:
    entries, first, bits = map(int, item.LUTDescriptor)
    if not 8 <= bits <= 16:
        raise UnreadableImage("damaged: a LUT has entries that are not of 8 to 16 bits")
    return entries % 65536 or 65536, first, bits


def _lut_data(item: Dataset, entries: int, form: Form) -> np.ndarray:
    """The entries; some writers pack 8-bit ones in pairs, as the standard once allowed."""
    raw = item.LUTData
    words = (
        np.frombuffer(raw[: len(raw) // 2 * 2], ">u2" if form.big_endian else "<u2")
        if isinstance(raw, bytes)
        else np.atleast_1d(np.asarray(raw, np.int64)).astype(np.uint16)
    )
    if len(words) < entries and len(words) * 2 >= entries:
        words = words.astype("<u2").view(np.uint8)  # the first of a pair is in the low byte
    if len(words) < entries:
        raise UnreadableImage("damaged: a LUT has fewer entries than it says")
    highest = 2 ** _descriptor(item)[2] - 1
    return np.minimum(words[:entries], highest).astype(np.float64)
