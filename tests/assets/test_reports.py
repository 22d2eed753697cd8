"""A report made from a sticker: what is stored of it, and what routing makes of it."""

from datetime import timedelta
from typing import Any

import pytest
import shapely
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from app.assets.models import Asset
from app.cases.models import Case
from app.core import clock
from app.identity.policy import Viewer
from app.reports.models import ReportContent
from app.routing.actions import assign_owed
from tests.support import make, places
from tests.support.assets import put
from tools.verify import problems

HOME, ELSEWHERE = places.codes()[0], places.codes()[2]
LAT, LON = places.centre(HOME)


@pytest.fixture
def lamp(session: Session) -> Asset:
    return put(session, shapely.Point(LON, LAT), manager_id=make.unit_id(session, "cong_an_tinh"))


def to_the_manager(client: TestClient, session: Session, category: str) -> None:
    """A rule: what is reported within 15 m of a lamp goes to its manager."""
    area = {"kind": "asset", "asset_class": "den_duong", "to_manager": True, "within_m": 15}
    rule = {"category": category, "area": area, "priority": 900, "valid_from": str(clock.local_day(clock.now()))}
    headers = make.bearer(make.staff(session, "administrator")) | make.key()
    assert client.post("/v1/routing/rules", json=rule, headers=headers).status_code == 201


def routed_case(client: TestClient, session: Session, citizen: Viewer, **body: Any) -> Case:
    return session.get_one(Case, make.routed(session, client, citizen, **body))


def test_what_the_sticker_pre_fills_is_sent_and_kept(client: TestClient, session: Session, lamp: Asset) -> None:
    shown = client.get(f"/v1/assets/{lamp.code}").json()
    begun = {"category": shown["category"]["code"], "asset": shown["code"].lower().replace("-", "")}
    location = shown["location"] | {"accuracy_m": 0}
    case = routed_case(client, session, make.citizen(session), location=location, **begun)
    content = session.exec(select(ReportContent).where(ReportContent.report_id == case.report_id)).one()
    assert content.asset_id == lamp.id
    seen = client.get(f"/v1/cases/{case.id}", headers=make.bearer(make.staff(session, "dispatcher"))).json()
    assert (seen["asset"], seen["unit"]["code"]) == (lamp.code, shown["unit"]["code"])
    # The code is part of what event 1 commits to.
    assert problems(session) == []
    content.asset_id = None
    session.flush()
    assert any("event 1 does not commit" in fault for fault in problems(session))


def test_the_scanned_asset_is_the_nearest_until_the_pin_is_moved(
    client: TestClient, session: Session, lamp: Asset
) -> None:
    to_the_manager(client, session, make.TRUSTED_COMMUNE)
    citizen, far = make.citizen(session), {"lat": LAT + 0.002, "lon": LON, "accuracy_m": 300}
    without = routed_case(client, session, citizen, location=far)
    scanned = routed_case(client, session, citizen, location=far, asset=lamp.code)
    assert without.unit_id == make.unit_id(session, HOME)
    assert (scanned.unit_id, scanned.route_reason) == (lamp.manager_id, "rule")
    dispatcher = make.bearer(make.staff(session, "dispatcher"))
    dry = {"category": make.TRUSTED_COMMUNE, "location": far, "asset": lamp.code}
    answer = client.post("/v1/routing/dry-run", json=dry, headers=dispatcher).json()
    assert answer["unit"]["code"] == "cong_an_tinh"
    assert client.get(f"/v1/assets/{lamp.code}").json()["manager"]["code"] == "cong_an_tinh"
    elsewhere = dict(zip(("lat", "lon"), places.centre(ELSEWHERE), strict=True))
    moved = {"location": elsewhere, "reason": "Nhãn dán nhầm cột."}
    assert make.move(client, make.staff(session, "dispatcher"), scanned.id, "move-pin", moved).status_code == 200
    assert assign_owed() == 1
    session.refresh(scanned)
    assert scanned.unit_id == make.unit_id(session, ELSEWHERE)


def test_where_nothing_decides_the_manager_is_suggested(client: TestClient, session: Session, lamp: Asset) -> None:
    body = make.report_body(asset=lamp.code) | {"location": None, "commune": HOME, "place_text": "Gần chợ"}
    case = routed_case(client, session, make.citizen(session), **body)
    assert case.unit_id == make.unit_id(session, HOME)  # the commune that was named decides
    lost = {"category": make.TRUSTED_COMMUNE, "asset": lamp.code}
    dispatcher = make.bearer(make.staff(session, "dispatcher"))
    answer = client.post("/v1/routing/dry-run", json=lost, headers=dispatcher).json()
    assert (answer["unit"], answer["reason"], answer["suggested"]["code"]) == (None, "no_place", "cong_an_tinh")


@pytest.mark.parametrize("code", ["0000-0000", "not a code", ""])
def test_a_code_of_nothing_in_use_is_refused_and_says_what_to_do(
    client: TestClient, session: Session, lamp: Asset, code: str
) -> None:
    lamp.valid_to = clock.local_day(clock.now()) - timedelta(days=1)
    session.flush()
    citizen = make.citizen(session)
    for written in (code, lamp.code):
        body = make.report_body(within=HOME, asset=written)
        answer = client.post("/v1/reports", json=body, headers=make.bearer(citizen) | make.key())
        assert answer.status_code == 422, answer.text
        if written == lamp.code:
            assert answer.json()["code"] == "asset_not_in_use"
            assert lamp.code in answer.json()["detail"]
    assert session.exec(select(Case)).all() == []
