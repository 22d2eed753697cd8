"""The slip of a report: for its author, the same every time, verified without us."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app.core.config import ROOT
from app.core.db import Session
from app.identity.policy import Viewer
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]


@pytest.fixture
def citizen(session: Session) -> Viewer:
    return make.citizen(session)


@pytest.fixture
def officer(session: Session) -> Viewer:
    return make.staff(session, "officer", HOME)


@pytest.fixture
def case_id(client: TestClient, session: Session, citizen: Viewer) -> UUID:
    return make.routed(session, client, citizen, within=HOME)


@pytest.fixture
def path(session: Session, case_id: UUID) -> str:
    return f"/v1/reports/{make.report_of(session, case_id)}/slip"


def verify(client: TestClient, slip: str, place: Path) -> "subprocess.CompletedProcess[str]":
    """The stand-alone verifier, with the keys as published, away from our code."""
    (place / "keys.json").write_text(client.get("/v1/seals/keys").text)
    return subprocess.run(
        [sys.executable, "-I", str(ROOT / "tools/verify_slip.py"), "--keys", "keys.json", slip],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )


def test_accepting_promises_and_anybody_can_verify_it(
    client: TestClient, citizen: Viewer, officer: Viewer, case_id: UUID, path: str, tmp_path: Path
) -> None:
    headers = make.bearer(citizen)
    early = client.get(path, headers=headers)
    assert (early.status_code, early.json()["code"]) == (409, "no_promise_yet")
    accepted = make.move(client, officer, case_id, "accept").json()
    shown = client.get(path, headers=headers)
    slip = shown.json()
    assert slip["due_at"] == accepted["due_at"]
    assert slip["unit"]["code"] == HOME
    assert (slip["number"], slip["numbers"], slip["superseded_by"]) == (3, [3], None)
    assert slip["unit"]["name"] in slip["text"]
    assert "hẹn" in slip["text"]
    assert "promises" in client.get(path, headers=headers | {"Accept-Language": "en"}).json()["text"]
    checked = verify(client, slip["slip"], tmp_path)
    assert checked.returncode == 0, checked.stderr
    for said in ("genuine", slip["reference"], HOME, "slip 3", "+07:00"):
        assert said in checked.stdout
    forged = verify(client, slip["slip"][:-20] + "A" * 20, tmp_path)
    assert (forged.returncode, forged.stdout.split(":")[0]) == (1, "not genuine")
    # The same slip for ever, whatever happens that promises nothing else.
    make.move(client, officer, case_id, "start")
    assert client.get(path, headers=headers).json() == slip
    assert client.get(path, headers=headers | {"If-None-Match": shown.headers["etag"]}).status_code == 304


def test_a_new_deadline_is_a_new_slip_and_the_old_one_stays_what_was_promised(
    client: TestClient, session: Session, citizen: Viewer, officer: Viewer, case_id: UUID, path: str, tmp_path: Path
) -> None:
    make.move(client, officer, case_id, "accept")
    headers = make.bearer(citizen)
    before = client.get(path, headers=headers).json()
    dispatcher = make.staff(session, "dispatcher")
    moved = make.move(client, dispatcher, case_id, "urgency", {"urgency": "urgent", "reason": "Có người ngã."}).json()
    after = client.get(path, headers=headers).json()
    assert (after["number"], after["numbers"]) == (4, [3, 4])
    assert after["due_at"] == moved["due_at"] < before["due_at"]
    old = client.get(f"{path}?number=3", headers=headers).json()
    assert (old["slip"], old["due_at"], old["superseded_by"]) == (before["slip"], before["due_at"], 4)
    for slip in (before, after):
        assert verify(client, slip["slip"], tmp_path).returncode == 0
    assert client.get(f"{path}?number=2", headers=headers).status_code == 404
    # The unit that gets it next promises for itself.
    make.move(client, dispatcher, case_id, "transfer", {"unit": ELSEWHERE, "reason": "Thuộc xã bên."})
    assert client.get(path, headers=headers).json()["number"] == 4
    make.move(client, make.staff(session, "officer", ELSEWHERE), case_id, "accept")
    assert client.get(path, headers=headers).json()["unit"]["code"] == ELSEWHERE


def test_the_slip_is_its_authors_alone(
    client: TestClient, session: Session, officer: Viewer, case_id: UUID, path: str
) -> None:
    make.move(client, officer, case_id, "accept")
    make.move(client, make.staff(session, "dispatcher"), case_id, "publish", {})
    assert client.get(path).status_code == 401
    assert client.get(path, headers=make.bearer(make.citizen(session))).status_code == 404  # although it is public
    assert client.get(path, headers=make.bearer(officer)).status_code == 403


def test_a_slip_is_a_picture_too(
    client: TestClient, citizen: Viewer, officer: Viewer, case_id: UUID, path: str
) -> None:
    make.move(client, officer, case_id, "accept")
    png = client.get(f"{path}?format=png", headers=make.bearer(citizen))
    assert (png.headers["content-type"], png.content[:4]) == ("image/png", b"\x89PNG")
    svg = client.get(f"{path}?format=svg", headers=make.bearer(citizen))
    assert svg.headers["content-type"].startswith("image/svg+xml")
    assert b"<path" in svg.content
    assert png.headers["etag"] != svg.headers["etag"]
    assert client.get(f"{path}?format=gif", headers=make.bearer(citizen)).status_code == 422


def test_the_key_is_published_before_it_has_signed_a_seal(client: TestClient) -> None:
    (key,) = client.get("/v1/seals/keys").json()["items"]
    assert key["first_used_at"] is None
    assert json.dumps(key).count(key["id"]) == 1
