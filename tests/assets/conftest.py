"""Asset classes of the shipped pack, and assets put in by hand."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import shapely

from app.assets.models import Asset, AssetClass, AssetImport
from app.assets.queries import ASSETS
from app.core import clock, ids
from app.core.db import Session
from app.core.versioned import bump

DAY = date(2025, 7, 1)
Put = Callable[..., Asset]


@pytest.fixture
def put(session: Session) -> Put:
    """Put in an asset of a class, made with it where it is new."""

    def put(shape: shapely.Geometry, asset_class: str = "den_duong", **columns: Any) -> Asset:
        if session.get(AssetClass, asset_class) is None:
            kind = "point" if shape.geom_type == "Point" else "line"
            session.add(AssetClass(code=asset_class, name_vi="Đèn", name_en="Lamp", kind=kind, position=1))
            session.flush()
        delivery = AssetImport(
            id=ids.uuid7(),
            asset_class=asset_class,
            source="test",
            sha256="0" * 64,
            effective_from=DAY,
            imported_at=clock.now(),
            delivered=1,
            added=1,
            changed=0,
            ended=0,
        )
        session.add(delivery)
        session.flush()
        west, south, east, north = shape.bounds
        code = ids.reference()
        asset = Asset(
            **{
                "id": ids.uuid7(),
                "code": code,
                "asset_class": asset_class,
                "source": "test",
                "ref": code,
                "name": "Đèn",
                "wkb": shape.wkb,
                "lat": south,
                "lon": west,
                "west": west,
                "south": south,
                "east": east,
                "north": north,
                "valid_from": DAY,
                "import_id": delivery.id,
                **columns,
            }
        )
        session.add(asset)
        session.flush()
        bump(session, ASSETS)
        return asset

    return put
