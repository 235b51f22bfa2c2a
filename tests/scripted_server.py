"""A web server on loopback that answers as a test tells it: drops, lies, refuses, redirects."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TAG = '"one"'


@dataclass(frozen=True)
class Answer:
    """How one request is answered; the default is a well-behaved server.

    ``drop_at``: close the connection after so many bytes of the body. ``claim``: announce another
    length. ``ranges``: whether Range is understood. ``trickle``: seconds before each 10,000 bytes.
    """

    status: int | None = None
    body: bytes | None = None
    drop_at: int | None = None
    claim: int | None = None
    ranges: bool = True
    etag: str | None = TAG
    chunked: bool = False
    trickle: float = 0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """The files by path; ``script`` is used up by requests, and then ``usual`` is the answer."""

    files: dict[str, bytes]
    script: list[Answer] = field(default_factory=list)
    usual: Answer = field(default_factory=Answer)
    port: int = 0
    seen: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ranges(self) -> list[str | None]:
        """The Range of each request so far."""
        return [asked for _, asked in self.seen]


@contextmanager
def serve(files: dict[str, bytes], script: Sequence[Answer] = ()) -> Iterator[Server]:
    server = Server(dict(files), list(script))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.seen.append((self.path, asked))
            answer = server.script.pop(0) if server.script else server.usual
            body = answer.body
            if body is None:
                body = server.files.get(self.path.partition("?")[0].lstrip("/"))
            if body is None:
                answer, body = Answer(status=404), b"nothing here"
            _respond(self, answer, body, asked)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that was killed is what tests want."""

    http = Quiet(("127.0.0.1", 0), Handler)
    server.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _respond(
    handler: BaseHTTPRequestHandler, answer: Answer, body: bytes, asked: str | None
) -> None:
    start, total, status = 0, len(body), answer.status or 200
    headers = dict(answer.headers)
    if answer.etag:
        headers["ETag"] = answer.etag
    if asked and answer.ranges and answer.status is None:
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        status = 206 if start < total else 416
        headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
    sent = body[start:] if status != 416 else b""
    if answer.chunked:
        headers["Transfer-Encoding"] = "chunked"
    else:
        headers["Content-Length"] = str(answer.claim if answer.claim is not None else len(sent))
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    _send(handler, answer, sent)


def _send(handler: BaseHTTPRequestHandler, answer: Answer, sent: bytes) -> None:
    import time

    kept = sent if answer.drop_at is None else sent[: answer.drop_at]
    if answer.claim is not None or answer.drop_at is not None:
        handler.close_connection = True
    try:
        for at in range(0, len(kept), 10_000):
            piece = kept[at : at + 10_000]
            if answer.trickle:
                time.sleep(answer.trickle)
            if answer.chunked:
                piece = f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
            handler.wfile.write(piece)
        if answer.chunked and answer.drop_at is None:
            handler.wfile.write(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        handler.close_connection = True
