"""Reading forecasts: at most two rows by their keys."""

from uuid import UUID

from app.boundaries.queries import check_location
from app.cases.schemas import UNKNOWN_CATEGORY
from app.catalog.queries import catalogue
from app.catalog.rules import Category, Group
from app.core import clock
from app.core.db import Session
from app.core.http import Lang
from app.forecasts.models import Forecast
from app.forecasts.rules import Outlook, sentence
from app.forecasts.schemas import ForecastOut
from app.orgunits.queries import directory, name_of


def forecast(session: Session, code: str, lat: float, lon: float, language: Lang) -> ForecastOut:
    """How long a report of this category at this place usually takes, and what that rests on.

    Refuses an unknown category, and a place outside the province.
    """
    known = catalogue(session)
    category = known.category(code)
    if category is None or not category.active:
        raise UNKNOWN_CATEGORY.error(category=code, pointer="/query/category")
    commune_id = check_location(session, lat, lon, None, clock.now(), pointer="/query").commune_id
    if commune_id and (row := session.get(Forecast, (code, commune_id))):
        return _shown(session, row, "commune", category, language)
    if (group := known.group(category.group_code)) and (row := _of_group(session, group)):
        return _shown(session, row, "province", group, language)
    text = sentence(None, "", english=language == "en")
    return ForecastOut(text=text, basis="none", n=None, median_hours=None, p90_hours=None, as_of=None)


def _of_group(session: Session, group: Group) -> Forecast | None:
    return session.get(Forecast, (group.code, directory(session).province.id))


def _shown(session: Session, row: Forecast, basis: str, kind: Category | Group, language: Lang) -> ForecastOut:
    english = language == "en"
    what = f"{kind.name_en if english else kind.name_vi}, {_place(session, row.place_id, language)}"
    return ForecastOut.model_validate(
        {
            "text": sentence(Outlook(row.n, row.median_h, row.p90_h), what, english=english),
            "basis": basis,
            "n": row.n,
            "median_hours": row.median_h,
            "p90_hours": row.p90_h,
            "as_of": row.as_of,
        }
    )


def _place(session: Session, unit_id: UUID, language: Lang) -> str:
    unit = directory(session).by_id(unit_id)
    return name_of(unit, language) if unit else ""
