"""Synthetic boundaries: the 92 communes as squares side by side, so that every test knows where it is."""

import json
from datetime import date
from functools import cache
from pathlib import Path

import yaml

from app.core.config import ROOT

EFFECTIVE = date(2025, 7, 1)
WEST, SOUTH, STEP, COLUMNS = 105.4, 21.4, 0.1, 8


@cache
def codes() -> list[str]:
    """The commune codes of the shipped pack, in their order."""
    file = yaml.safe_load((ROOT / "packs/thai_nguyen/units/communes.yaml").read_text())
    return sorted(entry["code"] for entry in file["communes"])


def square(code: str) -> tuple[float, float, float, float]:
    """west, south, east, north of a commune's square, in degrees."""
    row, column = divmod(codes().index(code), COLUMNS)
    west, south = WEST + column * STEP, SOUTH + row * STEP
    return west, south, west + STEP, south + STEP


def centre(code: str) -> tuple[float, float]:
    """lat, lon well inside a commune."""
    west, south, east, north = square(code)
    return (south + north) / 2, (west + east) / 2


def synthetic(path: Path) -> Path:
    """Write the squares as GeoJSON."""
    features = []
    for code in codes():
        west, south, east, north = square(code)
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        features.append(
            {
                "type": "Feature",
                "properties": {"code": code, "name": code},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path
