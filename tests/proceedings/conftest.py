"""A case that a commune's officer has accepted, and the people around it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.cases.models import Case, CaseEvent, CaseHop
from app.core.db import Session
from app.deadlines.models import SlaClock
from app.identity.policy import Viewer
from app.notifications.models import Message
from app.routing.actions import assign_owed
from tests.media import pictures
from tests.support import make, places
from tools import verify

HOME = places.codes()[0]
APPROVED = "lan_chiem_dat_cong"  # its results want a lead's word


@dataclass
class Scene:
    """One case and everybody who has to do with it."""

    session: Session
    client: TestClient
    citizen: Viewer
    officer: Viewer
    lead: Viewer
    leader: Viewer
    dispatcher: Viewer
    case_id: UUID

    def move(self, viewer: Viewer, verb: str, body: dict[str, Any] | None = None, status: int = 200) -> dict[str, Any]:
        """A staff move over HTTP, which is answered with `status`."""
        answer = make.move(self.client, viewer, self.case_id, verb, body)
        assert answer.status_code == status, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def reply(self, verb: str, body: dict[str, Any] | None = None, status: int = 200) -> dict[str, Any]:
        """Something the citizen does about the own report."""
        url = f"/v1/reports/{make.report_of(self.session, self.case_id)}/{verb}"
        answer = self.client.post(url, json=body, headers=make.bearer(self.citizen) | make.key())
        assert answer.status_code == status, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def report(self, viewer: Viewer | None = None) -> dict[str, Any]:
        """What the citizen, or somebody else, reads."""
        url = f"/v1/reports/{make.report_of(self.session, self.case_id)}"
        answer = self.client.get(url, headers=make.bearer(viewer or self.citizen))
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def photo(self, viewer: Viewer) -> str:
        """A photo just sent; its id."""
        files = {"file": ("a.jpg", pictures.jpeg(), "image/jpeg")}
        answer = self.client.post("/v1/media", files=files, headers=make.bearer(viewer) | make.key())
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def case(self) -> Case:
        """The row as it now stands."""
        return self.session.get_one(Case, self.case_id, populate_existing=True)

    def clocks(self, kind: str) -> list[SlaClock]:
        """The runs of one clock, oldest first."""
        rows = select(SlaClock).where(SlaClock.case_id == self.case_id, SlaClock.kind == kind)
        found = self.session.exec(
            rows.order_by(col(SlaClock.started_seq)).execution_options(populate_existing=True)
        ).all()
        return list(found)

    def hop(self) -> CaseHop:
        """The newest stay."""
        rows = select(CaseHop).where(CaseHop.case_id == self.case_id).order_by(col(CaseHop.started_seq).desc())
        return self.session.exec(rows.limit(1).execution_options(populate_existing=True)).one()

    def verbs(self) -> list[str]:
        """What has happened."""
        rows = select(CaseEvent.verb).where(CaseEvent.case_id == self.case_id).order_by(col(CaseEvent.seq))
        return list(self.session.exec(rows))

    def templates(self) -> list[str]:
        """What the citizen was told, in order."""
        rows = select(Message.template).where(Message.case_id == self.case_id).order_by(col(Message.id))
        return list(self.session.exec(rows))

    def is_sound(self) -> None:
        """Everything stored about the case is what its history says."""
        self.session.flush()
        assert verify.problems(self.session) == []


def staged(session: Session, client: TestClient, category: str = make.TRUSTED_COMMUNE, **body: Any) -> Scene:
    """A case at HOME, not accepted yet."""
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME, category=category, **body)
    at_home = {role: make.staff(session, role, HOME) for role in ("officer", "lead")}
    leader, dispatcher = make.staff(session, "leader"), make.staff(session, "dispatcher")
    scene = Scene(session, client, citizen, at_home["officer"], at_home["lead"], leader, dispatcher, case_id)
    if scene.case().state == "verifying":
        scene.move(dispatcher, "verify")
        assign_owed()
    return scene


@pytest.fixture
def scene(session: Session, client: TestClient) -> Scene:
    found = staged(session, client)
    found.move(found.officer, "accept")
    return found


@pytest.fixture
def approved(session: Session, client: TestClient) -> Scene:
    """The same of a category whose results a lead approves."""
    found = staged(session, client, APPROVED)
    found.move(found.officer, "accept")
    return found
