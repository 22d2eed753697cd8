"""The board over HTTP: cohorts, cuts, who may read what, and what is refused."""

from datetime import datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.core.db import Session
from app.core.ids import uuid7
from app.core.versioned import bump
from app.orgunits.models import Unit
from app.orgunits.queries import UnitInfo, directory
from tests.kpi.histories import Step, at, communes, open_case, signed_in

MARCH = {"from": "2026-03-01", "to": "2026-04-01", "at": "2026-04-15T00:00:00+07:00"}
ROUTED = (Step(0, "submit", "verifying"), Step(30, "verify", "routing"))


def lived(unit: Unit | UnitInfo, *, due: float = 1000, done: float | None = None) -> tuple[Step, ...]:
    """A case that reached a unit, accepted after an hour, and resolved after `done` minutes."""
    steps = (
        *ROUTED,
        Step(31, "assign", "assigned", unit.id, due),
        Step(60, "accept", "accepted", unit.id, due),
    )
    return steps if done is None else (*steps, Step(done, "resolve", "resolved", unit.id, due))


def office_of(session: Session, commune: UnitInfo) -> Unit:
    """A new office below a commune."""
    office = Unit(
        id=uuid7(),
        code="phong_kinh_te",
        name="Phòng Kinh tế",
        name_en="Economic office",
        sort_key="x",
        folded="phong kinh te",
        kind="office",
        level="commune",
        parent_id=commune.id,
        valid_from=commune.valid_from,
    )
    session.add(office)
    session.flush()
    bump(session, "orgunits")
    return office


def board(client: TestClient, headers: dict[str, str], **params: str) -> dict[str, Any]:
    answer = client.get("/v1/kpi/handling", params=MARCH | params, headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    for measures in (body["total"], *body["groups"]):
        outside = sum(measures[name] for name in ("verifying", "withdrawn", "rejected", "merged"))
        within = sum(measures[name] for name in ("handled_on_time", "handled_late", "open_in_time", "open_overdue"))
        assert measures["received"] == outside + within
        assert measures["within_competence"] == within
    return body


def refused(client: TestClient, headers: dict[str, str], **params: str) -> tuple[int, str]:
    answer = client.get("/v1/kpi/handling", params=MARCH | params, headers=headers)
    return answer.status_code, answer.json()["code"]


@pytest.fixture
def dispatcher(session: Session) -> dict[str, str]:
    return signed_in(session, "dispatcher")


def test_an_empty_period_has_no_rates(client: TestClient, dispatcher: dict[str, str]) -> None:
    body = board(client, dispatcher)
    assert body["total"]["received"] == 0
    assert body["total"]["handling_rate"] == {"numerator": 0, "denominator": 0, "value": None}
    assert body["total"]["times"]["resolve"] == {
        "count": 0,
        "elapsed": {"median": None, "p90": None},
        "working": {"median": None, "p90": None},
    }
    assert (body["from"], body["to"], body["groups"], body["time_zone"]) == (
        "2026-03-01", "2026-04-01", [], "Asia/Ho_Chi_Minh",
    )  # fmt: skip
    assert datetime.fromisoformat(body["as_of"]) == at("2026-04-15 00:00")
    assert "Thời hạn tạm" in body["deadlines_note"]


def test_the_measures_of_a_month(client: TestClient, session: Session, dispatcher: dict[str, str]) -> None:
    here, there, *_ = communes(session)
    monday = at("2026-03-02 08:00")
    open_case(session, monday)
    open_case(session, monday, ROUTED)
    open_case(session, monday, lived(here, done=300))
    open_case(session, monday, lived(there, done=400))
    open_case(session, monday, lived(there, due=300, done=301))
    open_case(session, monday, lived(there))
    open_case(session, monday, (*ROUTED, Step(40, "reject", "rejected", code="spam")))
    body = board(client, dispatcher)
    total = body["total"]
    assert (total["received"], total["within_competence"], total["rejected_by"]) == (7, 5, {"spam": 1})
    assert (total["handled_on_time"], total["handled_late"]) == (2, 1)
    assert (total["open_in_time"], total["open_overdue"], total["open_without_deadline"]) == (1, 1, 1)
    assert total["handling_rate"] == {"numerator": 3, "denominator": 5, "value": 0.6}
    assert total["handled_of_received"]["denominator"] == 7
    assert total["on_time_rate"] == {"numerator": 2, "denominator": 4, "value": 0.5}
    # 08:00 to 13:00, 13:01 and 14:40, with an hour and a half of lunch.
    assert total["times"]["resolve"] == {
        "count": 3,
        "elapsed": {"median": 301, "p90": 400},
        "working": {"median": 211, "p90": 310},
    }
    assert total["times"]["verify"]["count"] == 6
    assert {each["code"] for each in body["definitions"]} >= total.keys() - {"rejected_by"}


def test_months_begin_at_local_midnight(client: TestClient, session: Session, dispatcher: dict[str, str]) -> None:
    for moment in ("2026-02-28 23:59:59", "2026-03-01 00:00", "2026-03-31 23:59:59", "2026-04-01 00:00"):
        open_case(session, at(moment))
    session.commit()
    assert board(client, dispatcher)["total"]["received"] == 2


def test_the_past_can_be_asked_as_it_was(client: TestClient, session: Session, dispatcher: dict[str, str]) -> None:
    here = communes(session)[0]
    open_case(session, at("2026-03-02 08:00"), lived(here, due=200, done=300))
    session.commit()
    seen = [
        board(client, dispatcher, at=f"2026-03-02T{moment}:00+07:00")["total"]
        for moment in ("07:59", "08:00", "08:30", "11:20", "11:21", "13:00")
    ]
    assert [total["received"] for total in seen] == [0, 1, 1, 1, 1, 1]
    names = ("verifying", "open_in_time", "open_overdue", "handled_late")
    assert [[name for name in names if total[name]] for total in seen] == [
        [], ["verifying"], ["open_in_time"], ["open_in_time"], ["open_overdue"], ["handled_late"],
    ]  # fmt: skip


def test_the_row_of_the_case_is_never_read(client: TestClient, session: Session, dispatcher: dict[str, str]) -> None:
    # open_case leaves the case's own row at "verifying", whatever happened since.
    open_case(session, at("2026-03-02 08:00"), lived(communes(session)[0], done=100))
    session.commit()
    assert board(client, dispatcher)["total"]["handled_on_time"] == 1


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        ("category", [("o_ga", "Ổ gà, mặt đường hư hỏng", 2), ("ho_ga_mat_nap", "Hố ga mất nắp, vỡ nắp", 1)]),
        ("group", [("giao_thong", "Giao thông", 2), ("ha_tang_ky_thuat", "Hạ tầng kỹ thuật", 1)]),
        ("urgency", [("normal", "Bình thường", 2), ("urgent", "Khẩn", 1)]),
        ("channel", [("app", "Ứng dụng", 2), ("open311", "Open311", 1)]),
        ("month", [("2026-02", "2026-02", 1), ("2026-03", "2026-03", 2)]),
    ],
)
def test_cuts(
    client: TestClient,
    session: Session,
    dispatcher: dict[str, str],
    group_by: str,
    expected: list[tuple[str, str, int]],
) -> None:
    open_case(session, at("2026-02-28 12:00"), channel="open311")
    open_case(session, at("2026-03-01 06:00"))
    open_case(session, at("2026-03-01 12:00"), category="ho_ga_mat_nap", urgency="urgent")
    session.commit()
    groups = board(client, dispatcher, group_by=group_by, **{"from": "2026-02-01"})["groups"]
    assert [(each["key"], each["name"], each["received"]) for each in groups] == expected


def test_names_follow_the_language(client: TestClient, session: Session, dispatcher: dict[str, str]) -> None:
    open_case(session, at("2026-03-01 06:00"))
    session.commit()
    english = board(client, dispatcher | {"Accept-Language": "en"}, group_by="unit")
    assert english["groups"][0]["name"] == "Not with any unit"
    assert english["deadlines_note"].startswith("Provisional")


def test_by_unit_the_holder_counts_and_a_filter_includes_units_below(
    client: TestClient, session: Session, dispatcher: dict[str, str]
) -> None:
    units = directory(session)
    here, there, *_ = communes(session)
    monday = at("2026-03-02 08:00")
    open_case(session, monday)
    open_case(session, monday, lived(here, done=100))
    open_case(session, monday, (*lived(here), Step(90, "transfer", "assigned", there.id, 1000)))
    open_case(session, monday, (*lived(here), Step(90, "return", "triage", None, 1000)))
    open_case(session, monday, lived(office_of(session, here)))
    session.commit()
    by_unit = board(client, dispatcher, group_by="unit")["groups"]
    assert {(each["key"], each["received"]) for each in by_unit} >= {(None, 2), (here.code, 1), (there.code, 1)}
    assert by_unit[-1]["key"] is None
    assert board(client, dispatcher, unit=here.code)["total"]["received"] == 2
    # The province's own code is the province: cases without a unit included.
    assert board(client, dispatcher, unit=units.province.code)["total"]["received"] == 5


def test_a_lead_reads_the_own_unit_only(client: TestClient, session: Session) -> None:
    here, there, *_ = communes(session)
    for unit in (here, here, there):
        open_case(session, at("2026-03-02 08:00"), lived(unit))
    open_case(session, at("2026-03-02 08:00"))
    lead = signed_in(session, "lead", here.id)
    assert board(client, lead)["total"]["received"] == 2
    assert board(client, lead, unit=here.code)["total"]["received"] == 2
    assert refused(client, lead, unit=there.code) == (404, "not_found")
    assert refused(client, lead, unit=directory(session).province.code) == (404, "not_found")
    leader = signed_in(session, "leader", there.id)
    assert board(client, leader)["total"]["received"] == 1


@pytest.mark.parametrize("role", ["dispatcher", "administrator", "leader"])
def test_province_roles_read_everything(client: TestClient, session: Session, role: str) -> None:
    open_case(session, at("2026-03-02 08:00"))
    assert board(client, signed_in(session, role))["total"]["received"] == 1


def test_others_read_nothing(client: TestClient, session: Session) -> None:
    assert refused(client, {}) == (401, "unauthenticated")
    assert refused(client, signed_in(session, "citizen")) == (403, "forbidden")
    assert refused(client, signed_in(session, "officer", communes(session)[0].id)) == (403, "forbidden")
    assert refused(client, signed_in(session, "auditor")) == (403, "forbidden")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"to": "2026-03-01"}, (400, "period_reversed")),
        ({"to": "2026-02-01"}, (400, "period_reversed")),
        ({"to": "2027-06-01"}, (400, "period_too_long")),
        ({"from": "2999-01-01", "to": "2999-02-01"}, (400, "in_the_future")),
        ({"at": "2999-01-01T00:00:00Z"}, (400, "in_the_future")),
        ({"at": "2026-04-15T00:00:00"}, (422, "invalid")),
        ({"from": "01/03/2026"}, (422, "invalid")),
        ({"group_by": "weather"}, (422, "invalid")),
        ({"unit": "99999"}, (404, "not_found")),
    ],
)
def test_bad_questions(
    client: TestClient, dispatcher: dict[str, str], params: dict[str, str], expected: tuple[int, str]
) -> None:
    assert refused(client, dispatcher, **params) == expected
