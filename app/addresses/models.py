"""What an own geocoder answered, kept for a while."""

from datetime import datetime

from sqlalchemy import DateTime, Text
from sqlmodel import Field, SQLModel


class AddressAnswer(SQLModel, table=True):
    """The street a geocoder named for a cell of about ten metres; empty where it knows none. Names nobody.

    A table and not Redis: its memory belongs to the broker and never evicts, and this must be bounded.
    """

    __tablename__ = "address_answer"

    cell: str = Field(primary_key=True, sa_type=Text)
    street: str = Field(sa_type=Text)
    answered_at: datetime = Field(sa_type=DateTime(timezone=True), index=True)
