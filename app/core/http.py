"""How the product speaks HTTP: problems, request ids, languages, limits on bodies."""

import re
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import uuid4

import psycopg
import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import Counter, Histogram
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import (
    FORBIDDEN,
    INTERNAL,
    INVALID,
    MALFORMED,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    TOO_LARGE,
    UNAUTHENTICATED,
    UNAVAILABLE,
    DomainError,
)

log = structlog.get_logger("http")

Lang = Literal["vi", "en"]
PROBLEM = "application/problem+json"
# Of every body but those of `streamed` paths.
MAX_BODY_BYTES = 64 * 1024

REQUESTS = Counter("http_requests_total", "Answered requests.", ["method", "route", "status"])
SECONDS = Histogram(
    "http_request_seconds",
    "Time to answer a request.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)


def language(request: Request) -> Lang:
    """Vietnamese unless the caller asks for English first."""
    wanted = request.headers.get("accept-language", "").lower()
    return "en" if wanted.startswith("en") else "vi"


# async without awaiting anything: a plain function would cost a hop to a thread on the hot path.
async def _language(request: Request) -> Lang:
    return language(request)


Language = Annotated[Lang, Depends(_language)]


def problem(request: Request, error: DomainError, errors: Sequence[dict[str, Any]] = ()) -> JSONResponse:
    """`error` as RFC 9457, in the caller's language."""
    lang = language(request)
    body = problem_body(error, lang, errors) | {"request_id": request.scope.get("request_id", "")}
    headers = {"Content-Language": lang, "Cache-Control": "no-store", **error.headers}
    return JSONResponse(body, error.problem.status, headers, media_type=PROBLEM)


def problem_body(error: DomainError, lang: Lang, errors: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """What a problem document says, where it stands inside of another answer."""
    title, detail = error.problem.vi if lang == "vi" else error.problem.en
    body: dict[str, Any] = {
        "type": f"/problems/{error.problem.code}",
        "code": error.problem.code,
        "status": error.problem.status,
        "title": title,
        "detail": detail.format_map(_Params(error.params)),
        "retry": error.problem.retry,
        **error.extra,
    }
    if error.pointer:
        errors = [*errors, {"pointer": error.pointer, "code": error.problem.code, "params": _plain(error.params)}]
    if errors:
        body["errors"] = list(errors)
    return body


def unexpected(request: Request, error: Exception) -> JSONResponse:
    """A fault of ours: recorded under the request's id, with nothing of it told."""
    log.error("unexpected", exc_info=error)
    return problem(request, INTERNAL.error(request_id=request.scope.get("request_id", "")))


class _Params(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "…"


def _plain(params: dict[str, object]) -> dict[str, object]:
    return {name: value if isinstance(value, int | float | bool) else str(value) for name, value in params.items()}


def install(app: FastAPI, *, streamed: frozenset[str] = frozenset()) -> None:
    """Make every refusal of `app` a problem document, give every request an id and every body a limit.

    The paths of `streamed`, and what lies under those that end in a slash, count the bytes of their bodies
    themselves, while they come in.
    """

    @app.exception_handler(DomainError)
    def _domain(request: Request, error: DomainError) -> JSONResponse:
        return problem(request, error)

    @app.exception_handler(RequestValidationError)
    def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        if any(item["type"] == "json_invalid" for item in found):
            return problem(request, MALFORMED.error())
        return problem(request, INVALID.error(), [_field(item) for item in found[:20]])

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        known = {401: UNAUTHENTICATED, 403: FORBIDDEN, 404: NOT_FOUND, 405: METHOD_NOT_ALLOWED, 413: TOO_LARGE}
        kind = known.get(error.status_code, MALFORMED)
        return problem(request, kind.error(headers=dict(error.headers or {}), limit_bytes=MAX_BODY_BYTES))

    @app.exception_handler(PoolTimeout)
    @app.exception_handler(DBAPIError)
    @app.exception_handler(psycopg.OperationalError)
    def _database(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, DBAPIError) and not _is_passing(error):
            return unexpected(request, error)
        log.warning("database_unavailable", error=type(error).__name__)
        return problem(request, UNAVAILABLE.error(headers={"Retry-After": "5"}))

    app.add_middleware(RequestEnvelope, streamed=streamed)


_PASSING = (psycopg.OperationalError, psycopg.InterfaceError)


def _is_passing(error: DBAPIError) -> bool:
    """Lost connections, shut-downs, lock time-outs and serialisation failures pass; a broken statement does not."""
    return isinstance(error.orig, _PASSING)


def _field(item: dict[str, Any]) -> dict[str, Any]:
    """One pydantic finding in our words. The value itself is never echoed: it may be personal."""
    # RFC 6901, so that a client's own key with a slash in it does not point elsewhere.
    location = [str(part).replace("~", "~0").replace("/", "~1") for part in item["loc"] if part != "body"]
    context = item.get("ctx") or {}
    params = {name: value for name, value in context.items() if isinstance(value, int | float | str | bool)}
    params.pop("error", None)  # a parser's own words quote characters of the value
    code = params.pop("code", None) or item["type"]
    return {"pointer": "/" + "/".join(location), "code": code, "params": params}


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """`receive` that stops reading a body past the limit: 413 before memory is spent on it."""
    headers = dict(scope["headers"])
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES or int(headers.get(b"content-length", b"0") or 0) > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message

    return counted


_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestEnvelope:
    """Pure ASGI: a request id from the phone or of our own, one log line and two metrics per request, body limits."""

    def __init__(self, app: ASGIApp, streamed: frozenset[str]) -> None:
        self.app, self.streamed = app, streamed
        self.folders = tuple(path for path in streamed if path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        request_id = given if _SAFE_ID.fullmatch(given) else uuid4().hex
        scope["request_id"] = request_id
        status, answering = 500, False
        structlog.contextvars.bind_contextvars(request_id=request_id)

        async def tagged(message: Message) -> None:
            nonlocal status, answering
            if message["type"] == "http.response.start":
                status, answering = message["status"], True
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        try:
            path = scope["path"]
            streams = path in self.streamed or path.startswith(self.folders)
            await self.app(scope, receive if streams else _bounded(scope, receive), tagged)
        except Exception as error:
            if answering:  # too late to say so: the server cuts the connection
                raise
            # Here, where the fault is logged and answered under the request's id, and not one layer further out.
            await unexpected(Request(scope), error)(scope, receive, tagged)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            REQUESTS.labels(scope["method"], route, status).inc()
            SECONDS.labels(scope["method"], route).observe(seconds)
            log.info("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))
            structlog.contextvars.unbind_contextvars("request_id")
