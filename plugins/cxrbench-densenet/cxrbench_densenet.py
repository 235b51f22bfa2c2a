"""DenseNet121 (Huang et al., *Densely Connected Convolutional Networks*, CVPR 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from cxrbench import Backbone, KerasApplication, hookimpl

CXRBENCH_API = 1


@dataclass(frozen=True)
class DenseNet121(KerasApplication):
    """Keras' DenseNet121 without its top; a grey image fills all three channels.

    References
    ----------
    Rajpurkar et al., CheXNet: Radiologist-Level Pneumonia Detection on Chest X-Rays with Deep
    Learning, 2017, uses this backbone at 224 pixels.
    """

    name = "densenet121"
    aliases = ("densenet",)
    image_size = 224
    freeze_at = "conv5_block1_0_bn"
    application = "DenseNet121"
    preprocessing = "torch"


@hookimpl
def cxrbench_backbones() -> list[type[Backbone]]:
    """DenseNet121 alone."""
    return [DenseNet121]
