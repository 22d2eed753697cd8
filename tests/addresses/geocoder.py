"""A Nominatim of one's own that can be told to misbehave."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = Callable[[BaseHTTPRequestHandler], None]


class Geocoder(ThreadingHTTPServer):
    """Answers every request by `answer`; `asked` holds the queries."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Answer = street
        self.asked: list[dict[str, list[str]]] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/nominatim/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Geocoder

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        assert parts.path == "/nominatim/reverse"
        self.server.asked.append(parse_qs(parts.query))
        self.server.answer(self)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
        """Say nothing."""


def send(
    handler: BaseHTTPRequestHandler, body: object, status: int = 200, length: int | None = None, **headers: str
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"Content-Length": str(length or len(data)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)


def street(handler: BaseHTTPRequestHandler, **changes: Any) -> None:
    """What Nominatim answers."""
    asked = handler.server.asked[-1]  # type: ignore[attr-defined]
    place = {"lat": asked["lat"][0], "lon": asked["lon"][0], "display_name": "…"}
    address = {"house_number": "12", "road": "Đường Hoàng Văn Thụ", "city": "Thái Nguyên"}
    send(handler, {**place, "address": address, **changes})


@contextmanager
def serving() -> Iterator[Geocoder]:
    """A geocoder on a port of its own."""
    with Geocoder() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
