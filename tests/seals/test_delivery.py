"""Each new seal is told to a configured address until that has taken it."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from sqlmodel import col, select

from app.core import clock
from app.core.config import settings
from app.core.db import transaction
from app.embedded import Database
from app.seals import queries, rules
from app.seals.actions import deliver_owed
from app.seals.models import SealDelivery
from tests.seals.chains import DAY, NIGHT, night


@dataclass
class Archive:
    """Somebody else's server: answers as it is told, keeps what it took."""

    address: str
    answers: list[int] = field(default_factory=list)
    took: list[bytes] = field(default_factory=list)
    asked: int = 0


@pytest.fixture
def archive(committed: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.asked += 1
            status = told.answers.pop(0) if told.answers else 204
            if status == 204:
                told.took.append(body)
            if status == 0:  # the line is cut before an answer
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = Archive(f"http://127.0.0.1:{server.server_port}/roots")
    monkeypatch.setattr(settings(), "seal_webhook", told.address)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def owed() -> list[SealDelivery]:
    with transaction() as session:
        return list(session.exec(select(SealDelivery).order_by(col(SealDelivery.number))))


def deliver(after: timedelta) -> int:
    with clock.travelled(NIGHT + DAY + after):
        return deliver_owed()


def test_a_new_seal_is_posted_once_as_a_line_of_trusted_roots(archive: Archive) -> None:
    night(1)
    assert deliver(timedelta()) == 1
    assert deliver(timedelta(days=9)) == 0
    with transaction() as session:
        assert [rules.TrustedRoot.read(body.decode()) for body in archive.took] == queries.since(session, 1)
    assert json.loads(archive.took[0])["number"] == 1
    assert owed()[0].delivered_at is not None


@pytest.mark.parametrize("status", [500, 302, 404, 0])
def test_what_was_not_taken_is_owed_until_it_is(archive: Archive, status: int) -> None:
    archive.answers = [status, status]
    night(1)
    assert deliver(timedelta()) == 0
    assert deliver(timedelta(seconds=59)) == 0
    assert archive.asked == 1, "within the pause nobody is asked"
    assert deliver(timedelta(seconds=60)) == 0
    (waiting,) = owed()
    assert (waiting.attempts, waiting.delivered_at) == (2, None)
    assert waiting.failure == (f"status {status}" if status else "RemoteProtocolError")
    assert deliver(timedelta(minutes=3)) == 1
    assert len(archive.took) == 1


def test_one_that_fails_holds_up_no_other(archive: Archive) -> None:
    archive.answers = [500]
    night(1)
    night(2)
    assert deliver(DAY) == 1
    assert json.loads(archive.took[0])["number"] == 2
    assert deliver(2 * DAY) == 1
    assert [json.loads(body)["number"] for body in archive.took] == [2, 1]


def test_a_closed_address_is_tried_again(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    night(1)
    monkeypatch.setattr(settings(), "seal_webhook", "http://127.0.0.1:1/closed")
    assert deliver(timedelta()) == 0
    assert owed()[0].failure == "ConnectError"
    monkeypatch.setattr(settings(), "seal_webhook", archive.address)
    assert deliver(timedelta(minutes=1)) == 1


def test_a_worker_killed_while_posting_leaves_the_seal_owed(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The try was counted and put off before the request left: whoever comes later posts again."""
    night(1)

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(httpx2, "post", killed)
        with pytest.raises(SystemExit):
            deliver(timedelta())
    (waiting,) = owed()
    assert (waiting.attempts, waiting.failure, waiting.delivered_at) == (1, None, None)
    assert deliver(timedelta(minutes=1)) == 1


def test_without_an_address_nothing_is_owed(committed: Database) -> None:
    night(1)
    assert owed() == []
    assert deliver(timedelta(days=1)) == 0
