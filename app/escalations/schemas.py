"""What escalations say on the wire."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field


class StuckOut(BaseModel):
    """A warning that failed too often to be tried again: somebody must look at the case, and at the failure."""

    case_id: UUID
    reference: str
    kind: str = Field(description="The clock; `triage` a stay without a unit, `urgent` the page for an urgent case.")
    level: Literal[0, 80, 100]
    due_at: datetime | None
    attempts: int
    failure: str | None = Field(description="The kind of error of the last try.")
