"""Assets in time, their classes, and the deliveries they came with."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Double, Index, Integer, LargeBinary, SmallInteger, Text, text
from sqlmodel import Field, SQLModel

import app.catalog.models
import app.orgunits.models  # noqa: F401 - the tables referred to below
from app.catalog.models import SLUG


class AssetClass(SQLModel, table=True):
    """A kind of asset, like `quoc_lo`. `landmark`: its names tell people where they are."""

    __tablename__ = "asset_class"
    __table_args__ = (
        CheckConstraint(f"code ~ '{SLUG}'", name="ck_asset_class_code"),
        CheckConstraint("kind IN ('point', 'line')", name="ck_asset_class_kind"),
    )

    code: str = Field(primary_key=True, sa_type=Text)
    name_vi: str = Field(sa_type=Text)
    name_en: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    category_code: str | None = Field(default=None, foreign_key="category.code", sa_type=Text)
    landmark: bool = False
    position: int = Field(sa_type=SmallInteger)
    active: bool = True


class AssetImport(SQLModel, table=True):
    """One delivery that changed something: all assets of a class that a source knows on a day."""

    __tablename__ = "asset_import"
    __table_args__ = (
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="ck_asset_import_sha256"),
        Index("ix_asset_import_of_source", "asset_class", "source", "effective_from"),
    )

    id: UUID = Field(primary_key=True)
    asset_class: str = Field(foreign_key="asset_class.code", sa_type=Text)
    source: str = Field(sa_type=Text)
    sha256: str = Field(sa_type=Text)
    effective_from: date
    imported_at: datetime = Field(sa_type=DateTime(timezone=True))
    delivered: int = Field(sa_type=Integer)
    added: int = Field(sa_type=Integer)
    changed: int = Field(sa_type=Integer)
    ended: int = Field(sa_type=Integer)


class Asset(SQLModel, table=True):
    """A road, lamp or manhole in one period of its existence: WKB in WGS 84, x = longitude, y = latitude.

    What changes is a new row with the same public `code` and the source's own `ref`; the row before it ends that day.
    A row that ends on its first day was a mistake of a delivery and was never in force.
    """

    __tablename__ = "asset"
    __table_args__ = (
        CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="ck_asset_period"),
        CheckConstraint("west <= east AND south <= north", name="ck_asset_box"),
        Index("uq_asset_code", "code", unique=True, postgresql_where=text("valid_to IS NULL")),
        Index("uq_asset_ref", "asset_class", "source", "ref", unique=True, postgresql_where=text("valid_to IS NULL")),
        Index("ix_asset_code_valid_from", "code", "valid_from"),
        Index("ix_asset_place", text("box(point(west, south), point(east, north))"), postgresql_using="gist"),
    )

    id: UUID = Field(primary_key=True)
    code: str = Field(sa_type=Text)
    asset_class: str = Field(foreign_key="asset_class.code", sa_type=Text)
    source: str = Field(sa_type=Text)
    ref: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    manager_id: UUID | None = Field(default=None, foreign_key="unit.id")
    category_code: str | None = Field(default=None, foreign_key="category.code", sa_type=Text)
    wkb: bytes = Field(sa_type=LargeBinary)
    # A place on the asset itself: where a report begins that was made from its sticker.
    lat: float = Field(sa_type=Double)
    lon: float = Field(sa_type=Double)
    west: float = Field(sa_type=Double)
    south: float = Field(sa_type=Double)
    east: float = Field(sa_type=Double)
    north: float = Field(sa_type=Double)
    valid_from: date
    valid_to: date | None = None
    import_id: UUID = Field(foreign_key="asset_import.id")
