"""The four hooks of plugins, and the decorator that marks their implementations."""

from __future__ import annotations

import pluggy

from cxrbench.interfaces import Backbone, Dataset, FeatureExtractor, Fusion

hookspec = pluggy.HookspecMarker("cxrbench")
hookimpl = pluggy.HookimplMarker("cxrbench")


@hookspec
def cxrbench_backbones() -> list[type[Backbone]]:  # type: ignore[empty-body]
    """Return the backbone classes that this plugin provides."""


@hookspec
def cxrbench_feature_extractors() -> list[type[FeatureExtractor]]:  # type: ignore[empty-body]
    """Return the feature extractor classes that this plugin provides."""


@hookspec
def cxrbench_fusions() -> list[type[Fusion]]:  # type: ignore[empty-body]
    """Return the fusion classes that this plugin provides."""


@hookspec
def cxrbench_datasets() -> list[type[Dataset]]:  # type: ignore[empty-body]
    """Return the dataset classes that this plugin provides."""
