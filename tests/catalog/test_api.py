"""What the app loads at its start."""

from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session

from app.catalog.models import CategoryRow, ProvinceRow
from app.core import clock
from app.core.versioned import bump

PATHS = ["/v1/categories", "/v1/config"]


def test_categories_stand_in_their_groups_in_the_order_to_show(client: TestClient) -> None:
    groups = client.get("/v1/categories").json()["groups"]
    assert [group["number"] for group in groups] == list(range(1, 13))
    assert [category["number"] for category in groups[1]["categories"]] == ["2.1", "2.2", "2.3", "2.4"]
    assert {group["code"] for group in groups if not group["public_default"]} == {"an_ninh", "hanh_chinh_cong"}
    manhole = groups[1]["categories"][1]
    assert manhole == {
        "code": "ho_ga_mat_nap",
        "number": "2.2",
        "name": "Hố ga mất nắp, vỡ nắp",
        "name_vi": "Hố ga mất nắp, vỡ nắp",
        "name_en": "Manhole without a cover",
        "hint": manhole["hint"],
        "level": "commune",
        "urgency": "urgent",
        "may_be_public": True,
        "emergency_numbers": ["113", "114", "115"],
        "photo_suggested": True,
    }
    assert manhole["hint"].startswith("Hãy giữ khoảng cách an toàn")


def test_english_is_spoken_to_who_asks_for_it(client: TestClient) -> None:
    answer = client.get("/v1/categories", headers={"Accept-Language": "en-GB,en;q=0.9"})
    assert answer.headers["content-language"] == "en"
    group = answer.json()["groups"][0]
    assert (group["name"], group["name_vi"]) == ("Roads and traffic", "Giao thông")
    assert group["categories"][0]["hint"].startswith("Photograph the damage")
    consent = client.get("/v1/config", headers={"Accept-Language": "en"}).json()["consent"]
    assert consent["text"].startswith("Notice on the processing")


def test_the_configuration_holds_what_the_app_needs(client: TestClient) -> None:
    at = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
    with clock.travelled(at):
        body = client.get("/v1/config").json()
    assert body["province"]["name"] == "Thái Nguyên"
    assert body["province"]["bounds"] == {"west": 105.42, "south": 21.32, "east": 106.25, "north": 22.75}
    assert body["limits"]["description_chars"] == 5000
    assert "image/heic" in body["limits"]["photo_types"]
    assert body["consent"]["version"] == "2026-01"
    assert "Luật Bảo vệ dữ liệu cá nhân số 91/2025/QH15" in body["consent"]["text"]
    assert [each["number"] for each in body["emergency_numbers"]] == ["113", "114", "115", "111", "112"]
    assert body["minimum_app_versions"] == {"android": "1.0.0", "ios": "1.0.0"}
    assert body["features"]["rating"] is True
    assert body["server_time"] == "2026-03-02T01:30:00Z"


@pytest.mark.parametrize("path", PATHS)
def test_what_the_app_already_holds_is_not_sent_again(client: TestClient, path: str) -> None:
    first = client.get(path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["vary"] == "Accept-Language"
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    english = client.get(path, headers={"If-None-Match": tag, "Accept-Language": "en"})
    assert english.status_code == 200
    assert english.headers["etag"] != tag


def test_time_alone_is_no_change(client: TestClient) -> None:
    tags = set()
    for hour in (1, 2):
        with clock.travelled(datetime(2026, 3, 2, hour, tzinfo=UTC)):
            tags.add(client.get("/v1/config").headers["etag"])
    assert len(tags) == 1


def test_a_changed_catalogue_is_sent(client: TestClient, session: Session) -> None:
    tag = client.get("/v1/categories").headers["etag"]
    row = session.get(CategoryRow, "khac")
    assert row is not None
    row.active = False
    session.flush()
    bump(session, "catalog")
    answer = client.get("/v1/categories", headers={"If-None-Match": tag})
    assert answer.status_code == 200
    codes = [category["code"] for category in answer.json()["groups"][11]["categories"]]
    assert "khac" not in codes
    assert "cho_tha_rong" in codes


def test_before_a_pack_is_loaded_the_app_is_told_to_wait(client: TestClient, session: Session) -> None:
    row = session.get(ProvinceRow, 1)
    session.delete(row)
    session.flush()
    bump(session, "catalog")
    answer = client.get("/v1/config")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["code"] == "unavailable"
