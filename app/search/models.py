"""What cases are found by, written behind their histories: intake pays nothing for it (docs/adr/0115)."""

from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Index, Integer, SmallInteger, Text, text
from sqlmodel import Column, Field, SQLModel

from app.cases.models import Xid8


class CaseSearch(SQLModel, table=True):
    """A case's words as staff may search them, and the published ones (None: nothing is); as of its `version`.

    Triggers empty a row, and make it `stale`, in the transaction that changes or deletes a text it was made from.
    No foreign key: checking it would lock the case, and the router passes over what is locked.
    """

    __tablename__ = "case_search"
    __table_args__ = (
        Index(
            "case_search_staff", "staff_words", postgresql_using="gin", postgresql_ops={"staff_words": "gin_trgm_ops"}
        ),
        Index(
            "case_search_public",
            "public_words",
            postgresql_using="gin",
            postgresql_ops={"public_words": "gin_trgm_ops"},
            postgresql_where=text("public_words IS NOT NULL"),
        ),
        Index("case_search_stale", "case_id", postgresql_where=text("stale")),
    )

    case_id: UUID = Field(primary_key=True)
    version: int = Field(sa_type=Integer)
    stale: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    staff_words: str = Field(sa_type=Text)
    public_words: str | None = Field(default=None, sa_type=Text)


class SearchCursor(SQLModel, table=True):
    """Up to which event, in the commit-safe order, cases have been written; one row."""

    __tablename__ = "search_cursor"

    id: int = Field(default=1, sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    xid: int = Field(sa_type=Xid8)
    pos: int = Field(sa_type=BigInteger)
