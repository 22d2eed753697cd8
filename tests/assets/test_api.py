"""Assets over HTTP: what a sticker opens, and what a map shows."""

from datetime import date, timedelta
from typing import Any

import pytest
import shapely
from fastapi.testclient import TestClient

from app.core import clock
from app.core.db import Session
from app.orgunits.queries import directory
from tests.support import make, places
from tests.support.assets import put

HOME = places.codes()[0]
LAT, LON = places.centre(HOME)


def today() -> date:
    return clock.local_day(clock.now())


def shown(client: TestClient, code: str, **headers: str) -> dict[str, Any]:
    answer = client.get(f"/v1/assets/{code}", headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_sticker_opens_what_a_report_begins_with(client: TestClient, session: Session) -> None:
    lamp = put(session, shapely.Point(LON, LAT), name="Đèn số 7")
    body = shown(client, lamp.code.lower().replace("-", " "))
    assert (body["code"], body["name"], body["kind"]) == (lamp.code, "Đèn số 7", "point")
    assert body["location"] == {"lat": LAT, "lon": LON}
    assert body["asset_class"] == {"code": "den_duong", "name": "Đèn đường"}
    assert body["category"]["code"] == "den_duong"
    assert body["commune"]["code"] == body["unit"]["code"] == HOME
    assert body["manager"] is None
    assert body["commune_approximate"] is False
    english = shown(client, lamp.code, **{"Accept-Language": "en"})
    assert english["asset_class"]["name"] == "Street lamp"


def test_the_unit_shown_is_the_one_that_gets_the_report(client: TestClient, session: Session) -> None:
    sign = put(session, shapely.Point(LON, LAT), "bien_bao", category_code="khoi_bui_mui")
    unit = shown(client, sign.code)["unit"]["code"]
    case_id = make.routed(session, client, make.citizen(session), category="khoi_bui_mui", within=HOME)
    seen = client.get(f"/v1/cases/{case_id}", headers=make.bearer(make.staff(session, "dispatcher")))
    assert seen.json()["unit"]["code"] == unit == "so_nong_nghiep_va_moi_truong"


def test_without_a_category_the_manager_is_named_and_a_nameless_asset_by_its_class(
    client: TestClient, session: Session
) -> None:
    hamlet = put(session, shapely.Point(LON, LAT), "thon_xom", name="", manager_id=make.unit_id(session, HOME))
    body = shown(client, hamlet.code)
    assert body["category"] is None
    assert body["unit"] == body["manager"]
    assert body["manager"]["code"] == HOME
    assert body["name"] == "Thôn, xóm, tổ dân phố"


def test_a_manager_that_has_ended_is_named_by_who_followed_it(client: TestClient, session: Session) -> None:
    (before,) = [unit for unit in directory(session).units if unit.name == "Thị trấn Chợ Chu"]
    hamlet = put(session, shapely.Point(LON, LAT), "thon_xom", manager_id=before.id)
    assert shown(client, hamlet.code)["manager"]["name"] == "Xã Định Hóa"


def test_what_the_caller_holds_is_not_sent_again(client: TestClient, session: Session) -> None:
    lamp = put(session, shapely.Point(LON, LAT))
    first = client.get(f"/v1/assets/{lamp.code}")
    again = client.get(f"/v1/assets/{lamp.code}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(
        f"/v1/assets/{lamp.code}", headers={"If-None-Match": first.headers["etag"], "Accept-Language": "en"}
    )
    assert other.status_code == 200


def test_unknown_and_ended_assets_are_not_found_with_the_way_out(client: TestClient, session: Session) -> None:
    ended = put(session, shapely.Point(LON, LAT), valid_to=today())
    coming = put(session, shapely.Point(LON, LAT), valid_from=today() + timedelta(days=1))
    last_day = put(session, shapely.Point(LON, LAT), valid_to=today() + timedelta(days=1))
    assert shown(client, last_day.code)
    for code in (ended.code, coming.code, "7KQ4-M2XT", "x", "%00", "7KQ4-M2X9"):
        answer = client.get(f"/v1/assets/{code}")
        assert (answer.status_code, answer.json()["code"]) == (404, "asset_unknown")
        assert "chọn vị trí trên bản đồ" in answer.json()["detail"]


def listed(client: TestClient, box: str, **query: Any) -> dict[str, Any]:
    answer = client.get("/v1/assets", params={"bbox": box, **query})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_map_lists_what_touches_it_page_by_page(client: TestClient, session: Session) -> None:
    lamps = [put(session, shapely.Point(LON + n / 1000, LAT)) for n in range(5)]
    road = put(session, shapely.LineString([(LON - 1, LAT), (LON + 1, LAT + 0.001)]), "quoc_lo", name="Quốc lộ 3")
    put(session, shapely.Point(LON + 0.5, LAT))
    put(session, shapely.Point(LON, LAT), valid_to=today())
    box = f"{LON - 0.01},{LAT - 0.01},{LON + 0.01},{LAT + 0.01}"
    found, cursor = [], None
    while True:
        page = listed(client, box, limit=4, **({"cursor": cursor} if cursor else {}))
        found += [item["code"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == sorted(asset.code for asset in [*lamps, road])
    (only,) = listed(client, box, **{"class": "quoc_lo"})["items"]
    assert (only["name"], only["kind"], only["bounds"]["west"]) == ("Quốc lộ 3", "line", LON - 1)


@pytest.mark.parametrize(
    "box",
    ["", "1,2,3", "a,b,c,d", "nan,21,105.9,21.1", "105.8,21.5,105.7,21.6", "105.8,21.5,105.95,21.6", "1,2,3,4,5"],
)
def test_a_map_that_is_none_or_too_wide_is_refused(client: TestClient, box: str) -> None:
    answer = client.get("/v1/assets", params={"bbox": box})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_asset_box")
    assert "0.1 độ" in answer.json()["detail"]
