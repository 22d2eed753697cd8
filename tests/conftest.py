"""The ground every test stands on: a real PostgreSQL and a real Valkey, migrated by the real migrations."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from fastapi.testclient import TestClient
from sqlalchemy import Connection

from app.core import db, doorbell, limits, storage, versioned
from app.core.config import settings
from app.core.db import Session
from app.embedded import Database, Postgres, Valkey, start_postgres, start_valkey
from tests.support import places

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TEMPLATE = "template_phananh"
# Why a test may be skipped under CI=true.
ALLOWED_SKIPS = ("needs root", "no mounts in a user namespace here")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One server per test process; loses its data in a power cut, and nowhere else."""
    with start_postgres(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    # On a busy machine even a server that is well needs more than 50 ms at times, and counts would begin anew.
    with pytest.MonkeyPatch.context() as patch, start_valkey(tmp_path_factory.mktemp("valkey")) as server:
        patch.setattr(limits, "_TIMEOUT_S", 1.0)
        yield server


@pytest.fixture(scope="session")
def template(postgres: Postgres, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """A migrated database with the pack and surveyed (synthetic) boundaries, to be copied and never used."""
    from alembic import command  # noqa: PLC0415

    from app.cli import alembic_config, load_pack  # noqa: PLC0415 - reads the settings made here
    from app.surveys.actions import import_boundaries  # noqa: PLC0415

    database = postgres.create_database(TEMPLATE)
    var = tmp_path_factory.mktemp("var")
    _settle(database, valkey, var)
    command.upgrade(alembic_config(), "head")
    with db.transaction() as session:
        list(load_pack(session, settings().province_pack))
    with db.transaction() as session:
        import_boundaries(
            session,
            places.synthetic(var / "synthetic.geojson"),
            effective_from=places.EFFECTIVE,
            source="synthetic squares",
            licence="none",
            note="tests",
        )
    db.dispose()
    return database


@pytest.fixture(scope="session")
def shared_database(postgres: Postgres, template: Database) -> Database:
    """The database of all tests that roll back."""
    return postgres.create_database("shared_phananh", TEMPLATE)


@pytest.fixture
def connection(
    shared_database: Database, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Connection]:
    """One connection in a transaction that is rolled back; every Session of the product joins it by savepoint."""
    _settle(shared_database, valkey, tmp_path_factory.getbasetemp() / "var")
    with db.engine().connect() as connection:
        outer = connection.begin()
        with db.bound_to(connection):
            yield connection
        if outer.is_active:
            outer.rollback()


@pytest.fixture
def session(connection: Connection) -> Iterator[Session]:
    with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
        yield session


@pytest.fixture
def client(connection: Connection) -> Iterator[TestClient]:
    """The whole application over HTTP, on the connection that is rolled back."""
    from app.main import app  # noqa: PLC0415 - reads the settings made above

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def committed(
    postgres: Postgres, template: Database, valkey: Valkey, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Database]:
    """A database of one's own whose transactions really commit: for locks, races and processes."""
    with own_database(request.node.nodeid, postgres, valkey, tmp_path / "var") as database:
        yield database


@pytest.fixture(scope="module")
def committed_together(
    postgres: Postgres,
    template: Database,
    valkey: Valkey,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Database]:
    """The same, once for all tests of a module that one process runs."""
    with own_database(request.node.nodeid, postgres, valkey, tmp_path_factory.mktemp("var")) as database:
        yield database


@contextmanager
def own_database(user: str, postgres: Postgres, valkey: Valkey, var: Path) -> Iterator[Database]:
    """A copy of the template for `user`, which this process works on until it is dropped."""
    name = f"test_{abs(hash(user)):x}"
    database = postgres.create_database(name, TEMPLATE)
    _settle(database, valkey, var)
    yield database
    doorbell.stop()
    db.dispose()
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real polygons and photos, where they are at hand."""
    if not SHARED.exists():
        pytest.skip("needs ../shared/data")
    return SHARED


def _settle(database: Database, valkey: Valkey, var: Path) -> None:
    """Point the product of this process at these servers and forget what it remembers of others."""
    redis.Redis.from_url(valkey.url).flushall()
    limits.forget()
    versioned.forget_all()
    if os.environ.get("DATABASE_URL") == database.app_url:
        return
    os.environ |= {
        "DATABASE_URL": database.app_url,
        "OWNER_DATABASE_URL": database.owner_url,
        "REDIS_URL": valkey.url,
        "PHANANH_VAR_DIR": str(var),
        "PHANANH_LOG_LEVEL": "WARNING",
    }
    var.mkdir(parents=True, exist_ok=True)
    settings.cache_clear()
    doorbell.stop()
    db.dispose()
    storage.store.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that start processes: they take long, and what is short fills the time at the end."""
    items.sort(key=lambda item: item.get_closest_marker("processes") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With CI=true a skip outside the allow-list is a failure: a test that silently does not run proves nothing."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(allowed in reason for allowed in ALLOWED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"skipped under CI: {reason}"
    return report
