"""The HTTP application: every slice's router, health, metrics."""

import contextlib
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis
from fastapi import APIRouter, FastAPI, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, generate_latest, multiprocess
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from app.addresses import api as addresses_api
from app.assets import api as assets_api
from app.boundaries import api as boundaries_api
from app.boundaries.queries import warm
from app.cases import api as cases_api
from app.cases.queries import may_see_photo
from app.cases.rules import OWED_ROUTING
from app.catalog import api as catalog_api
from app.core import db, doorbell, http
from app.core.config import settings
from app.core.db import transaction
from app.core.errors import CATALOGUE, NOT_FOUND, DomainError, Retry
from app.core.logs import configure_logs
from app.duplicates import api as duplicates_api
from app.duties import api as duties_api
from app.escalations import api as escalations_api
from app.escalations.rules import OWED as OWED_WARNINGS
from app.forecasts import api as forecasts_api
from app.identity import api as identity_api
from app.intake import api as intake_api
from app.kpi import api as kpi_api
from app.media import api as media_api
from app.notifications import actions as notifications
from app.notifications import api as notifications_api
from app.orgunits import api as orgunits_api
from app.proceedings import api as proceedings_api
from app.promises import api as promises_api
from app.reforms import api as reforms_api
from app.routing import api as routing_api
from app.routing.queries import unit_for
from app.seals import api as seals_api
from app.search import api as search_api
from app.surveys import api as surveys_api
from app.teams import api as teams_api
from app.timetables import api as timetables_api
from app.uploads import api as uploads_api

OWED = {
    "routing": f"SELECT count(*) FROM case_file WHERE {OWED_ROUTING}",
    "media": "SELECT count(*) FROM media WHERE state = 'stored' AND delete_requested_at IS NULL",
    "notifications": "SELECT count(*) FROM message WHERE state = 'owed'",
    "search": "SELECT count(*) FROM case_search WHERE stale",
    "escalations": f"SELECT count(*) FROM escalation WHERE {OWED_WARNINGS} AND next_at <= now()",
    "seals": "SELECT count(*) FROM seal_delivery WHERE delivered_at IS NULL",
}


@asynccontextmanager
async def _life(_app: FastAPI) -> AsyncIterator[None]:
    configure_logs()
    _check_database()
    _warm()
    _settle_memory()
    yield
    doorbell.stop()


def _check_database() -> None:
    """Stop a start on an unfit server, or in production as a role that could rewrite history."""
    with contextlib.suppress(OperationalError), transaction() as session:  # not up yet: /readyz says so
        db.check_server(session)
        may_rewrite = session.execute(text("SELECT has_table_privilege('case_event', 'UPDATE')")).scalar_one()
        if may_rewrite and settings().environment == "production":
            raise db.UnfitServer("DATABASE_URL must name the application's role, not the owner of the tables")


def _warm() -> None:
    """Load the boundaries before the first report asks for them."""
    with contextlib.suppress(OperationalError, DomainError), transaction() as session:
        warm(session)


def _settle_memory() -> None:
    """Take what lives as long as the process out of the collector's sight: it would walk all of it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def create_app() -> FastAPI:
    """The application with all routes."""
    # Its pages bring their scripts along: a province's network may reach no other host, and none should be told.
    application = FastAPIOffline(
        redoc_url=None,
        title="phananh",
        version="0.1.0",
        summary="Tiếp nhận và xử lý phản ánh của người dân tỉnh Thái Nguyên",
        lifespan=_life,
        redirect_slashes=False,  # the redirect would name whatever Host the request brought, and forget https
    )
    http.install(application, streamed=frozenset({"/v1/media", "/v1/uploads", "/v1/uploads/"}))
    application.state.send_code = notifications.owe_sign_in_code
    for router in (
        intake_api.router,  # first: FastAPI asks every route before the right one, 60 µs for the busiest of all
        search_api.router,  # before the cases: `search` is no id
        teams_api.router,  # before the cases: `bulk` is no id
        cases_api.router,
        duplicates_api.router,
        promises_api.router,
        proceedings_api.router,
        identity_api.router,
        catalog_api.router,
        boundaries_api.router,
        orgunits_api.router,
        assets_api.router(unit_for),
        addresses_api.router,
        media_api.router(may_see_photo),
        uploads_api.router,
        routing_api.router,
        reforms_api.router,
        surveys_api.router,
        timetables_api.router,
        kpi_api.router,
        forecasts_api.router,
        seals_api.router,
        notifications_api.router,
        duties_api.router,
        escalations_api.router,
    ):
        application.include_router(router)
    application.include_router(_operations())
    return application


def _operations() -> APIRouter:
    """What operators and their tools ask: alive, ready, metrics, what an error code means."""
    router = APIRouter(tags=["operations"])

    @router.get("/healthz", operation_id="healthz", summary="Đang hoạt động")
    def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @router.get(
        "/readyz", operation_id="readyz", summary="Sẵn sàng phục vụ", responses={503: {"description": "Not ready."}}
    )
    def readyz(response: Response) -> dict[str, str]:
        """Whether reports are accepted: the database answers. A missing broker only delays routing: told, not fatal."""
        state = {"database": _database(), "broker": _broker()}
        if state["database"] != "ok":
            response.status_code = 503
        return state

    @router.get("/metrics", operation_id="metrics", summary="Số đo Prometheus", response_class=Response)
    def metrics() -> Response:
        """Requests, their times, and how much work is owed."""
        registry = CollectorRegistry()
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        owed = Gauge("owed_rows", "Rows that wait for a worker.", ["kind"], registry=registry)
        with transaction() as session:
            for kind, query in OWED.items():
                owed.labels(kind).set(session.execute(text(query)).scalar_one())
        own = b"" if "PROMETHEUS_MULTIPROC_DIR" in os.environ else generate_latest(REGISTRY)
        return Response(own + generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/problems/{code}", operation_id="get_problem", summary="Ý nghĩa mã lỗi")
    def get_problem(code: str) -> ProblemOut:
        """What an error code means, in Vietnamese and English, and whether sending again can help."""
        known = CATALOGUE.get(code)
        if known is None:
            raise NOT_FOUND.error()
        return ProblemOut.model_validate(known, from_attributes=True)

    return router


class ProblemOut(BaseModel):
    """One entry of the error catalogue: (title, detail) by language."""

    code: str
    status: int
    vi: list[str]
    en: list[str]
    retry: Retry


def _database() -> str:
    try:
        with transaction() as session:
            session.execute(text("SELECT 1 FROM config_version LIMIT 1"))
    except SQLAlchemyError:
        return "unavailable"
    return "ok"


def _broker() -> str:
    try:
        redis.Redis.from_url(settings().redis_url, socket_timeout=0.5, socket_connect_timeout=0.5).ping()
    except redis.RedisError:
        return "unavailable"
    return "ok"


app = create_app()
