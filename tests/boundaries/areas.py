"""Areas to look points up in: a crooked province of our own, and the real one."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

COLUMNS, ROWS, STEP, WEST, SOUTH = 5, 4, 0.04, 105.7, 21.5


@lru_cache
def crooked() -> dict[str, BaseGeometry]:
    """20 communes with wavy borders that neighbours share, an exclave, an enclave, a hairline overlap and a gap."""
    corner = np.random.default_rng(42).uniform(-0.004, 0.004, (COLUMNS + 1, ROWS + 1, 2))

    def node(column: int, row: int) -> tuple[float, float]:
        return (
            WEST + column * STEP + float(corner[column, row, 0]),
            SOUTH + row * STEP + float(corner[column, row, 1]),
        )

    def side(one: tuple[int, int], other: tuple[int, int]) -> list[tuple[float, float]]:
        """A wavy line from node to node, the same points from either end; without its last point."""
        low, high = sorted((one, other))
        start, end = np.array(node(*low)), np.array(node(*high))
        along = np.linspace(0, 1, 40)[:, None]
        bend = 0.0015 * np.sin(along * np.pi * (3 + sum(low) % 3))
        across = np.array((start[1] - end[1], end[0] - start[0])) / np.hypot(*(end - start))
        line = start + along * (end - start) + bend * across
        points = [(float(x), float(y)) for x, y in (line if one == low else line[::-1])]
        return points[:-1]

    cells: list[BaseGeometry] = []
    for column in range(COLUMNS):
        for row in range(ROWS):
            corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)]
            ring = [
                point
                for one, other in zip(corners, corners[1:] + corners[:1], strict=True)
                for point in side(one, other)
            ]
            cells.append(shapely.Polygon(ring))
    areas = {f"{100 + place:05d}": cell for place, cell in enumerate(cells)}
    inner = areas["00106"].representative_point()
    hole = inner.buffer(0.005)
    areas["00106"] -= hole
    areas["00119"] |= hole
    far = areas["00105"].representative_point().buffer(0.004)
    areas["00105"] -= far.buffer(0.0005)
    areas["00100"] |= far
    areas["00111"] = areas["00111"].buffer(1e-6)
    return areas


def real_areas(data: Path) -> dict[str, BaseGeometry]:
    """The 92 communes of today."""
    document = json.loads((data / "thai_nguyen_communes_2025.geojson").read_text())
    return {feature["properties"]["code"]: shape(feature["geometry"]) for feature in document["features"]}
