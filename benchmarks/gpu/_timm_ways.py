"""The ways on PyTorch alone: timm's ResNet50, on data that is on the GPU already, and fed."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from _ways import TIMM, TIMM_FED, Conditions, Run, Task

from cxrbench.modeling.inputs import Inputs, feed

LEARNING_RATE = 1e-4
# timm's own, in grey levels, for all three channels.
_MEAN, _DEVIATION = 118.0, 58.0


@contextmanager
def timm_task(task: Task, conditions: Conditions) -> Iterator[dict[str, Any]]:
    """What makes the `Run` of each way; both share one model."""
    import torch

    step = cache(lambda: _step(task, conditions))

    def synthetic() -> Run:
        shape = (conditions.batch, 3, conditions.size, conditions.size)
        images = torch.randn(shape, device=_device())
        images = images.to(memory_format=torch.channels_last)
        labels = torch.from_numpy(conditions.labels()[: conditions.batch]).to(_device())

        def run(steps: int) -> int:
            for _ in range(steps):
                step()(images, labels)
            return steps * conditions.batch

        return run

    try:
        yield {TIMM: synthetic, TIMM_FED: lambda: _fed(step(), conditions)}
    finally:
        step.cache_clear()
        gc.collect()
        torch.compiler.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _step(task: Task, conditions: Conditions) -> Callable[[Any, Any], Any]:
    """One step on a batch (N, 3, S, S): its loss, or its logits where nothing trains."""
    import torch

    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")  # TF32, as Keras' backends take for float32
    device = _device()
    classes = conditions.labels().shape[1]
    model = importlib.import_module("timm").create_model("resnet50", num_classes=classes)
    model = model.to(device, memory_format=torch.channels_last)
    model.train(task != "infer")
    if task == "finetune":
        _freeze_below_last_stage(model)
    network: Any = torch.compile(model) if conditions.compiled else model

    def precision() -> Any:
        if conditions.precision == "float32":
            return nullcontext()
        return torch.autocast(device, torch.bfloat16)

    def predict(images: Any, labels: Any) -> Any:
        with torch.inference_mode(), precision():
            return network(images)

    if task == "infer":
        return predict
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, LEARNING_RATE, fused=True)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits

    def train(images: Any, labels: Any) -> Any:
        optimiser.zero_grad(set_to_none=True)
        with precision():
            loss = cross_entropy(network(images).float(), labels)
        loss.backward()
        optimiser.step()
        return loss

    return train


def _freeze_below_last_stage(model: Any) -> None:
    """As Keras does it: frozen batch normalisation keeps its statistics."""
    for name, part in model.named_children():
        if name not in ("layer4", "global_pool", "fc"):
            part.requires_grad_(False).eval()


def _fed(step: Callable[[Any, Any], Any], conditions: Conditions) -> Run:
    """From the store, by the threads that feed cxrbench; results come back as numbers do there."""
    import torch

    inputs = Inputs(conditions.array("pixels"), {}, conditions.labels())
    rows, batch, device = np.arange(conditions.images), conditions.batch, _device()

    def on_device(array: np.ndarray) -> Any:
        tensor = torch.from_numpy(array)
        if device == "cpu":
            return tensor
        return tensor.pin_memory().to(device, non_blocking=True)

    def run(steps: int) -> int:
        batches = [rows[start : start + batch] for start in range(0, steps * batch, batch)]
        for ready, labels in feed(inputs, batches):
            grey = on_device(ready["image"])[:, None].float().sub_(_MEAN).div_(_DEVIATION)
            colour = grey.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
            step(colour, on_device(labels)).detach().float().cpu()
        return steps * batch

    return run
