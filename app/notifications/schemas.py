"""What notifications show on the wire."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel


class FailedMessageOut(BaseModel):
    """A message that was given up: to whom it was owed and why it failed; never what it said."""

    id: UUID
    template: str
    channel: Literal["push", "sms", "email"]
    account_id: UUID | None
    case_id: UUID | None
    attempts: int
    failure_code: str
    created_at: datetime
