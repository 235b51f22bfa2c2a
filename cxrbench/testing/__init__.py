"""Conformance checks for plugin authors: does a part fulfil its interface?

One line in a plugin's own tests runs them all::

    @pytest.mark.parametrize("check", checks_for("histogram"), ids=str)
    def test_conformance(check):
        check()

``cxrbench plugins check histogram`` runs the same from the command line.
"""

from __future__ import annotations

from cxrbench.testing.check import Check, CheckResult
from cxrbench.testing.run import check_plugin, checks_for

__all__ = ["Check", "CheckResult", "check_plugin", "checks_for"]
