"""Assets near a point through the database: in force on the day asked for, of the classes asked for."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import shapely

from app.assets.queries import Near, near
from app.core.config import ROOT
from app.core.db import Session
from tests.support.assets import put

LAT, LON = 21.6, 105.8
AT = datetime(2026, 3, 2, 3, tzinfo=UTC)


def test_near_names_the_asset_its_manager_and_the_distance(session: Session) -> None:
    lamp = put(session, shapely.Point(LON, LAT + 0.0001), name="Đèn số 7")
    (found,) = near(session, LAT, LON, 15, AT)
    assert found == Near(lamp.id, lamp.code, "den_duong", "Đèn số 7", None, found.distance_m)
    assert 11.0 < found.distance_m < 11.1
    assert near(session, LAT, LON, 11, AT) == ()


def test_an_asset_counts_on_the_days_of_its_period_only(session: Session) -> None:
    put(session, shapely.Point(LON, LAT), valid_from=date(2026, 1, 1), valid_to=date(2026, 3, 2))
    assert near(session, LAT, LON, 15, AT) == ()
    assert near(session, LAT, LON, 15, AT - timedelta(days=1))
    assert near(session, LAT, LON, 15, AT - timedelta(days=90)) == ()


def test_only_the_classes_asked_for(session: Session) -> None:
    put(session, shapely.Point(LON, LAT))
    road = put(session, shapely.LineString([(LON - 1e-3, LAT + 5e-5), (LON + 1e-3, LAT + 5e-5)]), "quoc_lo")
    assert [found.asset_class for found in near(session, LAT, LON, 15, AT)] == ["den_duong", "quoc_lo"]
    assert [found.id for found in near(session, LAT, LON, 15, AT, classes={"quoc_lo"})] == [road.id]


def test_shapely_stays_out_of_a_process_that_never_asks() -> None:
    program = "import sys, app.assets.queries; sys.exit('shapely' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
