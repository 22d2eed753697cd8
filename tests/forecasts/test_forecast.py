"""What is told before a report is sent, and from what it was counted."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import select

from app.core import clock
from app.core.db import Session
from app.forecasts.actions import count, count_if_owed
from app.forecasts.models import Forecast
from app.routing.actions import assign_owed
from tests.support import make, places

HOME, NEXT = places.codes()[0], places.codes()[1]
NEVER = "bao_luc_xam_hai_tre_em"

# A history in a word: chains are not what this is about (cf. tests/seals/chains.py).
_RECEIVED = text("UPDATE case_file SET received_at = :at WHERE id = :id")
_STANDS = text("UPDATE case_file SET state = :state WHERE id = :id")
_STEP = text("""
    INSERT INTO case_event (case_id, seq, at, verb, from_state, to_state, actor_kind, cycle, category_code, urgency,
                            channel, code, body, hash)
    SELECT id, :seq, received_at + :after, 'resolve', 'in_progress', 'resolved', 'staff', 1, category_code, urgency,
           channel, :code, '', '' FROM case_file WHERE id = :id
""")


def sent(client: TestClient, session: Session, number: int, **body: Any) -> list[UUID]:
    """Cases received ten days ago, with a unit or a dispatcher."""
    receipts = [make.submit(client, make.citizen(session), make.report_body(**body)) for _ in range(number)]
    assign_owed()
    found = [make.case_of(session, receipt["id"]) for receipt in receipts]
    for case_id in found:
        session.execute(_RECEIVED, {"id": case_id, "at": clock.now() - timedelta(days=10)})
    return found


def finish(session: Session, case_id: UUID, hours: float, code: str = "fixed", seq: int = 10) -> None:
    session.execute(_STEP, {"id": case_id, "seq": seq, "after": timedelta(hours=hours), "code": code})
    session.execute(_STANDS, {"id": case_id, "state": "resolved"})


def asked(client: TestClient, category: str = make.TRUSTED_COMMUNE, commune: str = HOME, **headers: str) -> Any:
    lat, lon = places.centre(commune)
    answer = client.get("/v1/forecast", params={"category": category, "lat": lat, "lon": lon}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_commune_then_the_province_then_no_number(client: TestClient, session: Session) -> None:
    cases = sent(client, session, 12, within=HOME)
    for hours, case_id in enumerate(cases[:9], start=40):
        finish(session, case_id, hours)
    count(session)
    nothing = asked(client)
    assert (nothing["basis"], nothing["n"], nothing["median_hours"]) == ("none", None, None)
    assert "Chưa đủ số liệu" in nothing["text"]
    assert session.exec(select(Forecast)).all() == []  # a few are not even stored
    finish(session, cases[9], 49.5)
    count(session)
    here = asked(client)
    # Twelve: ten finished after 40 to 50 hours, two wait for 240.
    assert (here["basis"], here["n"], here["median_hours"], here["p90_hours"]) == ("commune", 10, 45, None)
    assert here["text"].startswith("Thường 2 ngày (n = 10, ")
    assert asked(client, **{"Accept-Language": "en"})["text"].startswith("Usually 2 days (n = 10, ")
    there = asked(client, commune=NEXT)
    assert (there["basis"], there["n"]) == ("province", 10)
    assert asked(client, category="dot_rac")["basis"] == "none"


def test_refused_merged_and_withdrawn_reports_do_not_count(client: TestClient, session: Session) -> None:
    cases = sent(client, session, 11, within=HOME)
    for case_id in cases:
        finish(session, case_id, 5)
    for case_id, state in zip(cases, ("rejected", "withdrawn"), strict=False):
        session.execute(_STANDS, {"id": case_id, "state": state})
    assert count(session) == 0


def test_the_first_resolution_counts_and_a_plan_is_none(client: TestClient, session: Session) -> None:
    cases = sent(client, session, 11, within=HOME)
    for case_id in cases[:10]:
        finish(session, case_id, 24)
        finish(session, case_id, 100, seq=11)  # reopened and resolved again
    finish(session, cases[10], 1, code="planned")
    count(session)
    here = asked(client)
    assert (here["n"], here["median_hours"], here["p90_hours"]) == (10, 24, 24)
    assert here["text"].startswith("Thường 1 ngày, chín trên mười trường hợp trong 1 ngày")


def test_how_often_what_is_never_public_happens_in_a_commune_is_not_told(client: TestClient, session: Session) -> None:
    for case_id in sent(client, session, 10, category=NEVER, within=HOME):
        finish(session, case_id, 3)
    count(session)
    assert asked(client, category=NEVER)["basis"] == "province"


def test_what_is_older_than_a_year_does_not_count(client: TestClient, session: Session) -> None:
    for case_id in sent(client, session, 10, within=HOME):
        finish(session, case_id, 3)
    with clock.travelled(clock.now() + timedelta(days=356)):
        assert count(session) == 0


def test_it_is_counted_once_an_hour(client: TestClient, session: Session) -> None:
    for case_id in sent(client, session, 10, within=HOME):
        finish(session, case_id, 3)
    assert count_if_owed(session) == 2  # the commune's and the province's
    assert count_if_owed(session) is None
    with clock.travelled(clock.now() + timedelta(hours=2)):
        assert count_if_owed(session) == 2


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"category": "gi_do", "lat": 21.45, "lon": 105.45}, "unknown_category"),
        ({"category": "o_ga", "lat": 10.8, "lon": 106.6}, "location_outside"),
        ({"category": "o_ga", "lat": 105.45, "lon": 21.45}, "location_swapped"),
        ({"category": "o_ga", "lat": "nan", "lon": 21.45}, "invalid"),
    ],
)
def test_what_cannot_be_asked_is_refused(client: TestClient, query: dict[str, Any], code: str) -> None:
    answer = client.get("/v1/forecast", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json().get("errors", [{}])[0].get("pointer", "/query").startswith("/query")
