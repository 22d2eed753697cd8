"""Rules that override the category's own answer."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, DateTime, SmallInteger, Text
from sqlmodel import Field, SQLModel


class RoutingRule(SQLModel, table=True):
    """category or group × area × valid period × priority → unit. The highest priority that matches wins."""

    __tablename__ = "routing_rule"
    __table_args__ = (
        CheckConstraint("num_nonnulls(category_code, group_code) = 1", name="routing_rule_subject"),
        CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="routing_rule_period"),
    )

    id: UUID = Field(primary_key=True)
    category_code: str | None = Field(default=None, foreign_key="category.code", sa_type=Text)
    group_code: str | None = Field(default=None, foreign_key="category_group.code", sa_type=Text)
    commune_id: UUID | None = Field(default=None, foreign_key="unit.id")
    unit_id: UUID = Field(foreign_key="unit.id")
    priority: int = Field(default=100, sa_type=SmallInteger)
    valid_from: date = Field(sa_type=Date)
    valid_to: date | None = Field(default=None, sa_type=Date)
    note: str = Field(default="", sa_type=Text)
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
