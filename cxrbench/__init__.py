"""Benchmark backbones, hand-crafted features and their fusion on chest radiographs.

What plugin authors and notebook users import. Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrbench.benchmark import run as run
    from cxrbench.data.files import choose_image as choose_image
    from cxrbench.data.files import find_file as find_file
    from cxrbench.data.files import image_stem as image_stem
    from cxrbench.data.files import list_images as list_images
    from cxrbench.data.files import read_text as read_text
    from cxrbench.data.image_paths import folders_below as folders_below
    from cxrbench.data.image_paths import image_id as image_id
    from cxrbench.data.image_paths import locate as locate
    from cxrbench.data.lists import identify_lists as identify_lists
    from cxrbench.data.lists import read_list as read_list
    from cxrbench.data.record_cells import HEADINGS as HEADINGS
    from cxrbench.data.record_cells import film_headings as film_headings
    from cxrbench.data.record_cells import film_word as film_word
    from cxrbench.data.record_cells import similar_ids as similar_ids
    from cxrbench.data.table_labels import LabelOptions as LabelOptions
    from cxrbench.data.table_labels import Labels as Labels
    from cxrbench.data.tables import TABLE_SUFFIXES as TABLE_SUFFIXES
    from cxrbench.data.tables import Columns as Columns
    from cxrbench.data.tables import Table as Table
    from cxrbench.data.tables import names_in as names_in
    from cxrbench.data.tables import read_table as read_table
    from cxrbench.encoders.visual_words import VLAD as VLAD
    from cxrbench.encoders.visual_words import BagOfWords as BagOfWords
    from cxrbench.encoders.whole_image import Identity as Identity
    from cxrbench.errors import CxrbenchError as CxrbenchError
    from cxrbench.errors import DataError as DataError
    from cxrbench.errors import UnreadableImage as UnreadableImage
    from cxrbench.hookspecs import hookimpl as hookimpl
    from cxrbench.interfaces import Backbone as Backbone
    from cxrbench.interfaces import Box as Box
    from cxrbench.interfaces import Cohort as Cohort
    from cxrbench.interfaces import Dataset as Dataset
    from cxrbench.interfaces import Display as Display
    from cxrbench.interfaces import Encoder as Encoder
    from cxrbench.interfaces import Examination as Examination
    from cxrbench.interfaces import Exclusion as Exclusion
    from cxrbench.interfaces import Fault as Fault
    from cxrbench.interfaces import FeatureExtractor as FeatureExtractor
    from cxrbench.interfaces import FittedEncoder as FittedEncoder
    from cxrbench.interfaces import Fusion as Fusion
    from cxrbench.interfaces import LocalFeatures as LocalFeatures
    from cxrbench.interfaces import Record as Record
    from cxrbench.modeling.application import KerasApplication as KerasApplication
    from cxrbench.notebook.evaluation import Evaluation as Evaluation
    from cxrbench.notebook.evaluation import evaluate as evaluate
    from cxrbench.notebook.functions import compare as compare
    from cxrbench.notebook.functions import explain as explain
    from cxrbench.notebook.functions import figures as figures
    from cxrbench.notebook.functions import leaderboard as leaderboard
    from cxrbench.notebook.functions import predict as predict

__version__ = "0.1.0"

_NAMES = {
    "benchmark": "run",
    "notebook.evaluation": "Evaluation evaluate",
    "notebook.functions": "compare explain figures leaderboard predict",
    "errors": "CxrbenchError DataError UnreadableImage",
    "hookspecs": "hookimpl",
    "interfaces": "Backbone Box Cohort Dataset Display Encoder Examination Exclusion Fault "
    "FeatureExtractor FittedEncoder Fusion LocalFeatures Record",
    "encoders.visual_words": "BagOfWords VLAD",
    "encoders.whole_image": "Identity",
    "modeling.application": "KerasApplication",
    "data.files": "choose_image find_file image_stem list_images read_text",
    "data.lists": "identify_lists read_list",
    "data.tables": "Columns TABLE_SUFFIXES Table names_in read_table",
    "data.image_paths": "folders_below image_id locate",
    "data.record_cells": "HEADINGS film_headings film_word similar_ids",
    "data.table_labels": "LabelOptions Labels",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cxrbench' has no attribute {name!r}")
    return getattr(import_module(f"cxrbench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
