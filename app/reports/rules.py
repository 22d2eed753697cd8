"""Small decisions about evidence. Pure."""

import math
from datetime import datetime, timedelta

METRES_PER_DEGREE = 111_320.0
OLDEST_PLAUSIBLE = timedelta(days=366)
CLOCK_TOLERANCE = timedelta(minutes=5)


def plausible(moment: datetime | None, received_at: datetime) -> datetime | None:
    """A phone's own time where it can be believed: not in the future, not older than a year; otherwise None.

    A wrong clock never refuses a report; it only loses its say. The deadline runs from `received_at` anyway.
    """
    if moment is None:
        return None
    try:
        age = received_at - moment
    except OverflowError:
        return None
    return moment if -CLOCK_TOLERANCE <= age <= OLDEST_PLAUSIBLE else None


def coarsened(lat: float, lon: float, metres: int) -> tuple[float, float]:
    """The centre of the square of `metres` that holds the point (WGS 84 degrees); the point itself when 0."""
    if metres <= 0:
        return lat, lon
    step_lat = metres / METRES_PER_DEGREE
    row = math.floor(lat / step_lat)
    centre_lat = (row + 0.5) * step_lat
    step_lon = metres / (METRES_PER_DEGREE * math.cos(math.radians(centre_lat)))
    return centre_lat, (math.floor(lon / step_lon) + 0.5) * step_lon
