"""Forecasts over HTTP. Open to everybody: asked before a report is sent, and nothing of a few is told."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.core.db import Db
from app.core.http import Language
from app.forecasts import queries
from app.forecasts.schemas import ForecastOut

router = APIRouter(prefix="/v1", tags=["reports"])
_Degrees = Query(allow_inf_nan=False, description="WGS 84 degrees.")


@router.get("/forecast", operation_id="get_forecast", summary="Thường mất bao lâu")
def get_forecast(
    session: Db,
    language: Language,
    category: Annotated[str, Query(min_length=1, max_length=60, examples=["den_duong"])],
    lat: Annotated[float, _Degrees],
    lon: Annotated[float, _Degrees],
) -> ForecastOut:
    """How long reports like this one took, here and in the last twelve months; too few: no number, and it says so."""
    return queries.forecast(session, category, lat, lon, language)
