"""Asked and answered: the time for resolving waits for the citizen, and no longer than the province allows."""

from datetime import timedelta

from app.core import clock
from app.deadlines.queries import calendar
from app.deadlines.rules import worked_minutes
from app.proceedings.actions import time_out
from tests.proceedings.conftest import Scene

QUESTION = {"question": "Ổ gà nằm trước số nhà bao nhiêu?"}


def test_a_question_pauses_and_its_answer_puts_the_waiting_back(scene: Scene) -> None:
    due_at, asked_at = scene.case().due_at, clock.now()
    assert due_at is not None
    asked = scene.move(scene.officer, "ask", QUESTION)
    assert (asked["state"], asked["act_by"]) == ("waiting_citizen", asked["clocks"][-1]["due_at"])
    assert scene.report()["status_text"] == "chờ bổ sung"
    assert scene.report()["question"] == QUESTION["question"]
    assert set(scene.report()["allowed_actions"]) == {"answer", "add_information"}
    with clock.travelled(asked_at + timedelta(days=2)):
        shown = scene.reply("answer", {"text": "Trước số 12."})
        now = clock.now()
    assert (shown["status"], shown["question"]) == ("accepted", None)
    (resolving,), (answering,) = scene.clocks("resolve"), scene.clocks("answer")
    waited = worked_minutes(calendar(scene.session), asked_at, now)
    assert abs(worked_minutes(calendar(scene.session), due_at, resolving.due_at) - waited) <= 1
    assert scene.case().due_at == scene.case().act_by == scene.hop().due_at == resolving.due_at
    assert (answering.met, scene.clocks("first_response")[0].met) == (True, True)
    assert scene.templates() == ["report_assigned", "report_accepted", "report_question"]
    scene.is_sound()


def test_whoever_adds_something_when_asked_has_answered(scene: Scene) -> None:
    scene.move(scene.officer, "start")
    scene.move(scene.officer, "ask", QUESTION)
    assert scene.reply("information", {"text": "Trước số 12."})["status"] == "in_progress"
    assert scene.clocks("answer")[0].stopped_at is not None
    scene.is_sound()


def test_without_an_answer_the_unit_goes_on_after_the_time_to_answer(scene: Scene) -> None:
    scene.move(scene.officer, "ask", QUESTION)
    scene.session.commit()
    assert time_out() == 0
    answer_by = scene.clocks("answer")[0].due_at
    with clock.travelled(answer_by + timedelta(minutes=1)):
        assert time_out() == 1
        assert time_out() == 0
    assert scene.case().state == "accepted"
    assert scene.verbs()[-1] == "timeout"
    (answering,) = scene.clocks("answer")
    assert (answering.met, answering.breached_at) == (False, answer_by)
    assert scene.templates()[-1] == "report_unanswered"
    scene.is_sound()


def test_a_refusal_while_waiting_stops_every_clock_by_the_deadline_it_really_had(scene: Scene) -> None:
    scene.move(scene.officer, "ask", QUESTION)
    scene.move(scene.dispatcher, "reject", {"code": "spam"})
    assert all(row.stopped_at for kind in ("resolve", "answer", "first_response") for row in scene.clocks(kind))
    scene.is_sound()


def test_a_wrong_place_while_waiting_takes_the_case_away_and_the_time_runs_on(scene: Scene) -> None:
    scene.move(scene.officer, "ask", QUESTION)
    moved = scene.move(scene.dispatcher, "recategorise", {"category": "den_tin_hieu", "reason": "Là đèn tín hiệu."})
    assert moved["state"] == "routing"
    (resolving,) = scene.clocks("resolve")
    assert resolving.stopped_at is None
    assert scene.case().due_at == resolving.due_at
    scene.is_sound()
