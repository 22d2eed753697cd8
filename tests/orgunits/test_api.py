"""Units and places over HTTP."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import Session

from app.boundaries.queries import boundaries_in_force
from app.core import clock
from app.core.versioned import bump
from tests.support import places

HOME = "05443"


def at(client: TestClient, **params: object) -> dict[str, object]:
    answer = client.get("/v1/units/at", params={name: str(value) for name, value in params.items()})
    body: dict[str, object] = answer.json()
    return {"http": answer.status_code, **body}


def test_all_units_of_today_are_listed_in_vietnamese_order(client: TestClient) -> None:
    body = client.get("/v1/units").json()
    assert body["next_cursor"] is None
    assert len(body["items"]) == 1 + 92 + 22
    names = [unit["name"] for unit in body["items"] if unit["level"] == "commune"]
    assert names[:3] == ["Xã An Khánh", "Xã Ba Bể", "Phường Bá Xuyên"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("level=commune", 92),
        ("kind=phuong", 15),
        ("kind=xa", 77),
        ("level=utility", 6),
        ("level=commune&parent=19", 92),
        ("level=province", 1),
        ("parent=19", 114),
        ("parent=05443", 0),
        ("parent=nowhere", 0),
        ("kind=xa&level=department", 0),
    ],
)
def test_units_are_filtered(client: TestClient, query: str, count: int) -> None:
    assert len(client.get(f"/v1/units?{query}").json()["items"]) == count


def test_an_unknown_kind_is_a_problem(client: TestClient) -> None:
    answer = client.get("/v1/units?kind=tinh")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_a_unit_says_what_it_is(client: TestClient) -> None:
    body = client.get(f"/v1/units/{HOME}").json()
    assert body == {
        "id": body["id"],
        "code": HOME,
        "name": "Phường Phan Đình Phùng",
        "name_vi": "Phường Phan Đình Phùng",
        "name_en": "Phan Dinh Phung Ward",
        "kind": "phuong",
        "level": "commune",
        "parent": "19",
        "valid_from": "2025-07-01",
        "valid_to": None,
        "phone": None,
        "email": None,
        "address": None,
        "population": None,
        "belief": False,
        "predecessors": body["predecessors"],
        "successors": [],
        "past": [],
        "same_code": body["same_code"],
    }
    before = {each["code"]: each["whole"] for each in body["predecessors"]}
    assert before == dict.fromkeys(("05437", "05440", "05443", "05446", "05449", "05452", "05458"), True) | {
        "05461": False
    }
    assert [(each["name"], each["valid_to"], each["whole"]) for each in body["same_code"]] == [
        ("Phường Trưng Vương", "2025-07-01", None)
    ]
    english = client.get(f"/v1/units/{HOME}", headers={"Accept-Language": "en"})
    assert (english.json()["name"], english.headers["content-language"]) == ("Phan Dinh Phung Ward", "en")


@pytest.mark.parametrize("code", ["99999", "at%20", "%00", "05443x"])
def test_an_unknown_unit_is_not_found(client: TestClient, code: str) -> None:
    answer = client.get(f"/v1/units/{code}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/v1/units", f"/v1/units/{HOME}"])
def test_who_has_the_current_list_gets_304(client: TestClient, session: Session, path: str) -> None:
    first = client.get(path)
    tag = first.headers["etag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"If-None-Match": tag, "Accept-Language": "en"}).status_code == 200
    session.execute(text("UPDATE unit SET phone = '02083123456' WHERE code = :code"), {"code": HOME})
    bump(session, "orgunits")
    session.commit()
    changed = client.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)


def test_the_units_of_an_earlier_day_are_those_of_that_day(client: TestClient) -> None:
    body = client.get("/v1/units?on=2025-06-30").json()
    levels = [unit["level"] for unit in body["items"]]
    assert [levels.count(level) for level in ("province", "district", "commune")] == [2, 17, 280]
    assert len(levels) == 299
    below = client.get("/v1/units?on=2025-06-30&parent=167").json()["items"]
    assert {(unit["parent"], unit["kind"]) for unit in below} == {("167", "xa"), ("167", "thi_tran")}
    assert len(client.get("/v1/units?on=2025-07-01").json()["items"]) == 1 + 92 + 22
    assert client.get("/v1/units?on=2024-11-30").json()["items"] == []


def test_a_code_given_anew_never_means_the_other_unit_unsaid(client: TestClient) -> None:
    today = client.get("/v1/units/05569").json()
    before = client.get("/v1/units/05569?on=2025-06-30").json()
    assert (today["name"], before["name"], before["kind"]) == ("Xã Định Hóa", "Thị trấn Chợ Chu", "thi_tran")
    assert [each["id"] for each in today["same_code"]] == [before["id"]]
    assert [(each["id"], each["whole"]) for each in before["successors"]] == [(today["id"], True)]
    assert client.get("/v1/units/05569?on=2024-11-30").status_code == 404
    by_id = client.get(f"/v1/units/{before['id']}").json()
    assert by_id == before
    assert client.get(f"/v1/units/{before['id']}?on=2026-01-01").status_code == 404
    assert client.get("/v1/units/00000000-0000-7000-8000-000000000000").status_code == 404


def test_an_old_link_finds_the_unit_as_it_was_and_who_followed(client: TestClient) -> None:
    body = client.get("/v1/units/05932", headers={"Accept-Language": "en"}).json()
    assert (body["name"], body["valid_from"], body["valid_to"]) == ("Thuong Dinh Commune", "2024-12-01", "2025-07-01")
    assert [(each["code"], each["name"], each["whole"]) for each in body["successors"]] == [
        ("05941", "Diem Thuy Commune", False),
        ("05908", "Phu Binh Commune", False),
    ]
    district = client.get("/v1/units/173").json()
    assert (district["name"], district["valid_to"], district["successors"]) == ("Huyện Phú Bình", "2025-07-01", [])
    province = client.get("/v1/units/06").json()
    assert [(each["code"], each["name"]) for each in province["successors"]] == [("19", "Tỉnh Thái Nguyên")]


def test_a_point_inside_names_its_commune_and_the_boundary(client: TestClient) -> None:
    lat, lon = places.centre(HOME)
    body = at(client, lat=lat, lon=lon, accuracy_m=15)
    assert (body["http"], body["outcome"], body["approximate"], body["notice"]) == (200, "inside", False, None)
    commune = body["commune"]
    assert isinstance(commune, dict)
    assert commune == {name: client.get(f"/v1/units/{HOME}").json()[name] for name in commune}
    assert body["candidates"] == [{"code": HOME, "name": "Phường Phan Đình Phùng", "distance_m": 0}]
    boundary = body["boundary"]
    assert isinstance(boundary, dict)
    assert boundary | {"id": ""} == {
        "id": "",
        "source": "synthetic squares",
        "licence": "none",
        "accuracy": "surveyed",
        "effective_from": "2025-07-01",
    }


def test_a_point_at_the_border_names_both(client: TestClient) -> None:
    west, south, _, north = places.square(HOME)
    body = at(client, lat=(south + north) / 2, lon=west + 0.001, accuracy_m=200)
    assert body["outcome"] == "border"
    candidates = body["candidates"]
    assert isinstance(candidates, list)
    assert (len(candidates), candidates[0]["code"]) == (2, HOME)
    assert 95 < candidates[1]["distance_m"] < 110


@pytest.fixture
def _estimated(session: Session) -> None:
    """The boundaries in force are estimates."""
    version = boundaries_in_force(session, clock.now()).id
    session.execute(text("UPDATE boundary_version SET accuracy = 'approximate' WHERE id = :id"), {"id": version})
    bump(session, "boundaries")
    session.commit()


@pytest.mark.usefixtures("_estimated")
def test_approximate_boundaries_say_so(client: TestClient) -> None:
    lat, lon = places.centre(HOME)
    body = at(client, lat=lat, lon=lon)
    assert body["approximate"] is True
    assert "ước lượng" in str(body["notice"])
    english = client.get(f"/v1/units/at?lat={lat}&lon={lon}", headers={"Accept-Language": "en"}).json()
    assert "estimates" in english["notice"]


@pytest.mark.parametrize(
    ("place", "code", "pointer"),
    [
        ((91, 105.8, 1), "location_out_of_range", "/query/lat"),
        ((-90.1, 105.8, 1), "location_out_of_range", "/query/lat"),
        ((21.6, 180.1, 1), "location_out_of_range", "/query/lon"),
        (("nan", 105.8, 1), "location_out_of_range", "/query/lat"),
        ((21.6, "-inf", 1), "location_out_of_range", "/query/lon"),
        ((21.6, 105.8, -1), "location_out_of_range", "/query/accuracy_m"),
        ((21.6, 105.8, "nan"), "location_out_of_range", "/query/accuracy_m"),
        ((105.8, 21.6, 1), "location_swapped", "/query"),
        ((0, 0, 1), "location_outside", "/query"),
        ((21.0285, 105.8542, 1000), "location_outside", "/query"),
        ((-21.6, 105.8, 1), "location_outside", "/query"),
        (("21,6", 105.8, 1), "invalid", "/query/lat"),
        (("", 105.8, 1), "invalid", "/query/lat"),
    ],
)
def test_a_place_that_cannot_be_ours_is_refused(
    client: TestClient, place: tuple[object, object, object], code: str, pointer: str
) -> None:
    body = at(client, lat=place[0], lon=place[1], accuracy_m=place[2])
    errors = body["errors"]
    assert isinstance(errors, list)
    assert (body["http"], body["code"], errors[0]["pointer"], body["retry"]) == (422, code, pointer, "never")


def test_outside_one_is_told_where_to_turn(client: TestClient) -> None:
    body = at(client, lat=21.0285, lon=105.8542)
    assert str(body["detail"]).startswith("Vị trí này nằm ngoài tỉnh Thái Nguyên")
    assert "dichvucong.gov.vn" in str(body["detail"])
    english = client.get("/v1/units/at?lat=21.0285&lon=105.8542", headers={"Accept-Language": "en"}).json()
    assert "outside Thai Nguyen Province" in english["detail"]


def test_without_boundaries_the_answer_is_try_again(client: TestClient, session: Session) -> None:
    session.execute(text("UPDATE boundary_version SET effective_from = '2999-01-01'"))
    bump(session, "boundaries")
    session.commit()
    answer = client.get("/v1/units/at?lat=21.6&lon=105.8")
    assert (answer.status_code, answer.json()["code"], answer.json()["retry"]) == (
        503,
        "boundaries_missing",
        "same_key",
    )
    assert answer.headers["retry-after"] == "30"
