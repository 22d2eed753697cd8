"""Clients that others wrote, and bare sockets, against a real server process that is cut off and killed."""

import asyncio
import io
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import aiotus
import httpx2
import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from yarl import URL

from app.core import db, storage
from app.core.config import ROOT
from app.embedded import Database
from app.identity.policy import Viewer
from app.media.models import Media
from app.processes import api_argv
from app.uploads import rules
from app.uploads.models import Upload
from tests.media import pictures
from tests.running import Mark, wait_for
from tests.support import make
from tests.uploads.phone import PIECE, TUS

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(180)]

# A photo of some megabytes: a picture with what phones write behind it.
PHOTO = pictures.jpeg(600, 400) + bytes(3_000_000)
STEP = rules.STEP_BYTES


class Server:
    """One API process on a port of its own, that can be killed and started again."""

    def __init__(self, mark: Mark) -> None:
        with closing(socket.socket()) as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        self.mark, self.process = mark, None
        self.log = (mark.place / "log").open("wb")
        self.start()

    process: subprocess.Popen[bytes] | None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        argv = api_argv("--host", "127.0.0.1", "--port", str(self.port))
        self.process = subprocess.Popen(argv, env=self.mark.environment, cwd=ROOT, stdout=self.log, stderr=self.log)
        wait_for(self._answers, "a server that answers", 60)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.address}/healthz", timeout=1).status_code == 200
        except httpx2.HTTPError:
            return False

    def kill(self) -> None:
        """As the kernel does: nothing is written, nothing is said."""
        assert self.process
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def peak_megabytes(self) -> float:
        """The most this process has held of its own at any time."""
        assert self.process
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024


@pytest.fixture
def server(committed: Database, tmp_path: Path) -> Iterator[Server]:
    server = Server(Mark(tmp_path, extra={"PHANANH_LIMITS_SCALE": "100"}))
    yield server
    server.kill()
    server.log.close()


@pytest.fixture
def citizen(committed: Database) -> Viewer:
    with db.transaction() as session:
        return make.citizen(session)


def row(upload_id: str) -> Upload:
    with db.transaction() as session:
        return session.get_one(Upload, UUID(upload_id))


def id_of(url: object) -> str:
    return str(url).rpartition("/")[2]


def arrived(upload_id: str) -> bytes:
    """The bytes of the picture an upload became."""
    with db.transaction() as session:
        media = session.get_one(Media, UUID(upload_id))
    return storage.get(media.original_key)


def tuspy(server: Server, viewer: Viewer, **options: Any) -> Any:
    client = TusClient(f"{server.address}/v1/uploads", headers=make.bearer(viewer))
    file = io.BytesIO(PHOTO)
    return client.uploader(file_stream=file, metadata={"filename": "ảnh hiện trường.jpg"}, **options)


# --- tuspy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"chunk_size": 500_000, "upload_checksum": True}])
def test_tuspy_uploads(server: Server, citizen: Viewer, options: dict[str, Any]) -> None:
    uploader = tuspy(server, citizen, **options)
    uploader.upload()
    assert uploader.url.startswith(f"{server.address}/v1/uploads/")
    assert uploader.request.response_headers["phananh-media-id"] == id_of(uploader.url)
    assert arrived(id_of(uploader.url)) == PHOTO


def test_tuspy_goes_on_after_the_line_broke_and_after_the_server_was_killed(server: Server, citizen: Viewer) -> None:
    uploader = tuspy(server, citizen, chunk_size=700_000)
    uploader.upload_chunk()
    # The line breaks in the middle of the next piece …
    sent = Wire(server, citizen, id_of(uploader.url), 700_000, len(PHOTO) - 700_000)
    sent.send(PHOTO[700_000:900_000])
    sent.close()
    wait_for(lambda: row(id_of(uploader.url)).received > 700_000, "bytes of a broken line kept")
    with pytest.raises(TusUploadFailed):
        uploader.upload_chunk()  # from where it believed to be: 409
    again = tuspy(server, citizen, url=uploader.url, chunk_size=700_000)
    assert 700_000 < again.offset <= 900_000
    again.upload_chunk()
    acknowledged = again.offset
    # … and the server dies.
    server.kill()
    with pytest.raises((TusUploadFailed, TusCommunicationError)):
        again.upload_chunk()
    server.start()
    third = tuspy(server, citizen, url=uploader.url)
    assert third.offset == acknowledged
    third.upload()
    assert arrived(id_of(uploader.url)) == PHOTO


def test_tuspy_retries_by_itself_while_the_server_comes_back(server: Server, citizen: Viewer) -> None:
    uploader = tuspy(server, citizen, chunk_size=200_000, retries=300, retry_delay=0.2)
    uploader.upload_chunk()
    server.kill()
    revived = threading.Thread(target=server.start)
    revived.start()
    uploader.upload()
    revived.join(60)
    assert arrived(id_of(uploader.url)) == PHOTO


# --- aiotus --------------------------------------------------------------------------------------------------------


def test_aiotus_uploads_and_reads_what_the_server_can_do(server: Server, citizen: Viewer) -> None:
    async def upload() -> str:
        endpoint, headers = f"{server.address}/v1/uploads", make.bearer(citizen)
        async with aiohttp.ClientSession() as session:
            told = await aiotus.core.configuration(session, URL(endpoint), headers=headers)
            assert (told.protocol_versions, told.max_size) == (["1.0.0"], 15_000_000)
            assert told.protocol_extensions == rules.EXTENSIONS.split(",")
        named: dict[str, bytes | None] = {"filename": "ảnh.jpg".encode(), "once": None}
        url = await aiotus.upload(endpoint, io.BytesIO(PHOTO), named, headers=headers, chunksize=400_000)
        assert url is not None
        assert await aiotus.metadata(str(url), headers=headers) == named
        return str(url)

    assert arrived(id_of(asyncio.run(upload()))) == PHOTO


def test_aiotus_goes_on_where_a_broken_line_and_a_killed_server_left_it(server: Server, citizen: Viewer) -> None:
    headers = make.bearer(citizen)

    async def created() -> URL:
        async with aiohttp.ClientSession() as session:
            endpoint = URL(f"{server.address}/v1/uploads")
            return await aiotus.creation.create(session, endpoint, io.BytesIO(PHOTO), {}, headers=headers)

    async def finished(url: URL) -> None:
        async with aiohttp.ClientSession() as session:
            assert await aiotus.core.offset(session, url, headers=headers) >= STEP
            await aiotus.core.upload_buffer(session, url, io.BytesIO(PHOTO), headers=headers, chunksize=400_000)

    url = asyncio.run(created())
    sent = Wire(server, citizen, id_of(url), 0, len(PHOTO))
    sent.send(PHOTO[: STEP + 300_000])
    wait_for(lambda: row(id_of(url)).received >= STEP, "a step acknowledged while it is sent")
    server.kill()
    sent.close()
    server.start()
    asyncio.run(finished(url))
    assert arrived(id_of(url)) == PHOTO


# --- bare sockets --------------------------------------------------------------------------------------------------


class Wire:
    """A PATCH whose body is sent by hand, announced as `length` bytes."""

    def __init__(self, server: Server, viewer: Viewer, upload_id: str, offset: int, length: int) -> None:
        headers = PIECE | make.bearer(viewer) | {"Upload-Offset": str(offset), "Content-Length": str(length)}
        lines = [f"PATCH /v1/uploads/{upload_id} HTTP/1.1", f"Host: 127.0.0.1:{server.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.socket = socket.create_connection(("127.0.0.1", server.port), 30)
        self.send("\r\n".join([*lines, "", ""]).encode())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> bytes:
        """Status line and headers, nothing where the server hung up; then the line is closed."""
        found = b""
        with self.socket:
            while b"\r\n\r\n" not in found and (more := self.socket.recv(65536)):
                found += more
        return found

    def close(self) -> None:
        self.socket.close()


def create(server: Server, viewer: Viewer, length: int = len(PHOTO)) -> str:
    headers = TUS | make.bearer(viewer) | {"Upload-Length": str(length)}
    answer = httpx2.post(f"{server.address}/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return id_of(answer.headers["location"])


def test_a_body_cut_in_the_middle_is_kept_and_continued(server: Server, citizen: Viewer) -> None:
    upload_id = create(server, citizen)
    file = Path(os.environ["PHANANH_VAR_DIR"]) / "uploads" / UUID(upload_id).hex
    sent = Wire(server, citizen, upload_id, 0, len(PHOTO))
    sent.send(PHOTO[:123_456])
    wait_for(lambda: file.exists() and file.stat().st_size == 123_456, "bytes on disk")
    assert Wire(server, citizen, upload_id, 0, 10).answer().startswith(b"HTTP/1.1 423 ")
    sent.close()
    wait_for(lambda: row(upload_id).received == 123_456, "the bytes that came, acknowledged")
    rest = Wire(server, citizen, upload_id, 123_456, len(PHOTO) - 123_456)
    rest.send(PHOTO[123_456:])
    answer = rest.answer()
    assert answer.startswith(b"HTTP/1.1 204 "), answer
    assert f"phananh-media-id: {upload_id}".encode() in answer.lower()
    assert arrived(upload_id) == PHOTO


def test_killed_at_any_point_no_acknowledged_byte_is_lost(server: Server, citizen: Viewer) -> None:
    """Every time a little further, until the picture is there."""
    upload_id, at = create(server, citizen), 0
    for _ in range(3):
        sent = Wire(server, citizen, upload_id, at, len(PHOTO) - at)
        sent.send(PHOTO[at : at + STEP])
        wait_for(lambda before=at: row(upload_id).received > before, "a step acknowledged")  # type: ignore[misc]
        acknowledged = row(upload_id).received
        server.kill()
        sent.close()
        server.start()
        headers = TUS | make.bearer(citizen)
        found = httpx2.head(f"{server.address}/v1/uploads/{upload_id}", headers=headers)
        at = int(found.headers["upload-offset"])
        assert at >= acknowledged
    rest = Wire(server, citizen, upload_id, at, len(PHOTO) - at)
    rest.send(PHOTO[at:])
    assert rest.answer().startswith(b"HTTP/1.1 204 ")
    assert arrived(upload_id) == PHOTO


def test_fifty_uploads_at_once_add_less_than_a_third_of_their_bytes_to_memory(server: Server, citizen: Viewer) -> None:
    ids = [create(server, citizen) for _ in range(50)]
    idle = server.peak_megabytes()
    failed: list[object] = []

    def send(upload_id: str) -> None:
        sent = Wire(server, citizen, upload_id, 0, len(PHOTO))
        sent.socket.settimeout(120)
        sent.send(PHOTO)
        if not (answer := sent.answer()).startswith(b"HTTP/1.1 204 "):
            failed.append(answer)

    together: list[Callable[[], None]] = [lambda each=each: send(each) for each in ids]  # type: ignore[misc]
    threads = [threading.Thread(target=each) for each in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(150)
    assert failed == []
    assert arrived(ids[-1]) == PHOTO
    assert server.peak_megabytes() - idle <= 48, "150 MB came"
