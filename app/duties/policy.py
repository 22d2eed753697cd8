"""Who may enter duties and who may see them."""

from uuid import UUID

from app.core.errors import FORBIDDEN
from app.identity.policy import Tree, Viewer

MANAGERS = ("administrator", "lead")
# Those who read the whole roster; leads and officers read that of their units.
PROVINCE_READERS = ("administrator", "dispatcher")
UNIT_READERS = ("lead", "officer")


def manages(viewer: Viewer, unit_id: UUID | None, directory: Tree) -> bool:
    """Whether somebody enters and takes back this roster: administrators any, leads that of the own unit and below."""
    if viewer.has("administrator"):
        return True
    units = viewer.units(("lead",), directory)
    return units is None or (unit_id is not None and unit_id in units)


def readable_units(viewer: Viewer, directory: Tree) -> frozenset[UUID] | None:
    """The units whose roster somebody may read, beside the province's; None: all of them. Others are refused."""
    if viewer.has(*PROVINCE_READERS):
        return None
    if not viewer.has(*UNIT_READERS):
        raise FORBIDDEN.error()
    return viewer.units(UNIT_READERS, directory)
