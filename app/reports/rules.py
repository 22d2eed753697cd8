"""Small decisions about evidence. Pure."""

import math
from datetime import datetime, timedelta

from geopy.distance import geodesic

METRES_PER_DEGREE = 111_320.0
OLDEST_PLAUSIBLE = timedelta(days=366)
CLOCK_TOLERANCE = timedelta(minutes=5)
# A pin this far from where the camera says it stood is shown to staff as disagreeing. GPS of a phone that was just
# woken is off by up to some hundred metres, and people report what they see across a street or a field.
FAR_HINT_M = 500.0


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


def far_hint(camera: tuple[float, float], pin: tuple[float, float]) -> float | None:
    """Metres between a camera's own GPS and the pin (lat, lon), when beyond `FAR_HINT_M`; None when near.

    For staff only. Geodesic on WGS 84 (Karney). The pin decides; the hint only says that they disagree.
    """
    metres: float = geodesic(camera, pin).meters
    return metres if metres > FAR_HINT_M else None
