"""A lead's word on results: nothing of a proposal is seen before, and the time it takes is not the unit's."""

from datetime import timedelta

from sqlmodel import col, select

from app.cases.models import CaseEvent
from app.core import clock
from app.kpi.rules import facts
from tests.proceedings.conftest import Scene

RESULT = {
    "outcome": "fixed",
    "note": "Đã buộc tháo dỡ phần lấn chiếm.",
    "document": {"number": "12/QĐ-UBND", "issued_on": "2026-03-02"},
}


def test_a_result_waits_for_approval_and_counts_from_its_proposal(approved: Scene) -> None:
    refused = approved.move(approved.officer, "resolve", RESULT, 409)
    assert "propose" in refused["allowed_actions"]
    proposed = approved.move(approved.officer, "propose", RESULT)
    assert (proposed["state"], proposed["document"]["number"]) == ("pending_approval", "12/QĐ-UBND")
    hidden = approved.report()
    assert (hidden["status_text"], hidden["outcome"]) == ("đang xử lý", None)
    assert "tháo dỡ" not in str(hidden)
    proposed_at = approved.clocks("resolve")[0].stopped_at
    due_at = approved.case().due_at
    assert due_at is not None
    with clock.travelled(due_at + timedelta(days=3)):  # the lead was slow
        shown = approved.move(approved.lead, "approve")
    assert (shown["state"], shown["outcome"], shown["document"]["number"]) == ("resolved", "fixed", "12/QĐ-UBND")
    assert approved.report()["steps"][-1]["text"] == RESULT["note"]
    assert [(row.stopped_at, row.met) for row in approved.clocks("resolve")] == [(proposed_at, True)]
    assert [row.met for row in approved.clocks("approve")] == [False]
    events = approved.session.exec(
        select(CaseEvent).where(CaseEvent.case_id == approved.case_id).order_by(col(CaseEvent.seq))
    ).all()
    found = facts(events, due_at + timedelta(days=4))
    assert found is not None
    assert (found.standing.value, found.resolved_at) == ("handled_on_time", proposed_at)
    assert approved.templates()[-1] == "report_resolved"
    with clock.travelled(due_at + timedelta(days=4)):
        approved.is_sound()


def test_what_is_sent_back_runs_on_and_its_approval_took_none_of_its_time(approved: Scene) -> None:
    left_before = approved.case().due_at
    approved.move(approved.officer, "propose", RESULT)
    with clock.travelled(clock.now() + timedelta(days=2)):
        back = approved.move(approved.lead, "send-back", {"reason": "Chưa có ảnh sau xử lý."})
    assert back["state"] == "in_progress"
    (resolving,) = approved.clocks("resolve")
    assert resolving.stopped_at is None
    assert left_before is not None
    assert resolving.due_at > left_before
    assert approved.case().due_at == approved.case().act_by == approved.hop().due_at == resolving.due_at
    assert "Chưa có ảnh" not in str(approved.report())
    with clock.travelled(clock.now() + timedelta(days=3)):
        approved.move(approved.officer, "propose", RESULT | {"note": "Đã bổ sung ảnh."})
        approved.move(approved.lead, "approve")
        assert [step["text"] for step in approved.report()["steps"] if step["text"]] == ["Đã bổ sung ảnh."]
        assert len(approved.clocks("approve")) == 2
        approved.is_sound()


def test_a_lead_resolves_without_asking_anybody(approved: Scene) -> None:
    approved.move(approved.officer, "approve", status=409)
    assert approved.move(approved.lead, "resolve", RESULT)["state"] == "resolved"
    approved.is_sound()


def test_a_photo_of_a_proposal_is_not_the_citizens_before_it_is_approved(approved: Scene) -> None:
    photo = approved.photo(approved.officer)
    approved.move(approved.officer, "propose", RESULT | {"media_ids": [photo]})
    assert approved.report()["after_media"] == []
    approved.move(approved.dispatcher, "publish", {})
    assert approved.report(approved.leader)["after_media"] == []
    approved.move(approved.lead, "approve")
    assert approved.report()["after_media"] == [photo]
    approved.is_sound()


def test_a_proposed_plan_is_a_plan_once_approved(approved: Scene) -> None:
    until = clock.local_day(clock.now()) + timedelta(days=40)
    approved.move(approved.officer, "propose", {"outcome": "planned", "until": until.isoformat(), "note": "Chờ vốn."})
    assert approved.report()["planned_until"] is None
    approved.move(approved.lead, "approve")
    assert approved.report()["planned_until"] == until.isoformat()
    assert approved.templates()[-1] == "report_planned"
    approved.is_sound()
