"""The phantom's findings by name: NIH ChestX-ray14's fourteen, each with its sign."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cxrbench.builtin._phantom import opacities as opacities
from cxrbench.builtin._phantom import spaces as spaces
from cxrbench.builtin._phantom.signs import Finding

FINDINGS: Mapping[str, Finding] = MappingProxyType(
    {
        "Atelectasis": Finding(
            opacities.place_atelectasis, opacities.paint_atelectasis, opacities.shrink
        ),
        "Cardiomegaly": Finding(spaces.place_cardiomegaly, reshape=spaces.widen_heart),
        "Consolidation": Finding(opacities.place_consolidation, opacities.paint_consolidation),
        "Edema": Finding(opacities.place_edema, opacities.paint_edema),
        "Effusion": Finding(spaces.place_effusion, spaces.paint_effusion),
        "Emphysema": Finding(spaces.place_emphysema, spaces.paint_emphysema, spaces.inflate),
        "Fibrosis": Finding(opacities.place_fibrosis, opacities.paint_fibrosis, opacities.stiffen),
        "Hernia": Finding(spaces.place_hernia, spaces.paint_hernia),
        "Infiltration": Finding(opacities.place_infiltration, opacities.paint_infiltration),
        "Mass": Finding(opacities.place_mass, opacities.paint_mass),
        "Nodule": Finding(opacities.place_nodule, opacities.paint_nodule),
        "Pleural_Thickening": Finding(
            spaces.place_pleural_thickening, spaces.paint_pleural_thickening
        ),
        "Pneumonia": Finding(opacities.place_pneumonia, opacities.paint_pneumonia),
        "Pneumothorax": Finding(spaces.place_pneumothorax, spaces.paint_pneumothorax),
    }
)
