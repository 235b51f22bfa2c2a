"""MobileNet (Howard et al., *MobileNets: Efficient CNNs for Mobile Vision Applications*, 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxrbench import Backbone, CxrbenchError, hookimpl

if TYPE_CHECKING:
    import keras

CXRBENCH_API = 1

_PUBLISHED = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class MobileNet(Backbone):
    """Keras' MobileNet without its top; a grey image fills all three channels.

    Parameters
    ----------
    alpha : width: every layer has this share of the channels of the paper's network. ImageNet
        weights are published for 0.25, 0.5, 0.75 and 1.
    """

    name: ClassVar[str] = "mobilenet"
    image_size: ClassVar[int] = 224
    freeze_at: ClassVar[str] = "conv_dw_12"  # the stage of stride 32, whatever the width

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0.05 <= self.alpha <= 4:
            raise CxrbenchError(
                f"{self.name}: alpha is out of range",
                expected="a width from 0.05 to 4",
                found=str(self.alpha),
                fix=f"write for example {self.name}:alpha=0.25",
            )

    def build(self, image_size: int, weights: str | None) -> keras.Model:
        """Grey (N, H, W, 1) in [0, 255] to a map (N, H/32, W/32, 1024 * alpha)."""
        import keras

        if weights == "imagenet" and self.alpha not in _PUBLISHED:
            raise CxrbenchError(
                f"there are no ImageNet weights of {self.name} with alpha={self.alpha}",
                expected=f"one of {', '.join(map(str, _PUBLISHED))}",
                found=str(self.alpha),
                fix=f"choose another alpha, name a file with --weights {self.name}=FILE, or start "
                "from random weights with --weights none",
            )
        grey = keras.Input((image_size, image_size, 1), name="grey")
        colour = keras.layers.Concatenate(name="grey_to_rgb")([grey, grey, grey])
        scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="to_unit_range")(colour)
        network = keras.applications.MobileNet(
            # The side chooses among the published weights: there are some for 128, 160, 192, 224.
            input_shape=(image_size, image_size, 3),
            alpha=self.alpha,
            include_top=False,
            weights=weights,
            input_tensor=scaled,
        )
        return keras.Model(grey, network.output, name=self.name)


@hookimpl
def cxrbench_backbones() -> list[type[Backbone]]:
    """MobileNet alone."""
    return [MobileNet]
