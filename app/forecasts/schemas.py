"""A forecast on the wire."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class ForecastOut(BaseModel):
    """How long it usually took from receipt to the first resolution, in the last twelve months; never a promise."""

    text: str = Field(description="The forecast as a sentence.")
    basis: Literal["commune", "province", "none"] = Field(
        description="`commune`: this category in this commune. `province`: its whole group in the province, where the"
        " commune has too few. `none`: too few there as well, so no number. Clients treat an unknown value as `none`."
    )
    n: int | None = Field(description="Finished cases it rests on; never fewer than 10.")
    median_hours: int | None = Field(
        description="Half of all reports were finished by then, those still waiting counted as longer; null: not yet."
    )
    p90_hours: int | None = Field(description="Nine of ten were.")
    as_of: datetime | None = Field(description="When it was counted.")
