"""Planning changes of units from the command line."""

from pathlib import Path

import pytest
from sqlalchemy import Connection
from typer.testing import CliRunner

from app.cli import cli
from app.core import versioned

PLAN = """
effective: 2999-01-01
decision: 12/NQ-HĐND
changes:
  - kind: merge
    sources: ["05908", "05941"]
    targets:
      - {code: "90001", name: Xã Mới, name_en: Moi Commune, kind: xa}
"""


@pytest.fixture(autouse=True)
def _fresh(connection: Connection) -> None:
    versioned.forget_all()


def units(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["units", *words])
    return done.exit_code, done.output


def test_a_plan_is_entered_shown_and_undone(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN)
    status, told = units("plan", str(file))
    assert status == 0, told
    change = told.split()[0]
    assert change in units("list")[1]
    assert "source 05908 Phu Binh Commune" in units("list")[1]
    status, told = units("preview", change)
    assert (status, "ends:" in told, "code: '90001'" in told) == (0, True, True)
    assert units("cancel", change) == (0, "cancelled\n")
    status, told = units("cancel", change)
    assert (status, "can no longer be undone" in told) == (1, True)
    assert units("happen") == (0, "")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("05941", "99999", "/changes/0/sources/1: No unit bears the code 99999 on 2998-12-31."),
        ("2999-01-01", "2020-01-01", "/effective: The day must lie after today"),
        ("kind: merge", "kind: swap", "plan.yaml: changes[1].kind, line 5"),
    ],
)
def test_what_is_wrong_is_listed(tmp_path: Path, before: str, after: str, told: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(PLAN.replace(before, after))
    status, output = units("plan", str(file))
    assert (status, told in output) == (1, True), output
