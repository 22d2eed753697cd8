"""Assets put in by hand, and deliveries as a province's offices send them."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import shapely

from app.assets.models import Asset, AssetImport
from app.assets.queries import ASSETS
from app.core import clock, ids
from app.core.db import Session
from app.core.versioned import bump

DAY = date(2025, 7, 1)


def put(session: Session, shape: shapely.Geometry, asset_class: str = "den_duong", **columns: Any) -> Asset:
    """An asset of a class of the shipped pack, in force since `DAY`."""
    counts = {"delivered": 1, "added": 1, "changed": 0, "ended": 0}
    delivery = AssetImport(
        id=ids.uuid7(),
        asset_class=asset_class,
        source="test",
        sha256="0" * 64,
        effective_from=DAY,
        imported_at=clock.now(),
        **counts,
    )
    session.add(delivery)
    session.flush()
    west, south, east, north = shape.bounds
    code = ids.reference()
    box = {"west": west, "south": south, "east": east, "north": north}
    given = {"name": "Đèn", "valid_from": DAY, "lat": south, "lon": west, **box, **columns}
    asset = Asset(
        id=ids.uuid7(),
        code=code,
        asset_class=asset_class,
        source="test",
        ref=code,
        wkb=shape.wkb,
        import_id=delivery.id,
        **given,
    )
    session.add(asset)
    session.flush()
    bump(session, ASSETS)
    return asset


def feature(ref: str | None, geometry: dict[str, Any] | None, **properties: Any) -> dict[str, Any]:
    """One GeoJSON feature."""
    return {"type": "Feature", "properties": {"id": ref, **properties}, "geometry": geometry}


def point(lon: float, lat: float) -> dict[str, Any]:
    """A GeoJSON point."""
    return {"type": "Point", "coordinates": [lon, lat]}


def geojson(path: Path, *features: dict[str, Any], **members: Any) -> Path:
    """Write a FeatureCollection."""
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features), **members}))
    return path
