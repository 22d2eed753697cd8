"""The whole road on real parts: real processes, real photos, real polygons, nothing but HTTP in between."""

import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import shapely
from PIL import Image

from app.core import clock, db
from app.embedded import Database
from app.identity.actions import create_staff, hash_password
from app.identity.policy import Grant
from app.identity.rules import Role
from app.surveys.actions import import_boundaries
from tests.running import Mark, Running, wait_for
from tests.support import make

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

REQUEST_ID = "phone-0001-abcd"
PASSWORD = "một mật khẩu đủ dài"
WARD, TRUSTED, DEPARTMENTS = "Phường Phan Đình Phùng", "o_ga", "khoi_bui_mui"
STAFF = [("dispatcher", None), ("administrator", None), ("officer", WARD), ("officer", "so_nong_nghiep_va_moi_truong")]


@dataclass(frozen=True)
class Places:
    """Points of the real province: inside the ward, and on its border with a neighbour."""

    inside: tuple[float, float]
    border: tuple[float, float]
    neighbour: str
    code: str


@pytest.fixture(scope="module")
def places(real_data: Path) -> Places:
    features = json.loads((real_data / "thai_nguyen_communes_2025.geojson").read_text())["features"]
    areas = {each["properties"]["code"]: shapely.geometry.shape(each["geometry"]) for each in features}
    names = {each["properties"]["name"]: each["properties"]["code"] for each in features}
    ward = areas[names[WARD]]
    neighbour, shared = max(
        ((code, ward.boundary.intersection(area.boundary)) for code, area in areas.items() if code != names[WARD]),
        key=lambda pair: pair[1].length,
    )
    middle = shapely.line_merge(shared).interpolate(0.5, normalized=True)
    inside = ward.representative_point()
    return Places((inside.y, inside.x), (middle.y, middle.x), neighbour, names[WARD])


@dataclass
class Town:
    """The running product and its people."""

    http: httpx2.Client
    var: Path
    places: Places

    def code_sent_to(self, phone: str) -> str:
        """The one-time code, read where the console provider writes."""
        outbox = self.var / "outbox.jsonl"

        def found() -> list[str]:
            lines = outbox.read_text().splitlines() if outbox.exists() else []
            return [message["code"] for message in map(json.loads, lines) if message["to"] == phone]

        wait_for(found, f"a code for {phone}")
        return found()[-1]

    def citizen(self, phone: str) -> dict[str, str]:
        assert self.http.post("/v1/auth/codes", json={"phone": phone}).status_code == 202
        body = {"phone": phone, "code": self.code_sent_to(phone), "consent_version": "2026-01"}
        answer = self.http.post("/v1/auth/sessions", json=body)
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def staff(self, role: str, unit: str | None = None) -> dict[str, str]:
        email = f"{role}.{STAFF.index((role, unit))}@example.vn"
        answer = self.http.post("/v1/auth/staff-sessions", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def upload(self, who: dict[str, str], photo: Path) -> str:
        with photo.open("rb") as file:
            answer = self.http.post("/v1/media", files={"file": (photo.name, file)}, headers=who | make.key())
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def send(self, who: dict[str, str], **body: Any) -> dict[str, Any]:
        headers = who | make.key() | {"X-Request-Id": REQUEST_ID}
        answer = self.http.post("/v1/reports", json=make.report_body(**body), headers=headers)
        assert answer.status_code == 201, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt

    def until(self, who: dict[str, str], report_id: str, status: str) -> dict[str, Any]:
        """The author's view once the report stands where it should."""

        def shown() -> dict[str, Any]:
            view: dict[str, Any] = self.http.get(f"/v1/reports/{report_id}", headers=who).json()
            return view

        wait_for(lambda: shown()["status"] == status, f"{report_id} {status}")
        return shown()

    def move(self, who: dict[str, str], case_id: str, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        tag = self.http.get(f"/v1/cases/{case_id}", headers=who).headers["etag"]
        answer = self.http.post(f"/v1/cases/{case_id}/{verb}", json=body, headers=who | {"If-Match": tag})
        assert answer.status_code == 200, answer.text
        case: dict[str, Any] = answer.json()
        return case


@pytest.fixture(scope="module")
def town(
    committed_together: Database, tmp_path_factory: pytest.TempPathFactory, real_data: Path, places: Places
) -> Iterator[Town]:
    secret = hash_password(PASSWORD)
    with db.transaction() as session:
        import_boundaries(
            session,
            real_data / "thai_nguyen_communes_2025.geojson",
            effective_from=date(2025, 7, 1),
            source="thanglequoc/vietnamese-provinces-database",
            licence="MIT",
        )
        for number, (role, unit) in enumerate(STAFF):
            code = places.code if unit == WARD else unit
            create_staff(
                session,
                email=f"{role}.{number}@example.vn",
                password_hash=secret,
                name="Cán bộ",
                grants=[Grant(Role(role), make.unit_id(session, code) if code else None)],
                actor_id=None,
            )
    place = tmp_path_factory.mktemp("road")
    mark = Mark(place)
    running = Running(
        mark,
        DATABASE_URL=committed_together.app_url,
        OWNER_DATABASE_URL=committed_together.owner_url,
        PHANANH_LOG_LEVEL="INFO",
    )
    try:
        with httpx2.Client(base_url=f"http://{running.address()}", timeout=20, follow_redirects=True) as client:
            yield Town(client, place / "var", places)
    finally:
        running.process.terminate()
        running.end(150)


def test_the_whole_road(town: Town, real_data: Path) -> None:
    citizen = town.citizen("0912345678")
    photos = [town.upload(citizen, real_data / "photos" / name) for name in ("IMG_5195.HEIC", "landscape_6.jpg")]
    lat, lon = town.places.inside
    location = {"lat": lat, "lon": lon, "accuracy_m": 5}
    receipt = town.send(citizen, category=TRUSTED, location=location, media_ids=photos)

    # Routed to the ward that holds the point; a department's category goes to the department.
    shown = town.until(citizen, receipt["id"], "assigned")
    assert (shown["unit"]["name"], shown["commune"]["code"]) == (WARD, town.places.code)
    other = town.send(citizen, category=DEPARTMENTS, location=location)
    assert town.until(citizen, other["id"], "assigned")["unit"]["code"] == "so_nong_nghiep_va_moi_truong"

    # The officer sees it in the worklist, under a pseudonym, with the pictures' own places disagreeing.
    officer = town.staff("officer", WARD)
    rows = town.http.get("/v1/cases?queue=worklist", headers=officer).json()["items"]
    case_id = next(row["id"] for row in rows if row["reference"] == receipt["reference"])
    wait_for(
        lambda: (
            {photo["state"] for photo in town.http.get(f"/v1/cases/{case_id}", headers=officer).json()["photos"]}
            == {"processed"}
        ),
        "photos processed",
    )
    case = town.move(officer, case_id, "accept")
    assert case["citizen"].startswith("Công dân")
    assert max(photo["hint_distance_m"] or 0 for photo in case["photos"]) > 500
    town.move(officer, case_id, "start")
    after = town.upload(officer, real_data / "photos" / "portrait_3.jpg")
    town.move(officer, case_id, "resolve", {"outcome": "fixed", "note": "Đã vá ổ gà.", "media_ids": [after]})

    # Nothing is public until a dispatcher says so; then the public sees pictures without a trace of the phone.
    assert town.http.get("/v1/reports").json()["items"] == []
    dispatcher = town.staff("dispatcher")
    town.move(dispatcher, case_id, "publish", {})
    published = town.http.get("/v1/reports").json()["items"]
    assert [item["reference"] for item in published] == [receipt["reference"]]
    assert set(published[0]["media"]) == set(photos)
    for media_id in photos:
        for size, side in (("large", 1600), ("small", 320)):
            picture = town.http.get(f"/v1/media/{media_id}/{size}")
            assert (picture.status_code, picture.headers["content-type"]) == (200, "image/webp")
            opened = Image.open(io.BytesIO(picture.content))
            assert (opened.format, max(opened.size) <= side) == ("WEBP", True)
            assert dict(opened.getexif()) == {}
            assert b"Exif" not in picture.content
            assert b"GPS" not in picture.content
    # Hidden again, every address of it is gone, the picture's too.
    address = str(town.http.get(f"/v1/media/{photos[0]}/large").url)
    assert town.http.get(address).status_code == 200
    town.move(dispatcher, case_id, "hide", {"reason": "Lộ biển số xe"})
    assert town.http.get(address).status_code == 404
    assert town.http.get(f"/v1/media/{photos[0]}/small").status_code == 404

    # The citizen confirms and rates; the board counts both reports and explains what it counted.
    for verb, body in (("confirm", None), ("rate", {"rating": "satisfied"})):
        answer = town.http.post(f"/v1/reports/{receipt['id']}/{verb}", json=body, headers=citizen | make.key())
        assert answer.status_code == 200, answer.text
    today = clock.local_day(clock.now())
    period = {"from": str(today - timedelta(days=1)), "to": str(today + timedelta(days=1))}
    board = town.http.get("/v1/kpi/handling", params=period, headers=town.staff("administrator")).json()
    total = board["total"]
    assert total["received"] == 2
    parts = ("verifying", "withdrawn", "rejected", "merged", "within_competence")
    assert total["received"] == sum(total[part] for part in parts)
    assert total["handled_on_time"] == 1
    # All API processes answer for what any of them counted; one request id leads from the phone to the worker.
    metrics = town.http.get("/metrics").text
    assert 'http_requests_total{method="POST",route="/v1/reports",status="201"} 2.0' in metrics
    assert 'owed_rows{kind="routing"} 0.0' in metrics
    logs = "".join(log.read_text() for log in (town.var / "log").glob("worker-routing*.log"))
    assert f'"request_id": "{REQUEST_ID}"' in logs
    # The citizen was told at each step.
    outbox = (town.var / "outbox.jsonl").read_text()
    assert receipt["reference"] in outbox
    assert "ổ gà" not in outbox


def test_on_the_border_both_are_named(town: Town) -> None:
    citizen = town.citizen("0987654321")
    lat, lon = town.places.border
    receipt = town.send(citizen, category=TRUSTED, location={"lat": lat, "lon": lon, "accuracy_m": 30})
    town.until(citizen, receipt["id"], "assigned")
    dispatcher = town.staff("dispatcher")
    rows = town.http.get("/v1/cases?queue=worklist", headers=dispatcher).json()["items"]
    case_id = next(row["id"] for row in rows if row["reference"] == receipt["reference"])
    candidates = {
        unit["code"] for unit in town.http.get(f"/v1/cases/{case_id}", headers=dispatcher).json()["candidates"]
    }
    assert {town.places.code, town.places.neighbour} <= candidates
    at = town.http.get("/v1/units/at", params={"lat": lat, "lon": lon, "accuracy_m": 30}).json()
    assert {town.places.code, town.places.neighbour} <= {unit["code"] for unit in at["candidates"]}


def test_the_same_report_over_eight_connections_is_one(town: Town) -> None:
    citizen, key = town.citizen("0901234567"), make.key()
    lat, lon = town.places.inside
    body = make.report_body(TRUSTED, location={"lat": lat, "lon": lon})
    for keys in ([key] * 8, [make.key() for _ in range(8)]):
        body |= {"id": str(uuid4())}
        answers: list[httpx2.Response] = []
        gate = threading.Barrier(8)

        def phone(keyed: dict[str, str], body: dict[str, Any] = body, gate: Any = gate, into: Any = answers) -> None:
            with httpx2.Client(base_url=town.http.base_url, timeout=20) as own:
                gate.wait()
                while (answer := own.post("/v1/reports", json=body, headers=citizen | keyed)).status_code == 409:
                    assert answer.json()["retry"] == "after"
                    time.sleep(0.1)
                into.append(answer)

        threads = [threading.Thread(target=phone, args=(keyed,)) for keyed in keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} <= {200, 201}
        assert len({answer.json()["reference"] for answer in answers}) == 1
    mine = town.http.get("/v1/me/reports", headers=citizen).json()["items"]
    assert len(mine) == 2
