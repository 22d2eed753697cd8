"""What a hostile client sends is answered 4xx: a 5xx from anybody's input is a defect."""

import base64
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from app.core.db import Session
from app.core.text import clean
from app.main import app
from tests.support import make, places

HOME = places.codes()[0]
NOBODY = "00000000-0000-7000-8000-000000000000"


def parameters() -> Iterator[tuple[str, str, str, str]]:
    """method, path, where, name of every text parameter the application takes."""
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                if parameter["in"] in ("query", "path"):
                    yield method.upper(), path, parameter["in"], parameter["name"]


@pytest.mark.parametrize("hostile", ["%00", "a%00b", "%ED%A0%80", "%FF", "%E2%80%AE", "../../etc/passwd", "9" * 60])
def test_no_parameter_breaks_the_server(client: TestClient, session: Session, hostile: str) -> None:
    people = [make.citizen(session), *(make.staff(session, role) for role in ("dispatcher", "administrator"))]
    known = {"from": "2026-01-01", "to": "2026-02-01", "lat": "21.45", "lon": "105.45"}
    for method, path, where, name in parameters():
        if name.startswith("If-"):
            continue
        query = "&".join(f"{key}={value}" for key, value in known.items() if key != name and "/v1/kpi" in path)
        filled = path.replace(f"{{{name}}}", hostile) if where == "path" else path
        for other in ("case_id", "report_id", "media_id"):
            filled = filled.replace(f"{{{other}}}", NOBODY)
        filled = filled.replace("{size}", "large").replace("{reference}", "x").replace("{token}", "x")
        url = f"{filled}?{query}" + (f"&{name}={hostile}" if where == "query" else "")
        for viewer in people:
            answer = client.request(method, url, headers=make.bearer(viewer) | make.key() | {"If-Match": '"1"'})
            assert answer.status_code < 500, f"{method} {url}: {answer.text}"


def cursor(values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


EDGES = [
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2020-01-01T00:00:00",
    "2020-01-01T00:00:00+00:00:01",
]


@pytest.mark.parametrize("first", [*EDGES, None, 5, True, "x", "", {}, [], 1e308, "\x00", "\ud800"])
@pytest.mark.parametrize("leading", [(), (True,), (1,), (None,)])
def test_forged_cursors_are_refused_or_harmless(
    client: TestClient, session: Session, first: Any, leading: tuple[Any, ...]
) -> None:
    citizen = make.bearer(make.citizen(session))
    dispatcher, administrator = (make.bearer(make.staff(session, role)) for role in ("dispatcher", "administrator"))
    lists = {
        "/v1/reports": {},
        "/v1/me/reports": citizen,
        "/v1/cases": dispatcher,
        "/v1/staff": administrator,
        "/v1/messages/failed": administrator,
    }
    for path, headers in lists.items():
        for values in ([*leading, first, str(uuid4())], first):
            answer = client.get(f"{path}?cursor={cursor(values)}", headers=headers)
            assert answer.status_code in (200, 400), answer.text


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z"])
def test_the_edges_of_the_calendar(client: TestClient, session: Session, moment: str) -> None:
    headers = make.bearer(make.staff(session, "dispatcher"))
    for period in ("from=0001-01-01&to=0001-01-02", "from=2026-01-01&to=2026-02-01", "from=9999-12-30&to=9999-12-31"):
        answer = client.get(f"/v1/kpi/handling?{period}&at={moment}&group_by=month", headers=headers)
        assert answer.status_code in (200, 400), answer.text
    assert client.get(f"/v1/reports?since={moment}").status_code == 200
    citizen = make.citizen(session)
    for name in ("occurred_at", "sent_at"):
        make.submit(client, citizen, make.report_body(**{name: moment.replace("%2B", "+")}))


GOOD = json.dumps(make.report_body())
BODIES = {
    "deep array": "[" * 60_000,
    "deep object": '{"a":' * 10_000,
    "deep closed": "[" * 20_000 + "]" * 20_000,
    "a long integer": GOOD.replace("10}", "9" * 5000 + "}"),
    "past a double": GOOD.replace("10}", "1e400}"),
    "NaN": GOOD.replace("10}", "NaN}"),
    "Infinity": GOOD.replace("10}", "-Infinity}"),
    "NaN where a word belongs": GOOD.replace('"o_ga"', "NaN"),
    "a root that is NaN": "NaN",
    "an unpaired surrogate as a name": '{"\\ud800": 1}',
    "a null byte as a name": '{"\\u0000": 1}',
    "an unpaired surrogate as a nested name": GOOD.replace('"accuracy_m"', '"\\udfff"'),
    "a null byte in a code": GOOD.replace('"o_ga"', '"\\u0000"'),
    "a thousand photos": GOOD[:-1] + ', "media_ids": [' + ", ".join(f'"{uuid4()}"' for _ in range(1000)) + "]}",
    "true for a latitude": GOOD.replace('"lat": ', '"lat": true, "was": '),
    "nothing": "",
    "null": "null",
}


@pytest.mark.parametrize("name", BODIES)
def test_no_body_breaks_the_server(client: TestClient, session: Session, name: str) -> None:
    headers = make.bearer(make.citizen(session)) | make.key() | {"Content-Type": "application/json"}
    answer = client.post("/v1/reports", content=BODIES[name].encode(), headers=headers)
    assert answer.status_code in (400, 413, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("hostile", ["\x00", "\ud800", "a\udfffb"])
def test_no_text_of_staff_breaks_the_server(client: TestClient, session: Session, hostile: str) -> None:
    dispatcher = make.staff(session, "dispatcher")
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    text = {"reason": hostile}
    moves = {
        "assign": {"unit": HOME, "note": hostile},
        "return": text,
        "transfer": text | {"unit": hostile},
        "message": {"text": hostile},
        "resolve": {"outcome": "fixed", "note": hostile},
        "reject": {"code": hostile, "explanation": hostile},
        "reopen": text,
        "publish": {"description": hostile},
        "hide": text,
        "unhide": text,
        "identity": {"purpose": hostile},
    }
    tag = client.get(f"/v1/cases/{case_id}", headers=make.bearer(dispatcher)).headers["etag"]
    for verb, body in moves.items():
        headers = make.bearer(dispatcher) | {"If-Match": tag, "Content-Type": "application/json"}
        answer = client.post(f"/v1/cases/{case_id}/{verb}", content=json.dumps(body).encode(), headers=headers)
        assert answer.status_code == 422, f"{verb}: {answer.text}"


@pytest.mark.parametrize("blank", ["\u200b", "\u200b\u2060\ufeff", "\u202e", " \u200d \u00ad "])
def test_a_text_of_which_nothing_can_be_seen_is_no_text(client: TestClient, session: Session, blank: str) -> None:
    assert clean(blank) == ""
    body = make.report_body(description=blank)
    answer = client.post("/v1/reports", json=body, headers=make.bearer(make.citizen(session)) | make.key())
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/description")


def test_letters_that_need_invisible_ones_keep_them() -> None:
    assert clean(" 👩‍🔧 sửa đèn\u200b ") == "👩‍🔧 sửa đèn\u200b"


def test_a_blank_name_is_no_name(client: TestClient, session: Session) -> None:
    body = {"email": "a@example.vn", "password": "x" * 10, "name": " ", "grants": [{"role": "auditor"}]}
    headers = make.bearer(make.staff(session, "administrator")) | make.key()
    assert client.post("/v1/staff", json=body, headers=headers).status_code == 422


def test_no_answer_points_where_the_host_header_says(client: TestClient) -> None:
    answer = client.get("/v1/reports/", headers={"Host": "evil.example"}, follow_redirects=False)
    assert answer.status_code == 404
    assert "location" not in answer.headers


@pytest.mark.parametrize("lat", [1e308, -1e308, 5e-324, 90.0, -90.0, 90.1, 1e10, -0.0])
@pytest.mark.parametrize("lon", [1e308, -1e308, 180.0, -180.0, 180.1, 5e-324])
def test_no_place_breaks_the_server(client: TestClient, session: Session, lat: float, lon: float) -> None:
    headers = make.bearer(make.citizen(session))
    for accuracy in (0, 1e5):
        body = make.report_body(location={"lat": lat, "lon": lon, "accuracy_m": accuracy})
        answer = client.post("/v1/reports", json=body, headers=headers | make.key())
        assert answer.status_code == 422, answer.text
        assert answer.json()["code"] in {"location_out_of_range", "location_swapped", "location_outside"}
        assert client.get(f"/v1/units/at?lat={lat}&lon={lon}&accuracy_m={accuracy}").status_code == 422
