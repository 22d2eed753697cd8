"""Factories as plain functions: people, reports and cases as the product itself makes them."""

import itertools
from typing import Any
from uuid import UUID, uuid4

from fastapi.testclient import TestClient
from sqlmodel import select

from app.cases.models import Case
from app.core import clock
from app.core.db import Session
from app.core.versioned import bump
from app.identity import queries
from app.identity.actions import create_staff
from app.identity.models import Account, Identity, SignedInSession
from app.identity.policy import Grant, Viewer, citizen_viewer, signing_key, staff_viewer
from app.identity.rules import Claims, Role, access_token
from app.orgunits.models import Unit
from app.orgunits.queries import UNITS, directory
from app.routing.actions import assign_owed
from tests.support import places

# Codes of the shipped pack whose behaviour the tests rely on (tests/catalog pins them).
TRUSTED_COMMUNE = "o_ga"
TRUSTED_DEPARTMENT = "khoi_bui_mui"
UNVERIFIED = "gia_ca_gian_lan"

_numbers = itertools.count(1)


def unit_id(session: Session, code: str) -> UUID:
    unit = directory(session).by_code(code, clock.local_day(clock.now()))
    assert unit is not None, code
    return unit.id


def unit_below(session: Session, parent: str, code: str, kind: str = "office") -> UUID:
    """An office of a unit, such as its phòng or công an xã."""
    above = directory(session).by_id(unit_id(session, parent))
    assert above is not None
    unit = Unit(
        id=uuid4(),
        code=code,
        name=f"Phòng {code}",
        name_en=f"Office {code}",
        sort_key=code,
        folded=code,
        kind=kind,
        level="department",
        parent_id=above.id,
        valid_from=above.valid_from,
    )
    session.add(unit)
    session.flush()
    bump(session, UNITS)
    return unit.id


def citizen(session: Session) -> Viewer:
    account = Account(kind="citizen")
    session.add(account)
    session.flush()
    phone = f"09{next(_numbers):08d}"
    session.add(
        Identity(
            account_id=account.id,
            phone_sealed=queries.sealed(account.id, "phone", phone),
            phone_index=queries.phone_index(phone),
            name_sealed=queries.sealed(account.id, "name", "Nguyễn Thị Bé"),
            consent_version="2026-01",
            consent_at=clock.now(),
        )
    )
    session.flush()
    return citizen_viewer(account.id, uuid4())


def staff(session: Session, role: str, unit: str | None = None) -> Viewer:
    grant = Grant(Role(role), unit_id(session, unit) if unit else None)
    account = create_staff(
        session,
        email=f"{role}.{next(_numbers)}@example.vn",
        password_hash="unusable",
        name=f"Cán bộ {role}",
        grants=[grant],
        actor_id=None,
    )
    signed_in = SignedInSession(account_id=account.id)
    session.add(signed_in)
    session.flush()
    viewer = staff_viewer(session, account.id, signed_in.id)
    assert viewer is not None
    return viewer


def bearer(viewer: Viewer) -> dict[str, str]:
    """Headers of somebody signed in."""
    assert viewer.account_id is not None
    assert viewer.session_id is not None
    claims = Claims(viewer.account_id, viewer.session_id, "citizen" if viewer.kind == "citizen" else "staff")
    return {"Authorization": f"Bearer {access_token(claims, signing_key(), clock.now())}"}


def report_body(category: str = TRUSTED_COMMUNE, within: str | None = None, **changes: Any) -> dict[str, Any]:
    """A report as a phone sends it."""
    lat, lon = places.centre(within or places.codes()[0])
    return {
        "id": str(uuid4()),
        "category": category,
        "description": "Hố ga mất nắp trước cổng trường, rất nguy hiểm.",
        "location": {"lat": lat, "lon": lon, "accuracy_m": 10},
        **changes,
    }


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def submit(client: TestClient, viewer: Viewer, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """A report sent over HTTP; the receipt."""
    answer = client.post("/v1/reports", json=body or report_body(), headers=bearer(viewer) | key())
    assert answer.status_code == 201, answer.text
    receipt: dict[str, Any] = answer.json()
    return receipt


def case_of(session: Session, report_id: str | UUID) -> UUID:
    """The case a report opened."""
    session.expire_all()
    return session.exec(select(Case.id).where(Case.report_id == UUID(str(report_id)))).one()


def routed(session: Session, client: TestClient, viewer: Viewer, **body: Any) -> UUID:
    """A case that has been submitted and routed; its id."""
    receipt = submit(client, viewer, report_body(**body))
    assign_owed()
    return case_of(session, receipt["id"])


def move(client: TestClient, viewer: Viewer, case_id: UUID, verb: str, body: dict[str, Any] | None = None) -> Any:
    """A staff move over HTTP, on the case as it stands now."""
    seen = client.get(f"/v1/cases/{case_id}", headers=bearer(viewer))
    headers = bearer(viewer) | {"If-Match": seen.headers.get("etag", '"0"')}
    return client.post(f"/v1/cases/{case_id}/{verb}", json=body, headers=headers)


def report_of(session: Session, case_id: UUID) -> UUID:
    """The report a case is about."""
    return session.exec(select(Case.report_id).where(Case.id == case_id)).one()
