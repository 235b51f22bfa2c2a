"""Checks of every kind of part: that it is registered, and what its module imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from cxrbench.errors import PluginError
from cxrbench.parameters import changed
from cxrbench.store.cache import identity_of
from cxrbench.testing.check import Subject

HEAVY = (
    *("keras", "tensorflow", "jax", "torch", "sklearn", "skimage", "scipy", "pandas"),
    *("matplotlib", "cv2", "PIL", "pydicom", "ray"),
)
"""What no module of a plugin imports before it is used."""

_LONGEST_IMPORT = 0.5  # seconds of processor time, which a busy machine does not stretch


def registration(subject: Subject) -> str:
    """The part is a value: two with the same parameters are equal, and can be keys of a cache."""
    part, again = subject.part, type(subject.part)(**changed(subject.part))
    if part != again or hash(part) != hash(again):
        raise PluginError(
            f"{subject.text}: two parts with the same parameters are not equal",
            expected="a frozen dataclass that compares by its fields",
            found=f"{part!r} and {again!r}",
            fix="put @dataclass(frozen=True) above the class, and define no __eq__",
        )
    identity_of(part)  # raises if the module has no code for a key
    return f"{subject.kind} of {subject.plugin.package or subject.plugin.module}"


def import_cost(subject: Subject) -> str:
    """The plugin's module imports nothing heavy, and takes little time."""
    seconds, modules = _imported(subject.plugin.module.partition(":")[0])
    heavy = [name for name in HEAVY if name in modules]
    if heavy:
        raise PluginError(
            f"importing {subject.plugin.module} imports {', '.join(heavy)}",
            expected="no heavy imports before use, because every command loads every plugin",
            found=f"{seconds:.2f} s of processor time",
            fix="move the import into the function that uses it, and for annotations under "
            "`if TYPE_CHECKING:`",
        )
    if seconds > _LONGEST_IMPORT:
        raise PluginError(
            f"importing {subject.plugin.module} takes too long",
            expected=f"at most {_LONGEST_IMPORT} s of processor time",
            found=f"{seconds:.2f} s",
            fix="compute and read nothing at import, only in the functions that need it",
        )
    return f"{1000 * seconds:.0f} ms"


# NumPy and cxrbench itself are not the plugin's cost.
_IMPORT = """
import importlib, json, sys, time
sys.path[:0] = json.loads(sys.argv[2])
import numpy, cxrbench.registry
start = time.process_time()
before = set(sys.modules)
importlib.import_module(sys.argv[1])
seconds = time.process_time() - start
print(json.dumps({"seconds": seconds, "modules": sorted(set(sys.modules) - before)}))
"""


def _imported(module: str) -> tuple[float, frozenset[str]]:
    """Seconds of processor time, and the names of the modules that came with it."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, module, json.dumps(sys.path)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        raise PluginError(
            f"{module} cannot be imported in a new process",
            expected="an importable module",
            found=(done.stderr.strip().splitlines() or ["no message"])[-1],
            fix="install the plugin, and import only packages that its pyproject.toml lists",
        )
    answer = json.loads(done.stdout.splitlines()[-1])
    return float(answer["seconds"]), frozenset(answer["modules"])
