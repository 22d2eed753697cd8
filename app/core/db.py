"""The database: one engine, one Session type, one place that commits."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Annotated, Any, cast

import psycopg
from fastapi import Depends
from psycopg.errors import UniqueViolation
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from app.core import doorbell
from app.core.config import settings

__all__ = ["Db", "NotUnique", "Session", "dispose", "engine", "execute", "owe", "statements", "transaction"]

_OWED = "owed_kinds"
_EACH_ALONE = "each_statement_alone"


@lru_cache
def engine() -> Engine:
    """The pool of this process. Larger than the thread pool would wait on otherwise; stale connections are replaced."""
    return create_engine(
        sqlalchemy_url(settings().database_url),
        pool_size=settings().pool_size,
        max_overflow=20,
        pool_pre_ping=False,
        pool_use_lifo=True,  # the connection used last: its server process still has everything in its caches
        pool_timeout=10,
        hide_parameters=True,  # errors are logged, and bound values are personal
        connect_args={"prepare_threshold": 2, "application_name": "phananh"},
    )


@lru_cache
def _autocommitting() -> Engine:
    """The same pool without transactions around statements."""
    return engine().execution_options(isolation_level="AUTOCOMMIT")


def sqlalchemy_url(url: str) -> str:
    """`postgresql://…` with our driver named."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def dispose(*, inherited: bool = False) -> None:
    """Close the pool and forget it; one inherited through a fork is only forgotten, the parent still uses it."""
    engine().dispose(close=not inherited)
    engine.cache_clear()
    _autocommitting.cache_clear()


class UnfitServer(Exception):
    """The database server cannot hold our data as promised; the text says what to change."""


OLDEST_SERVER = 170_000


def check_server(session: Session) -> None:
    """Refuse a server that is too old, or whose locale does not know Vietnamese letters (search would drop them)."""
    version, encoding, folds = session.execute(
        text("SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), lower('Đ') = 'đ'")
    ).one()
    if version < OLDEST_SERVER:
        raise UnfitServer(f"PostgreSQL {version // 10_000} is too old: 17 or newer is needed")
    if encoding != "UTF8" or not folds:
        raise UnfitServer("the database needs encoding UTF8 and an LC_CTYPE that knows Vietnamese, such as C.UTF-8")


def owe(session: Session, kind: str) -> None:
    """Say that this transaction leaves work of `kind` behind; the doorbell rings once it is committed."""
    session.info.setdefault(_OWED, set()).add(kind)


_bound: Connection | None = None


@contextmanager
def bound_to(connection: Connection) -> Iterator[None]:
    """Let every transaction of this process join `connection` by savepoint (tests that roll back)."""
    global _bound  # noqa: PLW0603 - threads of the server under test must see it, so no context variable
    _bound = connection
    try:
        yield
    finally:
        _bound = None


def _new_session() -> Session:
    if _bound is not None:
        return Session(_bound, expire_on_commit=False, join_transaction_mode="create_savepoint")
    return Session(engine(), expire_on_commit=False)


@contextmanager
def transaction() -> Iterator[Session]:
    """One unit of work: committed here, rolled back on any error, the doorbell rung after the commit.

    Beside it only `statements` writes, one statement at a time.
    """
    with _new_session() as session:
        yield session
        session.commit()
        _ring(session)


def _ring(session: Session) -> None:
    for kind in session.info.pop(_OWED, ()):
        doorbell.ring(kind)


class NotUnique(Exception):
    """A row with the same unique value was stored meanwhile; nothing of these statements was."""


Rows = Sequence[tuple[Any, ...]]
Statement = tuple[str, Mapping[str, Any]]


@contextmanager
def statements() -> Iterator[Session]:
    """A session without a transaction around it, for who writes by one call of `execute`.

    Without BEGIN and COMMIT the busiest road takes one round trip instead of three (docs/adr/0101). Nothing is rolled
    back when something later fails.
    """
    if _bound is not None:
        with transaction() as session:
            yield session
        return
    with Session(_autocommitting(), expire_on_commit=False) as session:
        session.info[_EACH_ALONE] = True
        yield session
        _ring(session)


def execute(session: Session, asked: Sequence[Statement]) -> Rows:
    """Execute statements of ours (psycopg's placeholders), all or none, and return the one row of each.

    In a session of `statements` they are committed when this returns.
    """
    if not asked:
        return []
    try:
        if session.info.get(_EACH_ALONE):
            session.rollback()  # gives back the connection that reading configuration may have taken
            return _execute_alone(asked)
        connection = session.connection()
        return [tuple(connection.exec_driver_sql(sql, dict(values)).one()) for sql, values in asked]
    except UniqueViolation as error:
        raise NotUnique from error
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation):
            raise NotUnique from error
        raise


def _execute_alone(asked: Sequence[Statement]) -> Rows:
    """Straight through the driver: SQLAlchemy's way to a single row costs four times the driver's own."""
    pooled = engine().raw_connection()
    connection = cast("psycopg.Connection[tuple[Any, ...]]", pooled.driver_connection)
    try:
        connection.autocommit = True
        # What a pipeline holds is one transaction to the server, and one round trip.
        with connection.pipeline() if len(asked) > 1 else nullcontext():
            cursors = [connection.execute(sql, values) for sql, values in asked]
        rows = [row for cursor in cursors if (row := cursor.fetchone()) is not None]
        connection.autocommit = False
    except psycopg.Error:
        if connection.closed:
            engine().dispose()  # whatever ended this connection has ended the idle ones as well
        # Even where it lives: after a broken pipeline the driver believes in statements that were never prepared.
        pooled.invalidate()
        raise
    finally:
        pooled.close()
    return rows


def _session() -> Iterator[Session]:
    with transaction() as session:
        yield session


# scope="function": the commit happens before the answer leaves, so a refused commit is never a 2xx.
Db = Annotated[Session, Depends(_session, scope="function")]
