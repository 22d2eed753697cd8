"""Where Vietnam lies, and how long a degree is there. Arguments are (lat, lon) in WGS 84 degrees."""

import math

# West, south, east, north of Vietnam with its islands.
VIETNAM = (102.0, 7.0, 118.0, 24.0)


def in_vietnam(lat: float, lon: float) -> bool:
    """Whether a point lies in the country's box."""
    west, south, east, north = VIETNAM
    return south <= lat <= north and west <= lon <= east


def is_swapped(lat: float, lon: float) -> bool:
    """Whether a point lies far from Vietnam, and would lie in it with its numbers exchanged."""
    return not in_vietnam(lat, lon) and in_vietnam(lon, lat)


def metres_per_degree(lat: float) -> tuple[float, float]:
    """Metres per degree of longitude and of latitude at `lat` on the WGS 84 ellipsoid (series of its arcs)."""
    phi = math.radians(lat)
    of_lon = 111412.84 * math.cos(phi) - 93.5 * math.cos(3 * phi) + 0.118 * math.cos(5 * phi)
    of_lat = 111132.92 - 559.82 * math.cos(2 * phi) + 1.175 * math.cos(4 * phi)
    return of_lon, of_lat
