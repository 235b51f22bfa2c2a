"""One check of one part: what it is called, how it is run, and what it told."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from unittest import SkipTest

from cxrbench.errors import CxrbenchError, PluginError

_FIX = "see where it happens: the check run by pytest shows the whole way there"


class NotChecked(SkipTest):
    """The check cannot be made here, for the reason given; pytest counts it as skipped."""


@dataclass(frozen=True)
class CheckResult:
    """What a check told.

    ``state`` is ``"ok"``, ``"failed"`` or ``"skipped"``; ``told`` what was measured, what went
    wrong with its remedy, or why it was skipped.
    """

    kind: str
    part: str
    check: str
    state: str
    seconds: float
    told: str


@dataclass(frozen=True)
class Check:
    """One promise of one part. Call it: it raises `PluginError` where the promise is not kept.

    ``ask`` returns what is worth telling, or an empty text.
    """

    kind: str
    part: str
    name: str
    ask: Callable[[], str]

    def __str__(self) -> str:
        return f"{self.part}-{self.name}"

    def __call__(self) -> str:
        """Check, and return what is worth telling.

        Raises
        ------
        PluginError : what was expected, what came, and how to mend it.
        unittest.SkipTest : it cannot be checked here; pytest understands it.
        """
        try:
            return self.ask()
        except (PluginError, NotChecked):
            raise
        except CxrbenchError as error:
            raise PluginError(
                f"{self.part}: {error.problem}",
                expected=error.expected or "no error",
                found=error.found or "this error",
                fix=error.fix or _FIX,
            ) from error
        except Exception as error:  # a plugin's code: it may raise anything
            raise PluginError(
                f"{self.part} failed in the check {self.name!r}",
                expected="no exception",
                found=_told(error),
                fix=_FIX,
            ) from error

    def result(self) -> CheckResult:
        """As calling it, without raising."""
        start = time.perf_counter()
        try:
            state, told = "ok", self()
        except NotChecked as reason:
            state, told = "skipped", str(reason)
        except PluginError as error:
            state, told = "failed", str(error)
        seconds = time.perf_counter() - start
        return CheckResult(self.kind, self.part, self.name, state, seconds, told)


def _told(error: Exception) -> str:
    words = " ".join(str(error).split())
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {words} ({place.filename}, line {place.lineno})"
