"""ConvNeXt-Tiny (Liu et al., *A ConvNet for the 2020s*, CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxrbench import Backbone, hookimpl

if TYPE_CHECKING:
    import keras

CXRBENCH_API = 1


@dataclass(frozen=True)
class ConvNeXtTiny(Backbone):
    """Keras' ConvNeXtTiny without its top; a grey image fills all three channels.

    Keras' network has the preprocessing of its ImageNet weights in it.
    """

    name: ClassVar[str] = "convnexttiny"
    aliases: ClassVar[tuple[str, ...]] = ("convnext",)
    image_size: ClassVar[int] = 224
    freeze_at: ClassVar[str] = "convnext_tiny_downsampling_block_2"  # the stage of stride 32

    def build(self, image_size: int, weights: str | None) -> keras.Model:
        """Grey (N, H, W, 1) in [0, 255] to a map (N, H/32, W/32, 768)."""
        import keras

        grey = keras.Input((image_size, image_size, 1), name="grey")
        colour = keras.layers.Concatenate(name="grey_to_rgb")([grey, grey, grey])
        network = keras.applications.ConvNeXtTiny(
            input_shape=(image_size, image_size, 3),
            include_top=False,
            weights=weights,
            input_tensor=colour,
        )
        return keras.Model(grey, network.output, name=self.name)


@hookimpl
def cxrbench_backbones() -> list[type[Backbone]]:
    """ConvNeXt-Tiny alone."""
    return [ConvNeXtTiny]
