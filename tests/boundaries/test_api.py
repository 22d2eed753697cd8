"""Boundaries over HTTP: many points at once, and the list of versions."""

import random
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from app.boundaries.models import BoundaryVersion
from app.core.versioned import bump
from tests.support import places


def looked_up(client: TestClient, points: list[dict[str, float]], **headers: str) -> dict[str, Any]:
    answer = client.post("/v1/units/at", json={"points": points}, headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def centre(code: str) -> dict[str, float]:
    lat, lon = places.centre(code)
    return {"lat": lat, "lon": lon}


def test_a_thousand_points_keep_their_order(client: TestClient) -> None:
    wanted = random.Random(1).choices(places.codes(), k=1000)
    body = looked_up(client, [centre(code) | {"accuracy_m": 12.5} for code in wanted])
    assert [item["commune"] for item in body["items"]] == wanted
    assert {item["outcome"] for item in body["items"]} == {"inside"}
    assert (body["approximate"], body["notice"]) == (False, None)
    assert (body["boundary"]["source"], body["boundary"]["licence"]) == ("synthetic squares", "none")


def test_one_bad_point_does_not_spoil_the_rest(client: TestClient) -> None:
    good = centre("05443")
    bad: list[tuple[dict[str, float], str]] = [
        ({"lat": 10.8, "lon": 106.6}, "location_outside"),
        ({"lat": good["lon"], "lon": good["lat"]}, "location_swapped"),
        ({"lat": 91, "lon": 105}, "location_out_of_range"),
        ({"lat": good["lat"], "lon": good["lon"], "accuracy_m": -1}, "location_out_of_range"),
    ]
    body = looked_up(client, [point for each, _ in bad for point in (good, each)] + [good])
    assert [item["problem"] for item in body["items"][1::2]] == [problem for _, problem in bad]
    assert all((item["commune"], item["problem"]) == ("05443", None) for item in body["items"][::2])
    nothing: dict[str, Any] = {"outcome": None, "commune": None, "name": None, "candidates": []}
    assert all(item.items() >= nothing.items() for item in body["items"][1::2])


def test_many_points_are_answered_as_one_is(client: TestClient) -> None:
    rng = random.Random(2)
    points = [
        {"lat": rng.uniform(21.3, 22.7), "lon": rng.uniform(105.3, 106.3), "accuracy_m": rng.uniform(0, 2000)}
        for _ in range(60)
    ]
    for point, found in zip(points, looked_up(client, points, **{"Accept-Language": "en"})["items"], strict=True):
        single = client.get("/v1/units/at", params=point, headers={"Accept-Language": "en"}).json()
        if "commune" in single:
            named = (single["outcome"], single["commune"]["code"], single["commune"]["name"])
            assert (found["outcome"], found["commune"], found["name"]) == named
            assert found["candidates"] == [each["code"] for each in single["candidates"]]
        else:
            assert found["problem"] == single["code"]


@pytest.mark.parametrize(
    "body",
    [
        {"points": []},
        {"points": [{"lat": 21.5, "lon": 105.8}] * 1001},
        {"points": [{"lat": 21.5}]},
        {"points": [{"lat": 21.5, "lon": 105.8, "alt": 3}]},
        {"points": {"lat": 21.5, "lon": 105.8}},
        {},
    ],
)
def test_what_is_no_list_of_points_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/v1/units/at", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_versions_are_listed_with_what_they_rest_on(client: TestClient, session: Session) -> None:
    body = client.get("/v1/boundaries").json()
    assert [(item["accuracy"], item["in_force"], item["communes"]) for item in body["items"]] == [
        ("surveyed", True, 92),
        ("approximate", False, 92),
    ]
    surveyed, approximate = body["items"]
    assert (surveyed["licence"], surveyed["effective_from"], surveyed["note"]) == ("none", "2025-07-01", "tests")
    assert 9_000 < approximate["area_km2"] < 11_000
    assert (surveyed["fixes"], surveyed["remarks"], body["notice"]) == ([], [], None)


def test_approximate_boundaries_say_so_everywhere(client: TestClient, session: Session) -> None:
    for version in session.exec(select(BoundaryVersion)):
        version.accuracy = "approximate"
        session.add(version)
    bump(session, "boundaries")
    session.commit()
    for notice in (client.get("/v1/boundaries").json()["notice"], looked_up(client, [centre("05443")])["notice"]):
        assert notice.startswith("Ranh giới đang dùng là ước lượng")
    assert looked_up(client, [centre("05443")])["approximate"] is True
