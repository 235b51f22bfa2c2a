"""What stops a command before its first image is decoded."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from cxrbench.data.cohort import require_boxes
from cxrbench.experiment.cohort import DividedCohort
from cxrbench.experiment.plans import Plan
from cxrbench.experiment.settling import require_use_of_engine
from cxrbench.modeling.inputs import require_two_patients
from cxrbench.modeling.train import require_two_classes
from cxrbench.request import Request
from cxrbench.runs.directory import RUN


def check_before_decoding(request: Request, plans: Sequence[Plan], divided: DividedCohort) -> None:
    """Refuse everything that would fail later and needs no pixel to be seen.

    Options, recipes, weights files and the split are checked where they are read. What needs a
    device (backbones, their weights, engines) is checked where plans are settled.

    Raises
    ------
    SettingsError : an engine has nothing to compute for a recipe.
    DeviceError : an engine is not installed, or not for this device or precision.
    DataError : no test image has a box, though saliency is to be scored; no label of the
        validation split has both classes; a permuted part has one training patient only.
    RunError : the folder of the runs cannot be written.
    """
    for plan in plans:
        require_use_of_engine(plan)
    if request.saliency:
        require_boxes(divided.cohort, divided.split.rows("test"))
    if any(not plan.recipe.is_prior for plan in plans):
        require_two_classes(divided.labels("val"))
    if any(plan.recipe.permuted_inputs for plan in plans):
        rows = divided.split.rows("train").tolist()
        require_two_patients({divided.cohort.patient_ids[row] for row in rows})
    with RUN.writing(request.runs):
        request.runs.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=request.runs).close()
