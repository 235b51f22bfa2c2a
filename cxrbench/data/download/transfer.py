"""Transfer one file over HTTP, resumed where it was cut off."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cxrbench.errors import DownloadError
from cxrbench.output.files import Destination, append, write_json

if TYPE_CHECKING:
    from requests import Response

    from cxrbench.interfaces import Advance, Display


DOWNLOAD = Destination(
    "the download in", DownloadError, "choose another folder with --into; downloaded files are kept"
)


@dataclass(frozen=True)
class Version:
    """What a server says of a file; two parts are joined only if it is the same for both."""

    url: str
    size: int | None
    etag: str | None
    last_modified: str | None

    def is_of(self, before: Version | None) -> bool:
        """A size that was not announced before may be now; all else has to agree."""
        return before is not None and self == replace(before, size=before.size or self.size)


def begin(part: Path, version: Version) -> None:
    """Start over; the version is on the disk before the first byte is."""
    discard(part)
    write_json(version_file(part), asdict(version), durable=True)


def version_of(part: Path, url: str) -> Version | None:
    """The version of a part that came from this address, None where that is not known."""
    try:
        version = Version(**json.loads(version_file(part).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return version if version.url == url else None


def length(part: Path) -> int:
    """Its bytes so far."""
    return part.stat().st_size if part.exists() else 0


def discard(part: Path) -> None:
    """Remove a part and what is known of it."""
    part.unlink(missing_ok=True)
    version_file(part).unlink(missing_ok=True)


def version_file(part: Path) -> Path:
    """Where it says which version a part is of."""
    return part.with_name(f"{part.name}.json")


TRIES = 6
"""So many attempts in a row that bring nothing new end a transfer."""

_CHUNK = 2**16
_TIMEOUT = (30, 60)  # seconds to connect, and between two packets
_CHANGED = "the file on the server changed since the last attempt; starting again"
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-[0-9]+/([0-9]+)")


@dataclass(frozen=True)
class RemotePart:
    """What to transfer: ``name`` for people, ``size`` in bytes where it is known."""

    name: str
    url: str
    size: int | None


def transfer(
    request: RemotePart, part: Path, *, display: Display, pause: Callable[[float], None]
) -> None:
    """Bring the file to ``part``, going on from what is there if it is of the same version.

    ``part`` has all bytes when this returns. Beside it, ``part`` with ``.json`` at the end says
    which version it is of. ``pause`` waits for so many seconds.

    Raises
    ------
    DownloadError : the server refuses, has another file, or too many attempts failed.
    """
    failures, best = 0, 0
    while True:
        try:
            _attempt(request, part, display)
            return
        except Interrupted as interruption:
            have = length(part)
            failures = 0 if have > best else failures + 1
            best = max(best, have)
            if failures >= TRIES:
                raise _given_up(request, interruption, have) from interruption
            wait = interruption.wait or 2.0 ** max(failures - 1, 0)
            display.say(f"{request.name}: {interruption}; trying again in {wait:g} s")
            pause(wait)


def _attempt(request: RemotePart, part: Path, display: Display) -> None:
    import requests
    import urllib3

    version = version_of(part, request.url)
    have = length(part) if version else 0
    if version and have and have == (request.size or version.size):
        return
    try:
        with requests.get(
            request.url, headers=_headers(have), stream=True, timeout=_TIMEOUT
        ) as response:
            _receive(request, response, part, version, display)
    except (
        requests.exceptions.SSLError,
        requests.exceptions.TooManyRedirects,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
    ) as error:
        raise DownloadError(
            f"{request.name} cannot be fetched from {request.url}",
            expected="an http or https address that answers",
            found=_plain(error),
            fix="check the address (--base-url), the clock and the proxy settings",
        ) from error
    except requests.exceptions.RequestException as error:
        raise Interrupted(f"no connection ({_plain(error)})") from error
    except urllib3.exceptions.HTTPError as error:
        raise Interrupted(f"the connection was lost ({_plain(error)})") from error


def _receive(
    request: RemotePart, response: Response, part: Path, version: Version | None, display: Display
) -> None:
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        discard(part)
        raise Interrupted(_CHANGED)
    check_answer(request.name, response)
    start, size = _extent(response)
    _check_size(request, response, size)
    now = Version(request.url, size, *said_of_itself(response))
    if start == 0:
        if version and length(part):
            display.say(f"{request.name}: the server cannot resume; starting again")
        begin(part, now)
    elif not now.is_of(version) or start != length(part):
        discard(part)
        raise Interrupted(_CHANGED)
    DOWNLOAD.require_room(part.parent, (size or 0) - start)
    with (
        part.open("ab", buffering=0) as file,
        _bar(display, request, size or request.size or 0) as advance,
    ):
        _copy(response, file, start, size or request.size, advance)
    _check_end(request, part, size)


def _copy(
    response: Response, file: BinaryIO, start: int, limit: int | None, advance: Advance
) -> None:
    """Raw bytes: an archive that the server calls gzip-encoded has to stay as it is."""
    have = start
    advance(have)
    for chunk in response.raw.stream(_CHUNK, decode_content=False):
        append(file.fileno(), chunk)
        have += len(chunk)
        advance(len(chunk))
        if limit is not None and have > limit:
            return


@contextmanager
def _bar(display: Display, request: RemotePart, size: int) -> Iterator[Advance]:
    """A bar that takes bytes and shows MB, or kB for small files."""
    unit, name = (10**6, "MB") if size >= 10**7 else (10**3, "kB")
    done = 0
    with display.task(f"{request.name}, {name}", size // unit) as advance:

        def advance_bytes(steps: int = 1, detail: str = "") -> None:
            nonlocal done
            before, done = done, done + steps
            if done // unit > before // unit:
                advance(done // unit - before // unit, detail)

        yield advance_bytes


def _check_end(request: RemotePart, part: Path, size: int | None) -> None:
    have, expected = length(part), request.size or size
    if expected is not None and have < expected:
        raise Interrupted(f"the connection was lost at {have:,} of {expected:,} bytes")
    if expected is not None and have > expected:
        discard(part)
        raise _other_size(request, f"more than {expected:,} bytes")


def _extent(response: Response) -> tuple[int, int | None]:
    """Where the answer's bytes begin in the file, and the whole file's size."""
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return (int(match[1]), int(match[2])) if match else (-1, None)
    text = response.headers.get("Content-Length", "")
    return 0, int(text) if text.isdecimal() else None


def _check_size(request: RemotePart, response: Response, size: int | None) -> None:
    if request.size is not None and size is not None and size != request.size:
        kind = response.headers.get("Content-Type", "unknown")
        raise _other_size(request, f"{size:,} bytes (of type {kind})")


def _other_size(request: RemotePart, actual: str) -> DownloadError:
    return DownloadError(
        f"{request.name} at {request.url} is not the published file",
        expected=f"{request.size:,} bytes" if request.size else "as many bytes as announced",
        found=actual,
        fix="check the address (--base-url); if the publisher replaced the file, a newer version "
        "of cxrbench has to know it",
    )


def _given_up(request: RemotePart, interruption: Interrupted, have: int) -> DownloadError:
    return DownloadError(
        f"{request.name} could not be fetched from {request.url}",
        expected=f"progress in one of {TRIES} attempts",
        found=str(interruption),
        fix="run the same command again later"
        + (f"; it continues from {have / 1e6:,.1f} MB" if have else ""),
    )


def _headers(have: int) -> dict[str, str]:
    from cxrbench import __version__

    headers = {"User-Agent": f"cxrbench/{__version__}", "Accept-Encoding": "identity"}
    return headers | ({"Range": f"bytes={have}-"} if have else {})


def _plain(error: Exception) -> str:
    """The innermost reason; the chain of wrappers around it says nothing more."""
    reason: BaseException = error
    while (inner := getattr(reason, "reason", None) or reason.__context__) and isinstance(
        inner, BaseException
    ):
        reason = inner
    return f"{type(reason).__name__}: {reason}"


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
        raise Interrupted(f"the server answers {_status_text(status)}", _wait(name, response))
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise DownloadError(
            f"{name} cannot be fetched",
            expected=f"the file at {response.url}",
            found=f"the server answers {_status_text(status)}",
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
            found=f"the server answers {_status_text(response.status_code)} and requests a wait of "
            f"{wait:,.0f} seconds",
            fix="run the same command again after that time; it continues there",
        )
    return wait


def _seconds_until(text: str) -> float | None:
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)


def _status_text(status: int) -> str:
    known = {item.value: item.phrase for item in HTTPStatus}
    return f"{status} {known.get(status, '')}".strip()
