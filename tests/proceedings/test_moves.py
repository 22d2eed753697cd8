"""Plans, extensions, directives, appeals, refusals proposed and texts redacted, over HTTP."""

from datetime import timedelta

from app.core import clock
from app.proceedings.actions import fall_due
from tests.proceedings.conftest import Scene
from tests.support import make

REASON = {"reason": "Chờ vật tư về."}


def test_a_plan_stays_visible_with_its_date_and_returns_on_it(scene: Scene) -> None:
    today = clock.local_day(clock.now())
    plan = {"outcome": "planned", "note": "Đưa vào kế hoạch vốn."}
    scene.move(scene.officer, "resolve", plan, 422)
    scene.move(scene.officer, "resolve", plan | {"until": today.isoformat()}, 422)
    until = today + timedelta(days=20)
    shown = scene.move(scene.officer, "resolve", plan | {"until": until.isoformat()})
    assert (shown["outcome"], shown["planned_until"]) == ("planned", until.isoformat())
    assert scene.report()["planned_until"] == until.isoformat()
    scene.session.commit()
    assert fall_due() == 0
    with clock.travelled(clock.now() + timedelta(days=21)):
        assert fall_due() == 1
        assert fall_due() == 0
        case = scene.case()
        assert (case.state, case.cycle, case.planned_until, case.outcome) == ("assigned", 2, None, None)
        scene.is_sound()
    assert [row.cycle for row in scene.clocks("resolve")] == [1, 2]


def test_a_lead_grants_working_days_up_to_the_cap(scene: Scene) -> None:
    before = scene.case().due_at
    assert before is not None
    scene.move(scene.officer, "extension", {"days": 3}, 422)
    asked = scene.move(scene.officer, "extension", REASON | {"days": 3})
    assert asked["extension_asked"]["code"] == "3"
    scene.move(scene.officer, "extension/grant", REASON, 409)
    scene.move(scene.lead, "extension/grant", REASON | {"days": 11}, 409)
    granted = scene.move(scene.lead, "extension/grant", REASON)
    assert (granted["extension_asked"], scene.templates()[-1]) == (None, "report_extended")
    (resolving,) = scene.clocks("resolve")
    assert resolving.due_at > before
    assert scene.case().due_at == scene.hop().due_at == resolving.due_at
    scene.move(scene.officer, "extension", REASON | {"days": 9})
    refused = scene.move(scene.lead, "extension/grant", REASON, 409)
    assert (refused["code"], refused["days_left"]) == ("extension_capped", 7)
    assert scene.move(scene.lead, "extension/deny", REASON)["extension_asked"] is None
    scene.is_sound()


def test_a_directive_has_its_own_deadline_and_leaves_the_state(scene: Scene) -> None:
    due_at = (clock.now() + timedelta(days=2)).replace(microsecond=0)
    scene.move(scene.leader, "directive", {"text": "Làm ngay.", "due_at": "2020-01-01T00:00:00Z"}, 422)
    scene.move(scene.officer, "directive", {"text": "Làm ngay.", "due_at": due_at.isoformat()}, 409)
    shown = scene.move(scene.leader, "directive", {"text": "Làm ngay.", "due_at": due_at.isoformat()})
    assert (shown["state"], shown["directive"]["text"]) == ("accepted", "Làm ngay.")
    assert [row.due_at for row in scene.clocks("directive")] == [due_at]
    assert "Làm ngay" not in str(scene.report())
    done = scene.move(scene.lead, "directive/report", {"text": "Đã cử người."})
    assert (done["directive"], scene.clocks("directive")[0].met) == (None, True)
    scene.move(scene.leader, "directive", {"text": "Làm tiếp.", "due_at": due_at.isoformat()})
    scene.move(scene.leader, "directive/lift", REASON)
    scene.is_sound()


def test_a_refusal_is_proposed_decided_and_appealed_once(scene: Scene) -> None:
    proposed = scene.move(scene.lead, "rejection", {"code": "spam"})
    assert proposed["rejection_proposed"]["code"] == "spam"
    assert scene.move(scene.dispatcher, "rejection/decline", REASON)["rejection_proposed"] is None
    scene.move(scene.lead, "rejection", {"code": "spam"})
    scene.move(scene.dispatcher, "reject", {"code": "spam"})
    assert scene.report()["allowed_actions"] == ["appeal"]
    shown = scene.reply("appeal", {"reason": "Đây là việc thật."})
    assert (shown["status"], shown["rejection"]) == ("verifying", None)
    assert make.move(scene.client, scene.officer, scene.case_id, "accept").status_code == 404
    scene.is_sound()
    scene.move(scene.dispatcher, "reject", {"code": "spam"})
    scene.reply("appeal", {"reason": "Một lần nữa."}, 409)
    scene.is_sound()


def test_a_redaction_changes_what_the_public_reads_and_not_what_was_said(scene: Scene) -> None:
    scene.move(scene.dispatcher, "redact", REASON | {"description": "Hố ga."}, 409)
    scene.move(scene.dispatcher, "publish", {})
    scene.move(scene.dispatcher, "redact", REASON | {"description": "Hố ga mất nắp."})
    assert scene.report(scene.leader)["description"] == "Hố ga mất nắp."
    assert scene.report()["description"].startswith("Hố ga mất nắp trước cổng trường")
    scene.is_sound()


def test_a_stale_second_officer_is_refused_with_the_fresh_state(scene: Scene) -> None:
    url, tag = f"/v1/cases/{scene.case_id}", {"If-Match": f'"{scene.case().version}"'}
    officer = make.bearer(scene.officer) | tag
    assert scene.client.post(f"{url}/ask", json={"question": "Ở đâu?"}, headers=officer).status_code == 200
    late = scene.client.post(f"{url}/start", headers=make.bearer(scene.lead) | tag)
    assert (late.status_code, late.json()["state"]) == (412, "waiting_citizen")
