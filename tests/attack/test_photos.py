"""One photo, one place: named twice, or claimed twice at the same moment."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.cases.models import Case
from app.core.db import Session, transaction
from app.embedded import Database
from app.identity.policy import Viewer
from app.main import app
from app.reports.models import ReportMedia
from app.routing.actions import assign_owed
from tests.media import pictures
from tests.support import make, places

HOME = places.codes()[0]


def photo(client: TestClient, viewer: Viewer) -> str:
    files = {"file": ("a.jpg", pictures.jpeg(), "image/jpeg")}
    answer = client.post("/v1/media", files=files, headers=make.bearer(viewer) | make.key())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def at_once(*acts: Callable[[], Any]) -> list[tuple[int, str | None]]:
    """Status and code of each, all begun at the same moment."""
    answers: list[Any] = [None] * len(acts)
    barrier = threading.Barrier(len(acts))

    def run(place: int) -> None:
        barrier.wait()
        answers[place] = acts[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted((answer.status_code, answer.json().get("code")) for answer in answers)


def test_a_photo_named_twice_is_refused_everywhere(client: TestClient, session: Session) -> None:
    citizen, officer = make.citizen(session), make.staff(session, "officer", HOME)
    case_id = make.routed(session, client, citizen, within=HOME)
    twice = [photo(client, citizen)] * 2
    url = f"/v1/reports/{make.report_of(session, case_id)}/information"
    answer = client.post(url, json={"media_ids": twice}, headers=make.bearer(citizen) | make.key())
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "media_repeated")
    make.move(client, officer, case_id, "accept")
    body = {"outcome": "fixed", "note": "Đã vá.", "media_ids": [photo(client, officer)] * 2}
    answer = make.move(client, officer, case_id, "resolve", body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "media_repeated")
    answer = make.move(client, make.staff(session, "dispatcher"), case_id, "publish", {"media_ids": twice})
    assert answer.status_code == 422


@pytest.mark.timeout(120)
def test_a_photo_claimed_at_the_same_moment_belongs_to_one(committed: Database) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        with transaction() as session:
            citizen, officer = make.citizen(session), make.staff(session, "officer", HOME)
        headers = make.bearer(citizen)
        for _ in range(3):
            media_id = photo(client, citizen)
            bodies = [make.report_body(within=HOME, media_ids=[media_id]) for _ in range(4)]
            found = at_once(
                *(
                    lambda body=body: client.post("/v1/reports", json=body, headers=headers | make.key())
                    for body in bodies
                )
            )
            assert found == [(201, None)] + [(422, "media_in_use")] * 3
            with transaction() as session:
                kept = select(ReportMedia.report_id).where(col(ReportMedia.media_id) == media_id)
                assert len(session.exec(kept).all()) == 1
        while assign_owed():
            pass
        with transaction() as session:
            cases = session.exec(select(Case.id).where(Case.state == "assigned").limit(2)).all()
        for case_id in cases:
            assert make.move(client, officer, case_id, "accept").status_code == 200
        body = {"outcome": "fixed", "note": "Xong.", "media_ids": [photo(client, officer)]}
        found = at_once(
            *(lambda case_id=case_id: make.move(client, officer, case_id, "resolve", body) for case_id in cases)
        )
        assert found == [(200, None), (422, "media_in_use")]
