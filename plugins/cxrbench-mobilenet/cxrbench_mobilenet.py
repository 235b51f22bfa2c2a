"""MobileNet (Howard et al., *MobileNets: Efficient CNNs for Mobile Vision Applications*, 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cxrbench import Backbone, CxrbenchError, KerasApplication, hookimpl

if TYPE_CHECKING:
    import keras

CXRBENCH_API = 1

_PUBLISHED = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class MobileNet(KerasApplication):
    """Keras' MobileNet without its top; a grey image fills all three channels.

    Parameters
    ----------
    alpha : width: every layer has this share of the channels of the paper's network. ImageNet
        weights are published for 0.25, 0.5, 0.75 and 1.
    """

    name = "mobilenet"
    image_size = 224
    freeze_at = "conv_dw_12"  # the stage of stride 32 at every width
    application = "MobileNet"
    preprocessing = "tf"

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0.05 <= self.alpha <= 4:
            raise CxrbenchError(
                f"{self.name}: alpha is out of range",
                expected="a width from 0.05 to 4",
                found=str(self.alpha),
                fix=f"write for example {self.name}:alpha=0.25",
            )

    def network(self, image: Any, weights: str | None, **options: Any) -> keras.Model:
        """Return Keras' network at this width."""
        if weights == "imagenet" and self.alpha not in _PUBLISHED:
            raise CxrbenchError(
                f"there are no ImageNet weights of {self.name} with alpha={self.alpha}",
                expected=f"one of {', '.join(map(str, _PUBLISHED))}",
                found=str(self.alpha),
                fix=f"choose another alpha, name a file with --weights {self.name}=FILE, or start "
                "from random weights with --weights none",
            )
        # The side decides which published weights: there are some for 128, 160, 192 and 224.
        side = tuple(image.shape[1:])
        return super().network(image, weights, input_shape=side, alpha=self.alpha, **options)


@hookimpl
def cxrbench_backbones() -> list[type[Backbone]]:
    """MobileNet alone."""
    return [MobileNet]
