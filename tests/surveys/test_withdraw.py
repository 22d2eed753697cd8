"""A version of a day to come that should not have been: taken back before that day, by command and by HTTP."""

from datetime import date, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select
from typer.testing import CliRunner

from app.boundaries.queries import boundaries_in_force
from app.cli import cli
from app.core import clock
from app.core.errors import DomainError
from app.core.remarks import DeliveryError
from app.identity.models import AuditEntry
from app.surveys.actions import Files, import_boundaries, prepare, store, withdraw
from tests.support import make, places


def by_mistake(session: Session, tmp_path: Path, day: date) -> UUID:
    """The squares a little further south, dated into the future."""
    path = places.synthetic(tmp_path / "wrong.geojson")
    path.write_text(path.read_text().replace("[105.4,", "[105.41,"))
    return import_boundaries(session, path, effective_from=day, source="wrong", licence="none").version_id


def test_it_no_longer_blocks_what_comes_before_and_never_counts(session: Session, tmp_path: Path) -> None:
    today = clock.local_day(clock.now())
    wrong = by_mistake(session, tmp_path, today + timedelta(days=3000))
    path, day = places.synthetic(tmp_path / "right.geojson"), today + timedelta(days=30)
    with pytest.raises(DeliveryError, match=f"phananh boundaries withdraw {wrong}"):
        prepare(session, Files(path), effective_from=day)
    withdraw(session, wrong, None)
    summary = store(session, prepare(session, Files(path), effective_from=day), source="right", licence="none")
    later = clock.now() + timedelta(days=4000)
    assert boundaries_in_force(session, later).id == summary.version_id
    told = session.exec(select(AuditEntry).where(AuditEntry.subject == str(wrong)).order_by(AuditEntry.at)).all()  # type: ignore[arg-type]
    assert [entry.after for entry in told][1:] == [{"status": "withdrawn"}]
    # The same files may be imported for that day once more, should they have been right after all.
    assert by_mistake(session, tmp_path, today + timedelta(days=3000)) != wrong


def test_what_counts_already_stays(session: Session, tmp_path: Path) -> None:
    today = clock.local_day(clock.now())
    current = by_mistake(session, tmp_path, today)
    for version in (current, by_mistake(session, tmp_path, today + timedelta(days=1))):
        if version != current:
            withdraw(session, version, None)
        with pytest.raises(DomainError, match="boundaries_in_force"):
            withdraw(session, version, None)
    with pytest.raises(DomainError, match="not_found"):
        withdraw(session, uuid4(), None)
    assert boundaries_in_force(session, clock.now()).id == current


def test_by_command_and_by_http(client: TestClient, session: Session, tmp_path: Path) -> None:
    day = clock.local_day(clock.now()) + timedelta(days=10)
    first, second = by_mistake(session, tmp_path, day), by_mistake(session, tmp_path, day + timedelta(days=1))
    session.commit()
    done = CliRunner().invoke(cli, ["boundaries", "withdraw", str(second)])
    assert (done.exit_code, done.output) == (0, "đã rút / withdrawn\n")
    refused = CliRunner().invoke(cli, ["boundaries", "withdraw", str(second)])
    assert refused.exit_code == 1
    assert refused.output.startswith("Không còn rút được bộ ranh giới này.")
    headers = make.bearer(make.staff(session, "administrator"))
    answer = client.post(f"/v1/boundaries/{first}/withdraw", headers=headers)
    assert (answer.status_code, answer.json()["source"], answer.json()["in_force"]) == (200, "wrong", False)
    assert answer.json()["withdrawn_at"]
    listed = {row["id"]: row["withdrawn_at"] for row in client.get("/v1/boundaries").json()["items"]}
    assert listed[str(first)]
    assert listed[str(second)]
    again = client.post(f"/v1/boundaries/{first}/withdraw", headers=headers)
    assert (again.status_code, again.json()["code"]) == (409, "boundaries_in_force")
