"""A phone that uploads in pieces: over HTTP, or straight into the application where bodies must break off."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi.testclient import TestClient
from starlette.types import Message

from app.identity.policy import Viewer
from app.main import app
from app.uploads import rules
from tests.support import make

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = TUS | {"Content-Type": rules.CONTENT_TYPE}


def checksum(data: bytes, algorithm: str = "sha1") -> dict[str, str]:
    digest = hashlib.new(algorithm, data).digest()
    return {"Upload-Checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}


class Phone:
    """One account's phone; whatever it is answered is the caller's to judge."""

    def __init__(self, client: TestClient, viewer: Viewer) -> None:
        self.client, self.viewer = client, viewer

    @property
    def signed_in(self) -> dict[str, str]:
        """With a token of now, which may be another day in a test that travels."""
        return make.bearer(self.viewer)

    def create(self, length: object, body: bytes = b"", /, **headers: str) -> Any:
        sent = TUS | self.signed_in | {"Upload-Length": str(length)} | _named(headers)
        return self.client.post("/v1/uploads", content=body, headers=sent)

    def opened(self, length: int) -> str:
        """The path of a new upload."""
        answer = self.create(length)
        assert answer.status_code == 201, answer.text
        return urlsplit(str(answer.headers["location"])).path

    def append(self, path: str, offset: object, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        sent = PIECE | self.signed_in | {"Upload-Offset": str(offset)} | dict(headers or {})
        return self.client.patch(path, content=body, headers=sent)

    def head(self, path: str) -> Any:
        return self.client.head(path, headers=TUS | self.signed_in)

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=self.signed_in)

    def delete(self, path: str) -> Any:
        return self.client.delete(path, headers=TUS | self.signed_in)

    def offset(self, path: str) -> int:
        answer = self.head(path)
        assert answer.status_code == 200, answer.headers
        return int(answer.headers["upload-offset"])


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def asgi(method: str, path: str, headers: Mapping[str, str], receive: Any) -> tuple[int, dict[str, str]]:
    """One request with a body of the test's making: status and headers."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found


def broken_off(pieces: list[bytes], *, cut: bool) -> Any:
    """`receive` of a body in `pieces` that ends, or breaks off after the last of them."""

    def messages() -> Iterator[Message]:
        for at, piece in enumerate(pieces):
            yield {"type": "http.request", "body": piece, "more_body": cut or at < len(pieces) - 1}
        while True:
            yield {"type": "http.disconnect"}

    coming = messages()

    async def receive() -> Message:
        return next(coming)

    return receive
