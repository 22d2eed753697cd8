"""A file server on this machine that serves well, stalls, drips, truncates, lies, ignores Range, or sends too much."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from app.boundaries.schemas import SourceEntry, SourceFile
from tests.support import places

FOLDER = "wards"


@dataclass
class Served:
    """What the server holds, how it behaves for some of it, and what it was asked: (file name, Range or None)."""

    files: dict[str, bytes]
    habits: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""
    over: threading.Event = field(default_factory=threading.Event)

    def manifest(self) -> SourceFile:
        """The list of the files as they should be."""
        entries = [
            SourceEntry(
                path=f"{FOLDER}/{name}",
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                code=name.partition("_")[0],
            )
            for name, content in self.files.items()
        ]
        return SourceFile(
            address=self.address, source="a server", licence="MIT", effective=places.EFFECTIVE, files=entries
        )

    def asked_for(self, name: str) -> list[str | None]:
        """The Range of every request for a file."""
        return [wanted for file, wanted in self.asked if file == name]


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Served]:
    """Serve `files` below an address on 127.0.0.1 until the end of the block."""
    served = Served(files)

    class Handler(_Handler):
        held = served

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.address = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        served.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    held: Served

    def do_GET(self) -> None:
        name, wanted = self.path.rpartition("/")[2], self.headers.get("Range")
        self.held.asked.append((name, wanted))
        content, habit = self.held.files[name], self.held.habits.get(name, "well")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if habit.isdigit():
            self.send_response(int(habit))
            self.send_header("Location", self.held.address)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif habit == "ignores range":
            self._send(200, content, len(content))
        elif habit == "lies":
            self._send(200, content[::-1], len(content))
        elif habit == "sends too much":
            self._send(200, content * 3, None)
        else:
            self._send(206 if start else 200, content[start:], len(content) - start, start, len(content))

    def _send(self, status: int, body: bytes, length: int | None, start: int = 0, whole: int = 0) -> None:
        habit = self.held.habits.get(self.path.rpartition("/")[2], "well")
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()
        cut = len(body) // 2
        try:
            match habit:
                case "truncates":
                    self.wfile.write(body[:cut])
                case "truncates once" if not start:
                    self.wfile.write(body[:cut])
                case "stalls":
                    self.wfile.write(body[:cut])
                    self.held.over.wait(20)
                case "drips":
                    for place in range(len(body)):
                        self.wfile.write(body[place : place + 1])
                        if self.held.over.wait(0.02):
                            break
                case _:
                    self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def squares(folder: Path) -> dict[str, bytes]:
    """The synthetic communes, a file each, named as the pack's source names them; their features bear no code."""
    document = json.loads(places.synthetic(folder / "squares.geojson").read_text())
    return {
        f"{feature['properties']['code']}_x.geojson": json.dumps(feature | {"properties": {}}).encode()
        for feature in document["features"]
    }
