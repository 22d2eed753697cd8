"""Units that help: what they see and may do while they do, and that it ends at once. Notes stay among staff."""

from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlmodel import col, select

from app.cases.models import Case, CaseCooperation, CaseNotePhoto, CaseText
from app.cases.queries import may_see_photo
from app.core.db import Session
from app.identity.policy import PUBLIC, Viewer
from app.media.models import Media
from tests.cases.test_journey import assert_sound
from tests.cases.test_worklist import listed
from tests.routing.test_api import entered
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]
HELP = {"unit": ELSEWHERE, "reason": "Cùng tuyến đường."}


@pytest.fixture
def case_id(client: TestClient, session: Session) -> UUID:
    return make.routed(session, client, make.citizen(session), within=HOME, allow_call=True)


@pytest.fixture
def lead(session: Session) -> Viewer:
    return make.staff(session, "lead", HOME)


@pytest.fixture
def helper(session: Session) -> Viewer:
    return make.staff(session, "officer", ELSEWHERE)


def seen(client: TestClient, who: Viewer, case_id: UUID) -> Any:
    return client.get(f"/v1/cases/{case_id}", headers=make.bearer(who))


def test_a_helper_reads_and_notes_and_nothing_else(
    client: TestClient, session: Session, case_id: UUID, lead: Viewer, helper: Viewer
) -> None:
    before = seen(client, lead, case_id).json()
    assert seen(client, helper, case_id).status_code == 404
    assert make.move(client, lead, case_id, "involve", HELP).status_code == 200
    shown = seen(client, helper, case_id).json()
    assert shown["citizen"].startswith("Công dân")
    assert shown["allowed_actions"] == ["note"]
    assert [unit["code"] for unit in shown["helpers"]] == [ELSEWHERE]
    assert (shown["clocks"], len(shown["hops"])) == (before["clocks"], 1)
    assert make.move(client, helper, case_id, "note", {"text": "Đã kiểm tra cống bên này."}).status_code == 200
    for verb, body in {
        "accept": None,
        "resolve": {"outcome": "fixed", "note": "Xong."},
        "message": {"text": "x"},
    }.items():
        assert make.move(client, helper, case_id, verb, body).status_code == 409, verb
    phone = client.post(f"/v1/cases/{case_id}/identity", json={"purpose": "call"}, headers=make.bearer(helper))
    assert phone.status_code == 403
    assert listed(client, helper) == []
    assert listed(client, helper, "&helping=true") == [str(case_id)]
    assert listed(client, lead, "&helping=true") == []
    assert_sound(session, case_id)


def test_a_unit_released_loses_sight_at_once(
    client: TestClient, session: Session, case_id: UUID, lead: Viewer, helper: Viewer
) -> None:
    make.move(client, lead, case_id, "involve", HELP)
    assert make.move(client, lead, case_id, "involve", HELP).json()["code"] == "helps_already"
    assert make.move(client, lead, case_id, "involve", HELP | {"unit": HOME}).json()["code"] == "holds_it_already"
    assert make.move(client, lead, case_id, "release", HELP).status_code == 200
    assert seen(client, helper, case_id).status_code == 404
    assert listed(client, helper, "&helping=true") == []
    assert make.move(client, lead, case_id, "release", HELP).json()["code"] == "does_not_help"
    make.move(client, lead, case_id, "involve", HELP)
    session.expire_all()
    rows = session.exec(select(CaseCooperation).order_by(col(CaseCooperation.since_seq))).all()
    assert [(row.by_id, row.until is None, row.until_seq) for row in rows] == [
        (lead.id, False, 4),
        (lead.id, True, None),
    ]


@pytest.mark.parametrize(
    ("verb", "body", "helpers"),
    [
        ("return", {}, []),  # nobody holds it whom they would help
        ("transfer", {"unit": ELSEWHERE}, []),  # who holds it does not help itself
        ("transfer", {"unit": places.codes()[30]}, [ELSEWHERE]),
    ],
)
def test_help_follows_the_case_or_ends_with_the_stay(
    client: TestClient, session: Session, case_id: UUID, lead: Viewer, verb: str, body: Any, helpers: list[str]
) -> None:
    dispatcher = make.staff(session, "dispatcher")
    make.move(client, dispatcher, case_id, "involve", HELP)
    who = lead if verb == "return" else dispatcher
    answer = make.move(client, who, case_id, verb, body | {"reason": "Không thuộc xã."})
    assert answer.status_code == 200, answer.text
    assert [unit["code"] for unit in seen(client, dispatcher, case_id).json()["helpers"]] == helpers
    running = session.exec(select(CaseCooperation.unit_id).where(col(CaseCooperation.until).is_(None))).all()
    assert list(running) == session.get_one(Case, case_id, populate_existing=True).helper_ids


def test_a_note_is_for_staff_alone(client: TestClient, session: Session) -> None:
    citizen, officer = make.citizen(session), make.staff(session, "officer", HOME)
    case_id = make.routed(session, client, citizen, within=HOME)
    dispatcher = make.staff(session, "dispatcher")
    picture = BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "JPEG")
    sent = client.post(
        "/v1/media", files={"file": ("a.jpg", picture.getvalue())}, headers=make.bearer(officer) | make.key()
    )
    assert sent.status_code == 201, sent.text
    photo = sent.json()["id"]
    answer = make.move(client, officer, case_id, "note", {"text": "Gọi điện lực trước.", "media_ids": [photo]})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["events"][-1]["text"], answer.json()["photos"][-1]["kind"]) == ("Gọi điện lực trước.", "note")
    assert make.move(client, dispatcher, case_id, "publish", {}).status_code == 200
    report_id = make.report_of(session, case_id)
    for headers in (make.bearer(citizen), {}):
        told = client.get(f"/v1/reports/{report_id}", headers=headers)
        assert told.status_code == 200
        assert "điện lực" not in told.text
        assert photo not in told.text
    media = session.get_one(Media, UUID(photo))
    outsider = make.staff(session, "officer", ELSEWHERE)
    may_see = [may_see_photo(session, who, media) for who in (PUBLIC, citizen, outsider, dispatcher, officer)]
    assert may_see == [False, False, False, True, True]
    again = make.move(client, officer, case_id, "note", {"text": "Lần nữa.", "media_ids": [photo]})
    assert again.json()["code"] == "media_in_use"
    assert session.exec(select(CaseNotePhoto.case_id)).all() == [case_id]
    session.delete(session.get_one(CaseText, (case_id, answer.json()["version"])))
    session.flush()
    erased = [event for event in seen(client, officer, case_id).json()["events"] if event["verb"] == "note"]
    assert [(event["text"], event["erased"]) for event in erased] == [(None, True)]
    assert_sound(session, case_id)


def test_a_routing_rule_puts_the_units_it_names_on_the_case(client: TestClient, session: Session) -> None:
    entered(
        client,
        make.staff(session, "administrator"),
        category=make.TRUSTED_COMMUNE,
        unit=ELSEWHERE,
        area={"kind": "commune", "code": HOME},
        cooperating=["cong_an_tinh", HOME],
    )
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    shown = seen(client, make.staff(session, "officer", HOME), case_id).json()
    assert {unit["code"] for unit in shown["helpers"]} == {"cong_an_tinh", HOME}
    assert shown["unit"]["code"] == ELSEWHERE
    assert [(event["verb"], event["actor_kind"]) for event in shown["events"][1:]] == [
        ("assign", "system"),
        ("involve", "system"),
        ("involve", "system"),
    ]
    assert session.exec(select(CaseCooperation.by_id)).all() == [None, None]
    assert_sound(session, case_id)
