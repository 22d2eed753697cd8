"""A new version while the system runs: what it would change, who picks it up when, and which receipt it counts for."""

import json
import subprocess
import sys
import time
from contextvars import copy_context
from datetime import date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlmodel import Session, select
from typer.testing import CliRunner, Result

from app.boundaries.models import BoundaryVersion
from app.boundaries.queries import boundaries_in_force, locate
from app.cases.models import Case
from app.cli import cli
from app.core import clock, db
from app.core.config import ROOT
from app.core.versioned import CHECK_EVERY_S
from app.embedded import Database
from app.identity.models import AuditEntry
from app.identity.policy import Viewer
from app.intake.actions import Asked, submit_together
from app.orgunits.queries import directory
from app.reports.schemas import ReportIn
from app.routing.actions import assign_owed
from tests.boundaries.versions import state
from tests.support import make, places

MIDNIGHT = datetime(2026, 3, 2, tzinfo=clock.LOCAL)


def shifted(path: Path, steps: float = 1) -> Path:
    """The squares, all of them moved east: where one commune was, its western neighbour is now."""
    document = json.loads(places.synthetic(path).read_text())
    for feature in document["features"]:
        ring = feature["geometry"]["coordinates"][0]
        feature["geometry"]["coordinates"] = [[[x + steps * places.STEP, y] for x, y in ring]]
    path.write_text(json.dumps(document))
    return path


def phananh(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["boundaries", *map(str, arguments)])


# What it would change ----------------------------------------------------------------------------------------------


def test_a_dry_run_shows_areas_and_open_cases_that_move(client: TestClient, session: Session, tmp_path: Path) -> None:
    one, two, gone = places.codes()[9], places.codes()[10], places.codes()[16]
    homes = [one] * 12 + [two] * 2 + [gone]
    for code in homes:
        make.routed(session, client, make.citizen(session), within=code)
    before = state(session)
    arguments = (shifted(tmp_path / "new.geojson"), "--effective", "2026-12-01", "--source", "x")
    dry = phananh("import", *arguments, "--dry-run")
    assert dry.exit_code == 0, dry.output
    lines = [line.strip() for line in dry.output.splitlines()]
    assert "100.0% of the area changes its commune against the boundaries so far:" in lines
    assert "Open cases whose place lies in another commune then: 15" in lines
    units = {unit.code: f"{unit.code} {unit.name}" for unit in directory(session).communes(date(2026, 12, 1))}
    west = {code: units[places.codes()[places.codes().index(code) - 1]] for code in (one, two)}
    counted = [line for line in lines if "→" in line and "km²" not in line]
    assert counted[0].startswith(f"12  {units[one]} → {west[one]}: ")
    assert counted[0].count(",") == 9
    assert counted[0].endswith(" and 2 more")
    assert counted[1].startswith(f"2  {units[two]} → {west[two]}: ")
    assert counted[2].startswith(f"1  {units[gone]} → (no commune): ")
    reference = session.exec(select(Case.reference).where(Case.commune_id == make.unit_id(session, gone))).one()
    assert counted[2].endswith(reference)
    assert any(f"{units[one]} → {west[one]}" in line for line in lines if "km²" in line)
    assert lines[-1] == "dry run: nothing was stored"
    assert state(session) == before
    done = phananh("import", *arguments)
    assert "stored as" in done.output
    assert state(session) == (before[0] + 1, before[1] + 92, before[2] + 1)
    again = phananh("import", *arguments)
    assert "already there" in again.output
    stored = session.exec(select(BoundaryVersion.id).where(BoundaryVersion.source == "x")).one()
    assert len(session.exec(select(AuditEntry).where(AuditEntry.subject == str(stored))).all()) == 1


def test_refusals_end_with_status_1_and_every_fault(session: Session, tmp_path: Path) -> None:
    before = state(session)
    path = shifted(tmp_path / "new.geojson")
    for arguments, told in (
        ((path, "--effective", "yesterday", "--source", "x"), "'yesterday' không phải ngày; hãy viết dạng 2026-07-01"),
        ((path, "--effective", "2026-01-01", "--source", "x", "--code-column", "ma"), "không có cột mã `ma`, chỉ có"),
        ((path, "--effective", "2020-01-01", "--source", "x"), "no commune exists on 2020-01-01"),
        ((tmp_path / "gone", "--effective", "2026-01-01", "--source", "x"), "gone: cannot be read"),
        (
            (path, "--effective", "2026-01-01", "--source", "x", "--code-column", "ma"),
            "new.geojson: has no column `ma`, only code, name",
        ),
    ):
        refused = phananh("import", *arguments)
        assert refused.exit_code == 1
        assert told in refused.output
        assert "Chưa có gì thay đổi. Vui lòng sửa các mục trên rồi chạy lại" in refused.output
    assert state(session) == before


def test_the_share_that_approximate_boundaries_misplace_is_printed(session: Session, real_data: Path) -> None:
    real = real_data / "thai_nguyen_communes_2025.geojson"
    imported = phananh("import", real, "--effective", "2025-07-01", "--source", "real", "--licence", "MIT")
    assert imported.exit_code == 0, imported.output
    compared = phananh("compare")
    assert compared.exit_code == 0, compared.output
    share = float(compared.output.partition("The approximate boundaries put ")[2].partition("%")[0])
    assert 15 <= share <= 17
    assert compared.output.count("km²") > 20
    nothing = phananh("compare", "--day", "2025-06-30")
    assert nothing.exit_code == 1
    assert "no surveyed boundaries" in nothing.output


# Which one counts --------------------------------------------------------------------------------------------------


def imported_elsewhere(path: Path, day: date) -> None:
    """What an operator does in another process."""
    command = ("boundaries", "import", str(path), "--effective", str(day), "--source", "elsewhere")
    done = subprocess.run([sys.executable, "-m", "app.cli", *command], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_switch_in_the_middle_of_a_thousand_submissions(
    committed: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with db.transaction() as session:
        citizens = [make.citizen(session) for _ in range(50)]
        assert boundaries_in_force(session, MIDNIGHT).effective_from == places.EFFECTIVE
    # Nobody in a first column, whose place lies outside the province afterwards.
    inside = [code for number, code in enumerate(places.codes()) if number % places.COLUMNS]
    sent: dict[UUID, tuple[str, datetime]] = {}

    def submit(numbers: range) -> None:
        asked = []
        for number in numbers:
            home, received = inside[number % len(inside)], MIDNIGHT + timedelta(seconds=number - 500)
            body = ReportIn(**make.report_body(within=home))
            sent[body.id] = home, received
            asked.append(_asked_at(citizens[number % 50], body, received))
        assert not [answer for answer in submit_together(asked) if isinstance(answer, Exception)]

    for start in range(0, 500, 50):
        submit(range(start, start + 50))
    imported_elsewhere(shifted(tmp_path / "new.geojson"), MIDNIGHT.date())
    # This process was told nothing, and looks again within seconds.
    real = time.monotonic()
    monkeypatch.setattr("app.core.versioned.time.monotonic", lambda: real + CHECK_EVERY_S + 0.1)
    for start in range(500, 1000, 50):
        submit(range(start, start + 50))
    while assign_owed(100):
        pass

    with db.transaction() as session:
        versions = {row.source: row.id for row in session.exec(select(BoundaryVersion))}
        units, codes = directory(session), places.codes()
        cases = session.exec(select(Case)).all()
        assert len(cases) == 1000
        for case in cases:
            home, received = sent[case.report_id]
            late = received >= MIDNIGHT
            expected = codes[codes.index(home) - 1] if late else home
            unit = units.by_id(case.commune_id) if case.commune_id else None
            assert unit is not None
            assert (case.received_at, unit.code, case.unit_id) == (received, expected, unit.id)
            assert case.boundary_version_id == versions["elsewhere" if late else "synthetic squares"]
        # Whoever asks about the day before still gets the areas of the day before.
        lat, lon = places.centre(inside[0])
        eve = locate(session, lat, lon, None, MIDNIGHT - timedelta(seconds=1))
        assert eve.boundary_version_id == versions["synthetic squares"]


def _asked_at(citizen: Viewer, body: ReportIn, moment: datetime) -> Asked:
    with clock.travelled(moment):
        return Asked(citizen, body, uuid4(), "vi", copy_context())
