"""Planning changes of units over HTTP: what is stored, foreseen, undone and refused."""

from collections.abc import Iterator
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select

from app.cases.models import Case
from app.core import clock, versioned
from app.identity.models import AuditEntry, Membership
from app.identity.policy import Viewer
from app.orgunits.models import Unit, UnitSuccession
from app.orgunits.queries import directory
from tests.support import make, places

DAY = "2999-01-01"
A, B, C = "05908", "05941", "05917"
NEW = {"code": "90001", "name": "Xã Mới", "name_en": "Moi Commune", "kind": "xa"}
OTHER = {"code": "90002", "name": "Phường Khác", "name_en": "Khac Ward", "kind": "phuong"}

JSON = dict[str, Any]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    versioned.forget_all()
    yield
    versioned.forget_all()


@pytest.fixture
def administrator(session: Session) -> Viewer:
    return make.staff(session, "administrator")


def ask(client: TestClient, viewer: Viewer, *changes: JSON, effective: str = DAY) -> Any:
    body = {"effective": effective, "decision": "12/NQ-HĐND", "note": "thử", "changes": list(changes)}
    headers = make.bearer(viewer) | make.key() | {"Accept-Language": "en"}
    return client.post("/v1/unit-changes", json=body, headers=headers)


def planned(client: TestClient, viewer: Viewer, *changes: JSON) -> list[JSON]:
    answer = ask(client, viewer, *changes)
    assert answer.status_code == 201, answer.text
    items: list[JSON] = answer.json()["items"]
    return items


def refused(client: TestClient, viewer: Viewer, *changes: JSON, effective: str = DAY) -> list[tuple[str, str]]:
    answer = ask(client, viewer, *changes, effective=effective)
    assert (answer.status_code, answer.json()["code"]) == (422, "unit_change_refused"), answer.text
    assert all(each["detail"] for each in answer.json()["errors"])
    return [(each["pointer"], each["code"]) for each in answer.json()["errors"]]


def preview(client: TestClient, viewer: Viewer, change: JSON) -> JSON:
    headers = make.bearer(viewer) | {"Accept-Language": "en"}
    answer = client.get(f"/v1/unit-changes/{change['id']}/preview", headers=headers)
    assert answer.status_code == 200, answer.text
    body: JSON = answer.json()
    return body


def merge(*sources: str, into: JSON) -> JSON:
    return {"kind": "merge", "sources": list(sources), "targets": [into]}


def split(source: str, *targets: JSON, **more: Any) -> JSON:
    return {"kind": "split", "sources": [source], "targets": list(targets), **more}


def units_stored(session: Session) -> tuple[int, int, int]:
    session.expire_all()
    rows = session.exec(select(Unit)).all()
    return len(rows), sum(unit.valid_to is None for unit in rows), len(session.exec(select(UnitSuccession)).all())


def test_a_merge_is_stored_foreseen_and_undone(client: TestClient, session: Session, administrator: Viewer) -> None:
    before = units_stored(session)
    (change,) = planned(client, administrator, merge(A, B, into=NEW))
    assert (change["status"], change["decision"], change["actor_id"]) == (
        "planned",
        "12/NQ-HĐND",
        str(administrator.account_id),
    )
    parts = [(each["part"], each["code"]) for each in change["units"]]
    assert parts == [("begins", "90001"), ("source", A), ("source", B)]
    assert units_stored(session) == (before[0] + 1, before[1] - 1, before[2] + 2)
    shown = client.get(f"/v1/units/{A}").json()
    assert (shown["valid_to"], [each["code"] for each in shown["successors"]]) == (DAY, ["90001"])
    assert client.get("/v1/units/90001").status_code == 404
    assert client.get(f"/v1/units/90001?on={DAY}").json()["name"] == "Xã Mới"
    foreseen = preview(client, administrator, change)
    assert [each["code"] for each in foreseen["ends"]] == [A, B]
    assert [each["code"] for each in foreseen["begins"]] == ["90001"]
    undone = client.post(f"/v1/unit-changes/{change['id']}/cancel", headers=make.bearer(administrator))
    assert (undone.status_code, undone.json()["status"]) == (200, "cancelled")
    assert units_stored(session) == before
    late = client.post(f"/v1/unit-changes/{change['id']}/cancel", headers=make.bearer(administrator))
    assert (late.status_code, late.json()["code"]) == (409, "unit_change_too_late")
    entries = session.exec(select(AuditEntry).where(AuditEntry.subject == change["id"])).all()
    assert [entry.actor_id for entry in entries] == [administrator.account_id] * 2
    planned(client, administrator, merge(A, B, into=NEW))


def test_sending_the_same_key_again_plans_once(client: TestClient, administrator: Viewer) -> None:
    body = {"effective": DAY, "decision": "1", "changes": [merge(A, into=NEW)]}
    headers = make.bearer(administrator) | make.key()
    answers = [client.post("/v1/unit-changes", json=body, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    page = client.get("/v1/unit-changes?status=planned", headers=make.bearer(administrator)).json()
    assert [each["id"] for each in page["items"]] == [answers[0].json()["items"][0]["id"]]
    assert client.get("/v1/unit-changes?status=applied", headers=make.bearer(administrator)).json()["items"] == []


def test_the_preview_counts_cases_and_roles(client: TestClient, session: Session, administrator: Viewer) -> None:
    citizen = make.citizen(session)
    for unit in (A, A, B):
        make.routed(session, client, citizen, within=unit)
    officer, lead = make.staff(session, "officer", A), make.staff(session, "lead", B)
    role = session.exec(select(Membership).where(Membership.account_id == officer.account_id)).one()
    parts = split(A, NEW, OTHER, staff=[{"membership_id": str(role.id), "unit": "90002"}])
    change, merged = planned(client, administrator, parts, merge(B, into={"code": C}))
    foreseen = preview(client, administrator, change)
    assert [(each["source"]["code"], each["to"], each["number"]) for each in foreseen["cases"]] == [(A, None, 2)]
    assert [(each["role"], each["to"]["code"]) for each in foreseen["staff"]] == [("officer", "90002")]
    assert "surveyed boundaries" in foreseen["warnings"][0]
    other = preview(client, administrator, merged)
    assert [(each["source"]["code"], each["to"]["code"], each["number"]) for each in other["cases"]] == [(B, C, 1)]
    assert [(each["account_id"], each["to"]["code"]) for each in other["staff"]] == [(str(lead.account_id), C)]
    assert (other["warnings"], merged["open_cases"]) == ([], 1)


def test_the_preview_names_rules_and_categories_of_a_department(client: TestClient, administrator: Viewer) -> None:
    (change,) = planned(client, administrator, merge("so_xay_dung", into={"code": "so_cong_thuong"}))
    foreseen = preview(client, administrator, change)
    assert {each["heir"]["code"] for each in foreseen["categories"]} == {"so_cong_thuong"}
    assert all(each["unit"]["code"] == "so_xay_dung" for each in foreseen["rules"])


def test_names_kinds_and_places_are_foreseen(client: TestClient, administrator: Viewer) -> None:
    rename = {"kind": "rename", "sources": [A], "name": "Xã Phú Bình Mới", "name_en": "New Phu Binh Commune"}
    kind = {"kind": "change_kind", "sources": [B], "new_kind": "phuong"}
    move = {"kind": "move", "sources": ["vnpt"], "parent": "so_khoa_hoc_va_cong_nghe"}
    changes = planned(client, administrator, rename, kind, move)
    told = [preview(client, administrator, change)["amended"][0] for change in changes]
    assert [(each["name"], each["kind"], each["parent"]) for each in told] == [
        ("Xã Phú Bình Mới", "xa", "19"),
        ("Phường Điềm Thụy", "phuong", "19"),
        ("VNPT Thái Nguyên", "utility", "so_khoa_hoc_va_cong_nghe"),
    ]
    assert client.get(f"/v1/units/{A}").json()["name"] == "Xã Phú Bình"


def test_codes_may_pass_around_within_one_decision(client: TestClient, session: Session, administrator: Viewer) -> None:
    planned(client, administrator, merge(A, into=NEW | {"code": B}), merge(B, into=OTHER | {"code": A}))
    session.expire_all()
    units = directory(session)
    names = [unit.name for code in (A, B) if (unit := units.by_code(code, date.fromisoformat(DAY)))]
    assert names == ["Phường Khác", "Xã Mới"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([merge("99999", into=NEW)], [("/changes/0/sources/0", "unit_unknown")]),
        ([merge("05461", into=NEW)], [("/changes/0/sources/0", "unit_unknown")]),  # ended on 1 July 2025
        ([merge(into=NEW)], [("/changes/0/sources", "no_source")]),
        ([merge(A, into=OTHER | {"code": B})], [("/changes/0/targets/0/code", "code_in_use")]),
        ([merge(A, into={"code": "99999"})], [("/changes/0/targets/0", "unit_unknown")]),
        ([merge(A, into={"code": A})], [("/changes/0/targets/0", "unit_ends"), ("/changes", "cycle")]),
        (
            [merge(A, into={"code": B}), merge(B, into={"code": A})],
            [("/changes/0/targets/0", "unit_ends"), ("/changes/1/targets/0", "unit_ends"), ("/changes", "cycle")],
        ),
        ([split(A)], [("/changes/0/targets", "without_successor")]),
        ([split(A, NEW)], [("/changes/0/targets", "without_successor")]),
        ([{"kind": "merge", "sources": [A]}], [("/changes/0/targets", "without_successor")]),
        ([{"kind": "merge", "sources": [A], "targets": [NEW, OTHER]}], [("/changes/0/targets", "one_successor")]),
        ([split(A, NEW, OTHER | {"code": "90001"})], [("/changes", "named_twice")]),
        ([merge(A, into=NEW), split(A, OTHER, {"code": B})], [("/changes", "named_twice")]),
        (
            [merge(A, into={"code": "90001", "name": "Xã Mới"})],
            [("/0/name", "name_missing"), ("/kind", "kind_missing")],
        ),
        ([merge(A, into=NEW | {"kind": "department"})], [("/changes/0/targets/0/kind", "kind_unfit")]),
        ([merge(A, "so_xay_dung", into=NEW)], [("/changes/0/sources", "levels_differ")]),
        ([merge(A, into={"code": "so_xay_dung"})], [("/changes/0/targets/0", "levels_differ")]),
        ([merge("19", into=NEW)], [("/changes/0/sources/0", "level_not_allowed")]),
        ([{"kind": "rename", "sources": [A]}], [("/changes/0/name", "name_missing"), ("/0", "nothing_changes")]),
        ([{"kind": "rename", "sources": [A, B], "name": "x", "name_en": "x"}], [("/changes/0/sources", "one_source")]),
        ([{"kind": "change_kind", "sources": [A]}], [("/changes/0/new_kind", "kind_missing")]),
        ([{"kind": "change_kind", "sources": [A], "new_kind": "xa"}], [("/changes/0", "nothing_changes")]),
        ([{"kind": "change_kind", "sources": [A], "new_kind": "police"}], [("/changes/0/new_kind", "kind_unfit")]),
        ([{"kind": "move", "sources": [A], "parent": "19"}], [("/changes/0/parent", "nothing_changes")]),
        ([{"kind": "move", "sources": [A], "parent": "99999"}], [("/changes/0/parent", "unit_unknown")]),
        ([{"kind": "move", "sources": [A], "parent": A}], [("/changes", "cycle")]),
        (
            [{"kind": "move", "sources": [A], "parent": B}, {"kind": "move", "sources": [B], "parent": A}],
            [("/changes", "cycle")],
        ),
        ([{"kind": "move", "sources": [A], "parent": B}, merge(B, into=NEW)], [("/changes/0/parent", "unit_unknown")]),
        (
            [split(A, NEW, OTHER, staff=[{"membership_id": str(UUID(int=7)), "unit": "90001"}])],
            [("/changes/0/staff/0/membership_id", "membership_unknown")],
        ),
    ],
)
def test_what_cannot_be_is_listed(
    client: TestClient, session: Session, administrator: Viewer, changes: list[JSON], expected: list[tuple[str, str]]
) -> None:
    before = units_stored(session)
    found = refused(client, administrator, *changes)
    assert [code for _, code in found] == [code for _, code in expected]
    assert all(pointer.endswith(end) for (pointer, _), (end, _) in zip(found, expected, strict=True))
    assert units_stored(session) == before


@pytest.mark.parametrize("day", ["2020-01-01", "today"])
def test_the_past_cannot_be_planned(client: TestClient, administrator: Viewer, day: str) -> None:
    effective = str(clock.local_day(clock.now())) if day == "today" else day
    assert refused(client, administrator, merge(A, into=NEW), effective=effective) == [("/effective", "date_in_past")]


def test_one_unit_has_one_planned_change(client: TestClient, administrator: Viewer) -> None:
    planned(client, administrator, merge(A, into=NEW))
    rename = {"kind": "rename", "sources": [A], "name": "Xã X", "name_en": "X Commune"}
    assert refused(client, administrator, rename) == [("/changes/0/sources/0", "overlap")]
    later = {**rename, "sources": ["90001"]}
    assert refused(client, administrator, later, effective="2999-06-01") == [("/changes/0/sources/0", "unit_unknown")]
    taken = merge(B, into=OTHER | {"code": "90001"})
    assert refused(client, administrator, taken) == [("/changes/0/targets/0/code", "code_in_use")]
    planned(client, administrator, merge(B, into={"code": "90001"}))


def test_a_unit_that_another_plan_needs_is_not_taken_back(client: TestClient, administrator: Viewer) -> None:
    (first,) = planned(client, administrator, merge(A, into=NEW))
    (second,) = planned(client, administrator, merge(B, into={"code": "90001"}))
    answer = client.post(f"/v1/unit-changes/{first['id']}/cancel", headers=make.bearer(administrator))
    assert (answer.status_code, answer.json()["code"]) == (409, "unit_change_in_use")
    for change in (second, first):
        done = client.post(f"/v1/unit-changes/{change['id']}/cancel", headers=make.bearer(administrator))
        assert done.status_code == 200, done.text


def test_an_unknown_change_is_not_found(client: TestClient, administrator: Viewer) -> None:
    for path in ("", "/preview"):
        answer = client.get(f"/v1/unit-changes/{uuid4()}{path}", headers=make.bearer(administrator))
        assert answer.status_code == 404


def test_until_the_day_everything_goes_on_as_it_was(
    client: TestClient, session: Session, administrator: Viewer
) -> None:
    planned(client, administrator, merge(A, B, into=NEW))
    case_id = make.routed(session, client, make.citizen(session), within=A)
    assert session.get_one(Case, case_id).unit_id == make.unit_id(session, A)
    assert len(client.get("/v1/units?level=commune").json()["items"]) == len(places.codes())
