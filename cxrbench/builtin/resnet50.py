"""ResNet50 (He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016)."""

from __future__ import annotations

from dataclasses import dataclass

from cxrbench import Backbone, KerasApplication, hookimpl

CXRBENCH_API = 1


@dataclass(frozen=True)
class ResNet50(KerasApplication):
    """Keras' ResNet50 without its top; a grey image fills all three channels."""

    name = "resnet50"
    aliases = ("resnet",)
    image_size = 224
    freeze_at = "conv5_block1_1_conv"
    application = "ResNet50"
    preprocessing = "caffe"


@hookimpl
def cxrbench_backbones() -> list[type[Backbone]]:
    return [ResNet50]
