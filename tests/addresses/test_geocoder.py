"""The geocoder may do what it likes: an address is always answered, quickly, and says who named the street."""

import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import psycopg
import pytest
import shapely
from fastapi.testclient import TestClient
from sqlmodel import func, select

from app.addresses import actions
from app.addresses.actions import AT_A_TIME, MAX_ANSWER_BYTES, TIMEOUT_S, describe
from app.addresses.models import AddressAnswer
from app.addresses.rules import FAILURES
from app.core import clock
from app.core.config import settings
from app.core.db import Session, transaction
from app.embedded import Database
from tests.addresses.geocoder import Answer, Geocoder, send, serving, street
from tests.support import make, places
from tests.support.assets import put

LAT, LON = places.centre(places.codes()[0])
STREET = "12 Đường Hoàng Văn Thụ"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Geocoder]:
    """An own geocoder, configured."""
    with serving() as server:
        monkeypatch.setenv("PHANANH_GEOCODER_URL", server.url)
        settings.cache_clear()
        yield server
    monkeypatch.undo()
    settings.cache_clear()


def kept(session: Session) -> int:
    return session.exec(select(func.count()).select_from(AddressAnswer)).one()


def test_the_street_comes_from_the_geocoder_and_the_commune_from_us(session: Session, server: Geocoder) -> None:
    put(session, shapely.LineString([(LON - 1e-3, LAT), (LON + 1e-3, LAT)]), "quoc_lo", name="Quốc lộ 3")
    found = describe(LAT, LON, clock.now())
    assert (found.street, found.source) == (STREET, "geocoder")
    assert found.road is not None
    assert found.road.name == "Quốc lộ 3"
    assert found.placement.commune_id == make.unit_id(session, places.codes()[0])
    (asked,) = server.asked
    assert (float(asked["lat"][0]), float(asked["lon"][0])) == (LAT, LON)


def test_an_answer_is_kept_for_its_cell_and_for_a_month(session: Session, server: Geocoder) -> None:
    describe(LAT, LON, clock.now())
    assert describe(LAT + 1e-6, LON, clock.now()).source == "geocoder"
    assert len(server.asked) == 1
    describe(LAT + 1e-3, LON, clock.now())
    assert len(server.asked) == 2
    for answer in session.exec(select(AddressAnswer)):
        answer.answered_at -= timedelta(days=31)
    session.commit()
    describe(LAT, LON, clock.now())
    assert len(server.asked) == 3
    assert kept(session) == 1  # what is too old was forgotten with it


def test_no_more_answers_are_kept_than_there_is_room_for(
    session: Session, server: Geocoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "MAX_KEPT", 3)
    for step in range(6):
        describe(LAT + step / 1000, LON, clock.now())
    assert kept(session) == 3
    describe(LAT + 0.005, LON, clock.now())
    assert len(server.asked) == 6


def test_that_there_is_no_street_is_kept_as_well(session: Session, server: Geocoder) -> None:
    server.answer = partial(send, body={"error": "Unable to geocode"})
    for _ in range(2):
        found = describe(LAT, LON, clock.now())
        assert (found.street, found.source) == (None, "own_data")
    assert len(server.asked) == 1


def test_what_lies_far_away_is_no_street_of_ours(session: Session, server: Geocoder) -> None:
    server.answer = partial(street, lat="21.0", lon="105.8")
    assert describe(LAT, LON, clock.now()).source == "own_data"


def stall(handler: BaseHTTPRequestHandler) -> None:
    handler.server.released.wait(20)  # type: ignore[attr-defined]


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: the socket never times out."""
    for _ in range(500):
        handler.wfile.write(b"H")
        if handler.server.released.wait(0.02):  # type: ignore[attr-defined]
            return


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def cut(handler: BaseHTTPRequestHandler) -> None:
    send(handler, b'{"lat": "21', length=5000)


FAULTS: dict[str, Answer] = {
    "error": partial(send, body={"error": "no"}, status=500),
    "busy": partial(send, body=b"", status=503),
    "stalls": stall,
    "drips": drip,
    "hangs up": hang_up,
    "cuts": cut,
    "redirects": partial(send, body=b"", status=302, Location="http://127.0.0.1:9/reverse"),
    "no json": partial(send, body=b"<html>Chao</html>"),
    "no utf-8": partial(send, body=b"\xff\xfe"),
    "number": partial(send, body=42),
    "list": partial(send, body=[42]),
    "no address": partial(street, address=None),
    "words": partial(street, address="rubbish"),
    "nowhere": partial(street, lat="x", lon="y"),
    "null bytes": partial(street, address={"road": "a\x00b"}),
    "deep": partial(send, body=b"[" * 60_000),
    "huge": partial(send, body=b"[" + b"0," * MAX_ANSWER_BYTES + b"0]"),
}


@pytest.mark.parametrize("answer", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_geocoder_costs_the_street_and_a_moment(
    session: Session, server: Geocoder, answer: Answer
) -> None:
    server.answer = answer
    started = time.monotonic()
    found = describe(LAT, LON, clock.now())
    assert time.monotonic() - started < TIMEOUT_S + 1
    assert (found.street, found.source) == (None, "own_data")
    assert found.placement.commune_id is not None
    assert kept(session) == 0
    server.answer = street
    assert describe(LAT, LON, clock.now()).street == STREET


def test_after_failures_in_a_row_it_is_left_alone(session: Session, server: Geocoder) -> None:
    server.answer = hang_up
    for _ in range(FAILURES + 3):
        assert describe(LAT, LON, clock.now()).source == "own_data"
    assert len(server.asked) == FAILURES
    server.answer = street
    assert describe(LAT, LON, clock.now()).source == "own_data"


def test_threads_that_hang_are_few(session: Session, server: Geocoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "TIMEOUT_S", 0.05)
    server.answer = drip
    geocoder = actions.Geocoder(server.url)
    monkeypatch.setattr(geocoder.breaker, "allows", lambda _now: True)
    for _ in range(AT_A_TIME + 3):
        assert geocoder.street(LAT, LON) is None
    assert len(server.asked) <= AT_A_TIME


def test_nobody_is_asked_where_no_geocoder_is_configured(session: Session) -> None:
    assert settings().geocoder_url == ""
    assert describe(LAT, LON, clock.now()).source == "own_data"


@pytest.mark.parametrize("url", ["ftp://example.vn", "nominatim.example.vn", "http://example.vn/?key=1"])
def test_an_address_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch, url: str, session: Session) -> None:
    monkeypatch.setenv("PHANANH_GEOCODER_URL", url)
    settings.cache_clear()
    with pytest.raises(SystemExit, match="geocoder_url"):
        settings()
    monkeypatch.undo()
    settings.cache_clear()


def test_no_transaction_stays_open_while_the_geocoder_is_asked(committed: Database, server: Geocoder) -> None:
    from app.main import app  # noqa: PLC0415 - reads the settings made above

    open_transactions: list[Any] = []

    def count(handler: BaseHTTPRequestHandler) -> None:
        with psycopg.connect(committed.owner_url, autocommit=True) as connection:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND application_name = 'phananh'"
            )
            open_transactions.append(connection.execute(query).fetchone())
        street(handler)

    server.answer = count
    with transaction() as session:
        bearers = [make.bearer(make.staff(session, "dispatcher")), make.bearer(make.citizen(session))]
    with TestClient(app) as client:
        for step, bearer in enumerate(bearers):
            place = {"lat": LAT + step / 1000, "lon": LON}
            answer = client.get("/v1/addresses/at", params=place, headers=bearer)
            assert (answer.status_code, answer.json()["source"]) == (200, "geocoder")
    assert open_transactions == [(0,), (0,)]
