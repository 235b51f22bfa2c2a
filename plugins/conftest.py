"""Which conformance checks take long: those of a network that start other processes or train."""

from __future__ import annotations

import pytest

from cxrbench.testing import Check

_SLOW = ("export", "gradients-jax", "gradients-torch", "noise")


@pytest.hookimpl(tryfirst=True)  # before what was not asked for is left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, so that the packages' own tests need one line for all checks."""
    for item in items:
        check = item.callspec.params.get("check") if hasattr(item, "callspec") else None
        if isinstance(check, Check) and check.name in _SLOW:
            item.add_marker(pytest.mark.slow)
            if check.name == "gradients-torch":
                item.add_marker(pytest.mark.torch)
