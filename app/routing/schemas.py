"""Routing on the wire."""

from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.cases.schemas import UnitOut
from app.core.packfile import PackModel
from app.reports.schemas import LocationIn


class DryRunIn(BaseModel):
    """A place and a category, as a report would carry them."""

    model_config = ConfigDict(extra="forbid")

    category: Annotated[str, Field(min_length=1, max_length=60)]
    location: LocationIn | None = None
    commune: Annotated[str, Field(max_length=20)] | None = None


class StepOut(BaseModel):
    """One step of the explanation."""

    step: str
    found: str


class BoundaryOut(BaseModel):
    """Whose line was used, and how far it can be trusted."""

    source: str
    accuracy: str
    effective_from: str


class DecisionOut(BaseModel):
    """Where a report would go and why. `unit` null: a dispatcher would decide, `suggested` is the machine's guess."""

    unit: UnitOut | None
    suggested: UnitOut | None
    reason: str
    reason_text: str
    commune: UnitOut | None
    candidates: list[UnitOut]
    rule_id: UUID | None
    boundary: BoundaryOut | None
    steps: list[StepOut]


class RuleEntry(PackModel):
    """One row of routing.yaml; without `communes` it holds in the whole province."""

    category: str | None = None
    group: str | None = None
    communes: Annotated[list[str], Field(min_length=1)] | None = None
    unit: str
    valid_from: date
    valid_to: date | None = None
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    note: str = ""
    belief: bool = False

    @model_validator(mode="after")
    def _is_sound(self) -> "RuleEntry":
        if (self.category is None) == (self.group is None):
            raise ValueError("name either a category or a group")
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError("the period is empty")
        return self


class RulesFile(PackModel):
    """routing.yaml."""

    rules: list[RuleEntry]
