"""Addresses over HTTP: where a point is, and which commune of today an address of any time means."""

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


CHO_CHU = "Thị trấn Chợ Chu, Huyện Định Hóa, Tỉnh Thái Nguyên"


def at(client: TestClient, session: Session, **query: Any) -> Any:
    headers = make.bearer(make.citizen(session)) | {"Accept-Language": query.pop("language", "vi")}
    return client.get("/v1/addresses/at", params={"lat": LAT, "lon": LON, **query}, headers=headers)


def test_a_point_is_told_from_the_small_to_the_large(client: TestClient, session: Session) -> None:
    put(session, shapely.LineString([(LON - 1e-3, LAT + 2e-4), (LON + 1e-3, LAT + 2e-4)]), "quoc_lo", name="Quốc lộ 3")
    put(session, shapely.Point(LON, LAT + 0.002), "thon_xom", name="Xóm Đồng Tâm")
    put(session, shapely.Point(LON, LAT), "den_duong", name="Đèn số 7")
    commune = directory(session).by_id(make.unit_id(session, HOME))
    assert commune is not None
    body = at(client, session).json()
    assert body["text"].startswith(f"gần Quốc lộ 3, gần Xóm Đồng Tâm, {commune.name}, ")
    assert (body["source"], body["street"], body["commune_approximate"]) == ("own_data", None, False)
    assert body["road"] == {"name": "Quốc lộ 3", "distance_m": 22}
    assert body["place"]["distance_m"] == pytest.approx(222, abs=1)
    assert body["commune"]["code"] == HOME
    english = at(client, session, language="en").json()
    assert english["text"].startswith(f"near Quốc lộ 3, near Xóm Đồng Tâm, {commune.name_en}, ")


def test_without_assets_the_commune_is_said(client: TestClient, session: Session) -> None:
    body = at(client, session).json()
    assert (body["road"], body["place"]) == (None, None)
    assert body["text"].count(", ") == 1


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ({"lat": LON, "lon": LAT}, "location_swapped"),
        ({"lat": 95}, "location_out_of_range"),
        ({"lat": 10.8, "lon": 106.7}, "location_outside"),
        ({"lat": "nan"}, "location_out_of_range"),
    ],
)
def test_a_point_that_is_not_ours_is_refused(
    client: TestClient, session: Session, place: dict[str, Any], code: str
) -> None:
    answer = at(client, session, **place)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_the_public_asks_for_no_points(client: TestClient) -> None:
    assert client.get("/v1/addresses/at", params={"lat": LAT, "lon": LON}).status_code == 401


def offers(client: TestClient, text: str) -> list[tuple[str, str, str | None, bool]]:
    answer = client.get("/v1/addresses/search", params={"q": text})
    assert answer.status_code == 200, answer.text
    return [(item["commune"]["name"], item["certainty"], item["was"], item["part"]) for item in answer.json()["items"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Chợ Chu", [("Xã Định Hóa", "certain", CHO_CHU, False)]),
        ("tt. cho chu, h. dinh hoa", [("Xã Định Hóa", "likely", CHO_CHU, False)]),
        ("TT.Chợ Chu, H. Định Hoá", [("Xã Định Hóa", "certain", CHO_CHU, False)]),
        ("Xã Định Hóa, tỉnh Thái Nguyên", [("Xã Định Hóa", "certain", None, False)]),
        ("Văn Lang", [("Xã Văn Lang", "likely", None, False), ("Xã Văn Lăng", "possible", None, False)]),
        ("van lang", [("Xã Văn Lang", "possible", None, False), ("Xã Văn Lăng", "possible", None, False)]),
    ],
)
def test_addresses_of_today_and_of_before(client: TestClient, text: str, expected: list[Any]) -> None:
    assert offers(client, text) == expected


def test_a_split_commune_answers_all_it_went_into(client: TestClient) -> None:
    found = offers(client, "xã Thượng Đình, huyện Phú Bình")
    assert [(name, certainty, part) for name, certainty, _, part in found] == [
        ("Xã Phú Bình", "possible", True),
        ("Xã Điềm Thụy", "possible", True),
    ]


def test_a_street_of_today_does_not_lead_to_the_ward_of_its_name(client: TestClient) -> None:
    ((name, certainty, *_),) = offers(client, "số 5 đường Gia Sàng, phường Tích Lương, Thái Nguyên")
    assert (name, certainty) == ("Phường Tích Lương", "certain")


def test_every_commune_of_every_time_is_found_by_its_full_address(client: TestClient, session: Session) -> None:
    """Each of the 280 and of the 92, with what stood above it: all it became is offered, before anything else."""
    units = directory(session)
    today = {unit.id for unit in units.communes(clock.local_day(clock.now()))}
    for unit in (each for each in units.units if each.level == "commune"):
        above, names = unit, [unit.name]
        while above.parent_id is not None and (found := units.by_id(above.parent_id)):
            above, names = found, [*names, found.name]
        heirs = {unit.id} if unit.id in today else {step.to_id for step in units.successors(unit.id)}
        answer = client.get("/v1/addresses/search", params={"q": ", ".join(names)}).json()["items"]
        wanted = {heir.code for each in heirs if (heir := units.by_id(each))}
        assert wanted <= {item["commune"]["code"] for item in answer}, names
        assert answer[0]["commune"]["code"] in wanted, names


def test_an_address_of_elsewhere_names_nothing(client: TestClient) -> None:
    assert offers(client, "phường Bến Nghé, quận 1, TP. Hồ Chí Minh") == []


@pytest.mark.parametrize("text", ["", "a", "x" * 201])
def test_a_question_too_short_or_too_long_is_refused(client: TestClient, text: str) -> None:
    assert client.get("/v1/addresses/search", params={"q": text}).status_code == 422


def test_a_null_byte_is_refused(client: TestClient) -> None:
    answer = client.get("/v1/addresses/search", params={"q": "Gia\x00Sàng"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
