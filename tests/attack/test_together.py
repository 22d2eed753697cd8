"""Reports that arrive together are stored together: nobody pays for what somebody else sent."""

import threading
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.core.db import transaction
from app.embedded import Database
from app.identity.models import Account
from app.identity.policy import Viewer
from app.intake.actions import REPORTS_PER_HOUR
from app.main import app
from app.reports.models import Report
from tests.support import make

HONEST = 12
Request = tuple[Viewer, dict[str, Any], dict[str, str]]


def sent_together(client: TestClient, requests: list[Request]) -> list[Any]:
    answers: list[Any] = [None] * len(requests)
    barrier = threading.Barrier(len(requests))

    def send(place: int) -> None:
        viewer, body, key = requests[place]
        barrier.wait()
        answers[place] = client.post("/v1/reports", json=body, headers=make.bearer(viewer) | key)

    threads = [threading.Thread(target=send, args=(place,)) for place in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.timeout(120)
def test_a_hostile_report_spoils_no_others(committed: Database) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        with transaction() as session:
            honest = [make.citizen(session) for _ in range(HONEST)]
            blocked, busy, thief = (make.citizen(session) for _ in range(3))
            session.get_one(Account, blocked.id).status = "blocked"
        known = make.submit(client, honest[0])
        for _ in range(REPORTS_PER_HOUR.quota - 2):
            make.submit(client, busy)
        key = make.key()
        somewhere = {"lat": 1e308, "lon": -1e308, "accuracy_m": 1}
        hostile: list[tuple[Request, set[int]]] = [
            ((thief, make.report_body(category="\u0000"), make.key()), {422}),
            ((thief, make.report_body(location=somewhere), make.key()), {422}),
            ((thief, make.report_body(id=known["id"]), make.key()), {409}),
            ((blocked, make.report_body(), make.key()), {401}),
            # One key, three bodies: one of them is stored.
            *[((thief, make.report_body(), key), {201, 409, 422}) for _ in range(3)],
            # Two are left of the hour, five are tried.
            *[((busy, make.report_body(), make.key()), {201, 429}) for _ in range(5)],
        ]
        for _ in range(3):
            good: list[Request] = [(viewer, make.report_body(), make.key()) for viewer in honest]
            mixed = [pair for two in zip([(each, {201}) for each in good], hostile, strict=True) for pair in two]
            answers = sent_together(client, [request for request, _ in mixed])
            for answer, ((_, body, _), expected) in zip(answers, mixed, strict=True):
                assert answer.status_code in expected, f"{answer.text} to {body}"
                if answer.status_code == 201:
                    assert answer.json()["id"] == body["id"]
        with transaction() as session:
            stored = len(session.exec(select(Report.id).where(Report.account_id == busy.id)).all())
            # Two groups do not see one another: the limit is exact within each, and never far off.
            assert REPORTS_PER_HOUR.quota <= stored <= REPORTS_PER_HOUR.quota + 3
            assert len(session.exec(select(Report.id).where(Report.account_id == thief.id)).all()) == 1
            assert not session.exec(select(Report.id).where(Report.account_id == blocked.id)).all()
            mine = col(Report.account_id).in_([viewer.id for viewer in honest])
            assert len(session.exec(select(Report.id).where(mine)).all()) == 1 + 3 * HONEST


@pytest.mark.timeout(120)
def test_one_id_claimed_by_many_accounts_at_once_belongs_to_one(committed: Database) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        with transaction() as session:
            citizens = [make.citizen(session) for _ in range(8)]
        for _ in range(3):
            report_id = str(uuid4())
            requests = [(viewer, make.report_body(id=report_id), make.key()) for viewer in citizens]
            found = sorted(answer.status_code for answer in sent_together(client, requests))
            assert found == [201] + [409] * 7
