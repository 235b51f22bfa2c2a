"""The errors that a user can cause; each says what was expected, what was found and what to do."""

from __future__ import annotations


class CxrbenchError(Exception):
    """Base of every error with a message meant for the user (exit code 2, no traceback).

    Parameters
    ----------
    problem : one sentence that names the thing that is wrong.
    expected, found, fix : the right value, the value that was found, and the remedy. Each becomes
        a line and an attribute. Leave one out only if the problem already says it.
    """

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.problem, self.expected, self.found, self.fix = problem, expected, found, fix
        lines = [problem]
        for title, text in (("expected", expected), ("got", found), ("to do", fix)):
            if text is not None:
                lines.append(f"  {title}: {text}")
        super().__init__("\n".join(lines))


def error_text(error: BaseException) -> str:
    """``TypeName: message`` of an exception of somebody else's code, whose text may itself fail."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        return f"{name}, whose message cannot be shown ({type(failure).__name__})"


class RecipeError(CxrbenchError):
    """A recipe names an unknown part, parameter or value."""


class PluginError(CxrbenchError):
    """A plugin is broken, or a part does not fulfil its interface."""


class SettingsError(CxrbenchError):
    """An option has an invalid value."""


class DataError(CxrbenchError):
    """A folder, table or split cannot be used as a cohort."""


class UnreadableImage(CxrbenchError):
    """One image cannot be decoded; it is excluded with this reason, and the others are used."""


class CacheError(CxrbenchError):
    """A cached store is damaged or cannot be written."""


class WeightsError(CxrbenchError):
    """Pretrained weights are missing or do not fit the backbone."""


class DeviceError(CxrbenchError):
    """The requested device, Keras backend or engine is not available."""


class ExecutorError(CxrbenchError):
    """Ray or its cluster is not available, or its nodes cannot do the work."""


class OutOfMemory(CxrbenchError):
    """The memory of the GPU or of the machine is too small for the request."""


class DownloadError(CxrbenchError):
    """A file cannot be downloaded, differs from the published file, or cannot be unpacked."""


class RunError(CxrbenchError):
    """A run directory cannot be read or written."""


class TimingError(CxrbenchError):
    """A process that times hot paths cannot be started, has ended, or does not respond."""


def failing_code(error: BaseException) -> str:
    """The file, line and code that raised an error, as far as its message does not say them."""
    import traceback

    if isinstance(error, SyntaxError):
        return f": {error.text.strip()}" if error.text else ""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, PluginError) or not frames or "importlib" in frames[-1].filename:
        return ""
    return f" ({frames[-1].filename}, line {frames[-1].lineno}: {frames[-1].line})"
