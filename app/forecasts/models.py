"""What was counted last. A place and a kind with too few finished cases has no row: nothing small is stored."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Text
from sqlmodel import Field, SQLModel

from app.forecasts.rules import LEAST


class Forecast(SQLModel, table=True):
    """How long one category took in one commune, or one group in the province; counted at `as_of`."""

    __tablename__ = "forecast"
    __table_args__ = (CheckConstraint(f"n >= {LEAST}", name="forecast_not_of_a_few"),)

    code: str = Field(primary_key=True, sa_type=Text, description="of a category, or of a group for the province")
    place_id: UUID = Field(primary_key=True, foreign_key="unit.id")
    n: int
    median_h: int | None = None
    p90_h: int | None = None
    as_of: datetime = Field(sa_type=DateTime(timezone=True))
