"""What a server's answer means: a file, a reason to try again, or an error for the user."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from cxrbench.errors import DownloadError

if TYPE_CHECKING:
    from requests import Response

LONGEST_WAIT = 120.0
"""Seconds; a server that asks for more patience ends the command."""

_PASSING = (408, 425, 429, 500, 502, 503, 504)


class Interrupted(Exception):
    """An attempt failed and another may do better, after ``wait`` seconds if the server says so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def check_answer(name: str, response: Response) -> None:
    """Return if the answer carries the file.

    Raises
    ------
    Interrupted : the server cannot just now.
    DownloadError : it will not, or sends a web page.
    """
    status = response.status_code
    if status in _PASSING:
        raise Interrupted(f"the server answers {_told(status)}", _wait(name, response))
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise DownloadError(
            f"{name} cannot be fetched",
            expected=f"the file at {response.url}",
            found=f"the server answers {_told(status)}",
            fix="open the address in a browser; if it has moved, name a mirror with --base-url",
        )
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(
            f"{name} cannot be fetched",
            expected=f"the file at {response.url}",
            found="a web page (it may ask for a login, or say that the file has moved)",
            fix="open the address in a browser; if it has moved, name a mirror with --base-url",
        )


def said_of_itself(response: Response) -> tuple[str | None, str | None]:
    """The file's entity tag and time of change, as far as the server tells them."""
    return response.headers.get("ETag"), response.headers.get("Last-Modified")


def _wait(name: str, response: Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    wait = float(text) if text.isdecimal() else _seconds_until(text)
    if wait is not None and wait > LONGEST_WAIT:
        raise DownloadError(
            f"{name} cannot be fetched now",
            expected=f"the file at {response.url}",
            found=f"the server answers {_told(response.status_code)} and asks to wait {wait:,.0f} "
            "seconds",
            fix="run the same command again after that time; it goes on where it was",
        )
    return wait


def _seconds_until(text: str) -> float | None:
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)


def _told(status: int) -> str:
    known = {item.value: item.phrase for item in HTTPStatus}
    return f"{status} {known.get(status, '')}".strip()
