"""One file from servers that drop, lie, refuse and change; what comes is whole or an error."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from scripted_server import Answer, serve

from cxrbench.data.download.transfer import TRIES, RemotePart, transfer, version_file
from cxrbench.errors import DownloadError

BODY = np.random.default_rng(0).bytes(1_000_000)
OTHER = np.random.default_rng(1).bytes(1_000_000)
K = 1000


@pytest.fixture
def server():
    with serve({"file": BODY}) as started:
        yield started


@pytest.fixture
def bring(server, tmp_path, recorder):
    """Transfer the server's file; returns its bytes."""
    waits: list[float] = []

    def run(size: int | None = len(BODY), path: str = "file") -> bytes:
        request = RemotePart("file", f"{server.url}/{path}", size)
        transfer(request, tmp_path / "part", display=recorder, pause=waits.append)
        return (tmp_path / "part").read_bytes()

    run.part, run.waits, run.said = tmp_path / "part", waits, recorder.lines
    return run


def refused(bring, *words: str, **options) -> None:
    with pytest.raises(DownloadError) as error:
        bring(**options)
    for word in words:
        assert word in str(error.value)
    assert "expected:" in str(error.value)
    assert "to do:" in str(error.value)


def test_a_file_comes_in_one_request(bring, server):
    assert bring() == BODY
    assert server.ranges == [None]
    assert bring.said == []


@pytest.mark.parametrize("size", [len(BODY), None])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_dropped_connection_goes_on_where_it_was(bring, server, size, chunked):
    server.script = [Answer(drop_at=700 * K, chunked=chunked), Answer(drop_at=100 * K)]

    assert bring(size) == BODY
    assert server.ranges[0] is None
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in server.ranges[1:]]
    assert 600 * K < starts[0] <= 700 * K
    assert starts[0] < starts[1] <= 800 * K
    assert bring.waits == [1, 1]
    assert "the connection was lost" in bring.said[0]


def test_a_body_shorter_than_announced_is_no_file(bring, server):
    server.script = [Answer(claim=len(BODY), body=BODY[: 300 * K])]

    assert bring() == BODY
    assert len(server.seen) == 2


def test_a_server_without_ranges_starts_over(bring, server):
    server.usual = Answer(ranges=False)
    server.script = [Answer(drop_at=500 * K, ranges=False)]

    assert bring() == BODY
    assert server.ranges[1] is not None
    assert any("starting again" in line for line in bring.said)


@pytest.mark.parametrize(
    "change",
    [{"etag": '"two"'}, {"headers": {"Last-Modified": "Sat, 01 Aug 2026 10:00:00 GMT"}}],
)
def test_a_file_that_changes_in_between_is_never_mixed(bring, server, change):
    server.script = [Answer(drop_at=500 * K)]
    server.files["file"], first = OTHER, BODY
    server.script[0] = Answer(drop_at=500 * K, body=first)
    server.usual = Answer(**change)

    assert bring() == OTHER
    assert server.ranges[0] is None
    assert server.ranges[-1] is None
    assert any("changed since the last attempt" in line for line in bring.said)


def test_a_file_that_became_shorter_is_fetched_anew(bring, server):
    server.script = [Answer(drop_at=800 * K, body=BODY)]
    server.files["file"] = OTHER[: 500 * K]

    assert bring(None) == OTHER[: 500 * K]


def test_a_part_of_an_earlier_command_goes_on(bring, server):
    server.script = [Answer(drop_at=600 * K), *[Answer(status=404)]]
    refused(bring, "404 Not Found")
    part = bring.part.stat().st_size
    assert 500 * K < part <= 600 * K

    assert bring() == BODY
    assert server.ranges[-1] == f"bytes={part}-"


def test_a_part_that_has_all_asks_for_nothing(bring, server):
    bring()
    assert bring() == BODY
    assert len(server.seen) == 1


@pytest.mark.parametrize("text", [None, "", "{", '{"url": 1}', "[]"])
def test_a_part_of_unknown_version_is_not_trusted(bring, server, text):
    bring.part.write_bytes(b"x" * 400 * K)
    if text is not None:
        version_file(bring.part).write_text(text)

    assert bring() == BODY
    assert server.ranges == [None]


def test_a_part_from_another_address_is_not_trusted(bring, server):
    server.files["mirror"] = BODY
    server.script = [Answer(drop_at=600 * K), Answer(status=404)]
    refused(bring, "404")

    assert bring(path="mirror") == BODY
    assert server.ranges[-1] is None


def test_redirects_are_followed_anew_each_time(bring, server):
    to = Answer(status=302, headers={"Location": "/file"}, body=b"", etag=None)
    server.script = [to, Answer(drop_at=500 * K), to]

    assert bring(path="link") == BODY
    assert [path for path, _ in server.seen] == ["/link", "/file", "/link", "/file"]
    assert server.ranges[-1] is not None


def test_redirects_in_a_circle_are_explained(bring, server):
    server.usual = Answer(status=302, headers={"Location": "/file"}, body=b"")
    refused(bring, "TooManyRedirects")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_told_at_once(bring, server, status):
    server.usual = Answer(status=status)
    refused(bring, f"the server answers {status}", "--base-url")
    assert len(server.seen) == 1
    assert not bring.part.exists()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(bring, server, status):
    server.script = [Answer(status=status), Answer(status=status, headers={"Retry-After": "7"})]

    assert bring() == BODY
    assert bring.waits == [1, 7]


def test_a_busy_server_may_name_a_date(bring, server):
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    server.script = [Answer(status=503, headers={"Retry-After": then})]

    assert bring() == BODY
    assert 40 < bring.waits[0] <= 50


def test_a_server_that_asks_for_hours_ends_the_command(bring, server):
    server.usual = Answer(status=429, headers={"Retry-After": "3600"})
    refused(bring, "429", "3,600 seconds")
    assert bring.waits == []


def test_a_server_that_stays_busy_is_given_up_with_growing_waits(bring, server):
    server.usual = Answer(status=503)
    refused(bring, "503 Service Unavailable", "run the same command again")
    assert bring.waits == [1, 2, 4, 8, 16]
    assert len(server.seen) == TRIES


def test_a_connection_that_always_drops_at_the_same_byte_is_given_up(bring, server):
    server.usual = Answer(drop_at=300 * K, ranges=False)
    refused(bring, "the connection was lost", "it continues from")
    assert len(server.seen) <= TRIES + 2


def test_no_server_is_explained(tmp_path, recorder):
    with serve({}) as gone:
        url = f"{gone.url}/file"
    with pytest.raises(DownloadError, match="no connection"):
        transfer(
            RemotePart("file", url, 1), tmp_path / "part", display=recorder, pause=lambda _: None
        )


@pytest.mark.parametrize("url", ["ftp://host/file", "file:///etc/passwd", "nonsense", "http://"])
def test_an_address_that_cannot_be_one_is_explained_at_once(tmp_path, recorder, url):
    with pytest.raises(DownloadError, match="http or https"):
        transfer(RemotePart("file", url, 1), tmp_path / "part", display=recorder, pause=pytest.fail)


def test_another_size_is_refused_before_it_is_fetched(bring, server):
    server.usual = Answer(body=b"x" * 123)
    refused(bring, "1,000,000 bytes", "123 bytes")
    assert not bring.part.exists()


def test_more_than_the_published_size_is_cut_off_and_refused(bring, server):
    server.usual = Answer(body=BODY * 5, chunked=True)
    refused(bring, "more than 1,000,000 bytes")
    assert not bring.part.exists()


def test_a_web_page_is_no_file(bring, server):
    server.usual = Answer(body=b"<html>log in</html>", headers={"Content-Type": "text/html"})
    refused(bring, "a web page")
    refused(bring, "a web page", size=None)


def test_bytes_stay_as_they_are_where_the_server_calls_them_encoded(bring, server):
    server.usual = Answer(headers={"Content-Encoding": "gzip"})
    assert bring() == BODY


def test_a_full_disk_is_found_before_it_is_filled(bring, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=500 * K)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    refused(bring, "not enough room", "--into")
    refused(bring, "not enough room", size=None)
    assert not bring.part.exists()


def test_the_version_is_written_before_the_first_byte(bring, server):
    server.usual = Answer(drop_at=0)
    refused(bring, "the connection was lost")
    assert json.loads(version_file(bring.part).read_text())["etag"] == '"one"'
