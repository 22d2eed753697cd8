"""Reading the catalogue: one immutable value per process, loaded again when the pack was."""

from dataclasses import fields
from typing import TypeVar

from sqlmodel import SQLModel, col, select

from app.catalog.models import (
    AppVersionRow,
    CategoryGroupRow,
    CategoryRow,
    ConsentTextRow,
    EmergencyNumberRow,
    FeatureSwitchRow,
    ProvinceRow,
    RejectCodeRow,
    TermRow,
)
from app.catalog.rules import Catalogue, Category, Consent, EmergencyNumber, Group, Province, RejectCode
from app.core.db import Session
from app.core.versioned import Versioned

V = TypeVar("V", Group, Category, Consent, EmergencyNumber)


def catalogue(session: Session) -> Catalogue:
    """The catalogue in force, at most two seconds old."""
    return _CATALOGUE.get(session)


def _load(session: Session) -> Catalogue:
    province = session.get(ProvinceRow, 1)
    hotline = province.hotline if province else ""
    numbers = select(EmergencyNumberRow).where(EmergencyNumberRow.active).order_by(col(EmergencyNumberRow.position))
    return Catalogue(
        groups=[
            _value(Group, row)
            for row in session.exec(select(CategoryGroupRow).order_by(col(CategoryGroupRow.position)))
        ],
        categories=[
            _value(Category, row, emergency_numbers=tuple(row.emergency_numbers))
            for row in session.exec(select(CategoryRow).order_by(col(CategoryRow.position)))
        ],
        reject_codes=[
            _reject_code(row, hotline)
            for row in session.exec(select(RejectCodeRow).order_by(col(RejectCodeRow.position)))
        ],
        province=_province(province) if province else None,
        consents=[_value(Consent, row) for row in session.exec(select(ConsentTextRow))],
        emergency_numbers=[_value(EmergencyNumber, row) for row in session.exec(numbers)],
        minimum_versions={row.platform: row.minimum for row in session.exec(select(AppVersionRow))},
        features={
            row.code: row.enabled for row in session.exec(select(FeatureSwitchRow).order_by(col(FeatureSwitchRow.code)))
        },
        terms={row.code: row.days for row in session.exec(select(TermRow))},
    )


_CATALOGUE = Versioned("catalog", _load)


def _value(kind: type[V], row: SQLModel, **given: object) -> V:
    """The row as an immutable value: fields of equal name, unless given."""
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)} | given)


def _reject_code(row: RejectCodeRow, hotline: str) -> RejectCode:
    return RejectCode(
        code=row.code,
        name_vi=row.name_vi,
        name_en=row.name_en,
        turn_to_vi=row.turn_to_vi.replace("{hotline}", hotline),
        turn_to_en=row.turn_to_en.replace("{hotline}", hotline),
        active=row.active,
    )


def _province(row: ProvinceRow) -> Province:
    return Province(row.code, row.name_vi, row.name_en, (row.west, row.south, row.east, row.north), row.hotline)
