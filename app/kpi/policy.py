"""Who may read measures, and of which units."""

from datetime import date
from uuid import UUID

from app.core.errors import NOT_FOUND
from app.identity.policy import Viewer, require
from app.orgunits.queries import Directory

READERS = ("administrator", "leader", "dispatcher", "lead")


def scope(viewer: Viewer, directory: Directory, unit_code: str | None, on: date) -> frozenset[UUID] | None:
    """The units whose cases are counted; None is the whole province, cases without a unit included.

    Without the right role 403; a unit that does not exist or lies outside the viewer's own is 404.
    """
    require(viewer, *READERS)
    own = viewer.units(READERS, directory)
    if unit_code is None:
        return own
    unit = directory.by_code(unit_code, on)
    if unit is None or (own is not None and unit.id not in own):
        raise NOT_FOUND.error()
    return None if unit.id == directory.province.id else directory.descendants(unit.id)
