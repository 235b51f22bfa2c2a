"""The strength of each augmentation transform, and the preset for chest radiographs."""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Augmentation:
    """How far training images may vary; 0 turns a part off. Drawn uniformly, per image and epoch.

    Parameters
    ----------
    rotation : largest angle in degrees, to either side.
    translation : largest shift as a share of the side, along each axis, to either side.
    zoom : the picture is scaled by 1 - zoom to 1 + zoom; below 1.
    brightness : largest shift of the grey levels as a share of 255, up or down.
    contrast : distances from the image's mean are scaled by 1 - contrast to 1 + contrast.
    noise : largest standard deviation of Gaussian noise as a share of 255; each image draws its own
        from 0 to this.
    clahe : probability that the image is taken with its contrast equalised, see `images.clahe`.
    """

    rotation: float = 0.0
    translation: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    clahe: float = 0.0

    @property
    def changes_images(self) -> bool:
        """Whether a training image is ever another than the stored one."""
        return any(astuple(self))

    @property
    def needs_parameters(self) -> bool:
        """Whether the training step varies images: anything but CLAHE, which is stored."""
        return any(astuple(self)[:-1])


# No flip: it moves the heart to the right, which is a finding of its own (dextrocardia).
MEDICAL = Augmentation(
    rotation=15,
    translation=0.1,
    zoom=0.1,
    brightness=0.1,
    contrast=0.1,
    noise=0.02,
    clahe=0.25,
)
"""Variation within what positioning and exposure of real films differ by."""
