"""Which assets are near a point (from memory), and which bear a code or lie on a map (from the database).

Shapely is loaded with the first asset that is looked up near a point, not with this module.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, or_, text
from sqlmodel import col, select

from app.assets.models import Asset, AssetClass
from app.core import clock
from app.core.db import Session
from app.core.paging import cut, decode_cursor
from app.core.versioned import Versioned

if TYPE_CHECKING:
    from app.assets.rules import NearIndex

ASSETS = "assets"
# About ten kilometres: a city's lamps are listed in pages of a map one looks at, not as a whole province.
MAX_BOX_DEG = 0.1


@dataclass(frozen=True, slots=True)
class Near:
    """An asset near a point; `distance_m` is geodesic to its nearest place. `manager_id` may have ended since."""

    id: UUID
    code: str
    asset_class: str
    name: str
    manager_id: UUID | None
    distance_m: float


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """A class of assets. `landmark`: its names tell people where they are."""

    code: str
    name_vi: str
    name_en: str
    kind: Literal["point", "line"]
    category_code: str | None
    landmark: bool
    active: bool


class Box(NamedTuple):
    """A rectangle in WGS 84 degrees."""

    west: float
    south: float
    east: float
    north: float


def near(
    session: Session,
    lat: float,
    lon: float,
    within_m: float,
    at: datetime,
    *,
    classes: Collection[str] | None = None,
) -> tuple[Near, ...]:
    """The assets in force on the local day of `at` at most `within_m` metres from a point (degrees), nearest first.

    `classes`: only assets of these. Answered from memory, at most two seconds old; free while there are no assets.
    """
    held = _assets.get(session)
    if held.index is None:
        return ()
    day = clock.local_day(at)

    def wanted(number: int) -> bool:
        row = held.rows[number]
        return row.in_force(day) and (classes is None or row.asset_class in classes)

    found = held.index.near(lat, lon, within_m, wanted)
    return tuple(held.rows[number].at_distance(metres) for number, metres in found)


def scanned(session: Session, asset_id: UUID) -> Near | None:
    """An asset whose sticker somebody scanned, as it was then: nothing is nearer."""
    asset = session.get(Asset, asset_id)
    return Near(asset.id, asset.code, asset.asset_class, asset.name, asset.manager_id, 0.0) if asset else None


def asset_classes(session: Session) -> Mapping[str, ClassInfo]:
    """All classes by code in their order, retired ones as well; from memory."""
    return _classes.get(session)


def asset_by_code(session: Session, code: str, day: date) -> Asset | None:
    """The asset that bears a public code on a local day."""
    return session.exec(select(Asset).where(Asset.code == code, *_in_force(day))).first()


def assets_in(
    session: Session, box: Box, day: date, *, asset_class: str | None, cursor: str | None, limit: int
) -> tuple[list[Asset], str | None]:
    """Assets in force whose own box touches `box`, by code; keyset pages."""
    touches = "box(point(west, south), point(east, north)) && box(point(:west, :south), point(:east, :north))"
    statement = (
        select(Asset)
        .where(*_in_force(day), text(touches).bindparams(**box._asdict()))
        .order_by(col(Asset.code))
        .limit(limit + 1)
    )
    if asset_class is not None:
        statement = statement.where(Asset.asset_class == asset_class)
    if cursor is not None:
        (code,) = decode_cursor(cursor, str)
        statement = statement.where(col(Asset.code) > code)
    return cut(session.exec(statement).all(), limit, lambda asset: (asset.code,))


def _in_force(day: date) -> tuple[ColumnElement[bool], ...]:
    return col(Asset.valid_from) <= day, or_(col(Asset.valid_to).is_(None), col(Asset.valid_to) > day)


class _Row(NamedTuple):
    id: UUID
    code: str
    asset_class: str
    name: str
    manager_id: UUID | None
    valid_from: date
    valid_to: date | None

    def in_force(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)

    def at_distance(self, metres: float) -> Near:
        return Near(self.id, self.code, self.asset_class, self.name, self.manager_id, metres)


@dataclass(frozen=True, slots=True)
class _Held:
    rows: list[_Row]
    index: "NearIndex | None"


def _load_assets(session: Session) -> _Held:
    columns = (getattr(Asset, name) for name in (*_Row._fields, "wkb"))
    found = session.execute(select(*columns).order_by(col(Asset.code), col(Asset.valid_from))).all()
    if not found:
        return _Held([], None)
    from app.assets.rules import NearIndex  # noqa: PLC0415 - only who asks what is near loads shapely

    return _Held([_Row(*row[:-1]) for row in found], NearIndex([bytes(row[-1]) for row in found]))


def _load_classes(session: Session) -> Mapping[str, ClassInfo]:
    names = ClassInfo.__dataclass_fields__
    columns = (getattr(AssetClass, name) for name in names)
    rows = session.execute(select(*columns).order_by(col(AssetClass.position), col(AssetClass.code)))
    return {row.code: ClassInfo(*row) for row in rows}


_assets: Versioned[_Held] = Versioned(ASSETS, _load_assets)
_classes: Versioned[Mapping[str, ClassInfo]] = Versioned(ASSETS, _load_classes)
