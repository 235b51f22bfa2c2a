"""ConvNeXt-Tiny (Liu et al., *A ConvNet for the 2020s*, CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from cxrbench import Backbone, KerasApplication, hookimpl

CXRBENCH_API = 1


@dataclass(frozen=True)
class ConvNeXtTiny(KerasApplication):
    """Keras' ConvNeXtTiny without its top, which does its own preprocessing."""

    name = "convnexttiny"
    aliases = ("convnext",)
    image_size = 224
    freeze_at = "convnext_tiny_downsampling_block_2"  # the stage of stride 32
    application = "ConvNeXtTiny"


@hookimpl
def cxrbench_backbones() -> list[type[Backbone]]:
    """ConvNeXt-Tiny alone."""
    return [ConvNeXtTiny]
