"""How every refusal looks: one shape, two languages, a request id to ask about, and never a value sent in."""

import pkgutil
import string
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import select
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.core import errors, http
from app.core.config import ROOT
from app.core.db import Session
from app.core.errors import CATALOGUE, Problem
from app.main import app
from app.reports.models import Report
from tests.support import make

MEMBERS = {"type", "code", "status", "title", "detail", "retry", "request_id"}
TEAPOT = Problem(
    "test_teapot", 418, vi=("Ấm trà", "Cần {what} và {missing}."), en=("Teapot", "Needs {what}, {missing}.")
)
del CATALOGUE[TEAPOT.code]
SECRET = "Nguyễn Thị Bé 0912345678"


class Body(BaseModel):
    number: int
    word: str = Field(max_length=3)


def _application() -> FastAPI:
    small = FastAPI()
    http.install(small)

    @small.get("/teapot")
    def teapot() -> None:
        raise TEAPOT.error(what="trà", pointer="/pot", headers={"Retry-After": "9"}, extra={"colour": "nâu"})

    @small.get("/broken")
    def broken() -> None:
        raise RuntimeError(SECRET)

    @small.get("/away/{kind}")
    def away(kind: str) -> None:
        passing = psycopg.OperationalError("server closed the connection")
        raise {
            "pool": PoolTimeout(),
            "lost": OperationalError("SELECT 1", {}, passing),
            "driver": passing,
            "interface": InterfaceError("SELECT 1", {}, psycopg.InterfaceError("gone")),
            "ours": DataError("SELECT 1", {}, psycopg.DataError(SECRET)),
        }[kind]

    @small.post("/body")
    def body(body: Body) -> Response:
        return Response(status_code=204)

    return small


@pytest.fixture(scope="module")
def small() -> TestClient:
    return TestClient(_application(), raise_server_exceptions=False)


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert body.keys() >= MEMBERS
    assert body["type"] == f"/problems/{code}"
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"
    return body


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [
        (None, "vi"),
        ("vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        ("en", "en"),
        ("en-GB,en;q=0.9,vi;q=0.5", "en"),
        ("EN-us", "en"),
        ("fr", "vi"),
        ("", "vi"),
        ("\xff" * 50, "vi"),
    ],
)
def test_vietnamese_unless_english_is_asked_for_first(small: TestClient, asked: str | None, spoken: str) -> None:
    headers = [] if asked is None else [(b"accept-language", asked.encode("latin-1"))]
    answer = small.get("/teapot", headers=headers)
    body = assert_problem(answer, 418, "test_teapot")
    assert (body["title"], answer.headers["content-language"]) == ({"vi": "Ấm trà", "en": "Teapot"}[spoken], spoken)


def test_a_problem_names_the_field_and_fills_its_sentence(small: TestClient) -> None:
    body = assert_problem(small.get("/teapot"), 418, "test_teapot")
    assert body["detail"] == "Cần trà và …."  # a forgotten parameter spoils no sentence
    assert body["errors"] == [{"pointer": "/pot", "code": "test_teapot", "params": {"what": "trà"}}]
    assert body["colour"] == "nâu"
    assert small.get("/teapot").headers["retry-after"] == "9"


@pytest.mark.parametrize("given", ["req-1.A_9", "a" * 64, "0193a2b4-1111-7222-8333-444455556666"])
def test_the_phones_request_id_comes_back(small: TestClient, given: str) -> None:
    for path in ("/teapot", "/nowhere", "/broken"):
        answer = small.get(path, headers={"X-Request-ID": given})
        assert (answer.headers["x-request-id"], answer.json()["request_id"]) == (given, given)


@pytest.mark.parametrize(
    "given", ["", "short", "a" * 65, "có dấu tiếng Việt", "a b c d e f", "x\"}{'<script>", "a\tbcdefgh"]
)
def test_an_id_that_could_forge_a_log_line_is_replaced(small: TestClient, given: str) -> None:
    answer = small.get("/teapot", headers=[(b"x-request-id", given.encode())])
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_two_requests_have_two_ids(small: TestClient) -> None:
    assert len({small.get("/teapot").headers["x-request-id"] for _ in range(5)}) == 5


def test_the_request_id_travels_to_the_report_and_so_to_the_worker(client: TestClient, session: Session) -> None:
    headers = make.bearer(make.citizen(session)) | make.key() | {"X-Request-ID": "phone-0001"}
    assert client.post("/v1/reports", json=make.report_body(), headers=headers).status_code == 201
    assert session.exec(select(Report.request_id)).one() == "phone-0001"


def test_what_is_not_there_and_what_is_not_done_there(client: TestClient) -> None:
    body = assert_problem(client.get("/v1/khong-co"), 404, "not_found")
    assert body["retry"] == "never"
    answer = client.put("/v1/categories", json={})
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"
    english = client.delete("/v1/categories", headers={"Accept-Language": "en"})
    assert assert_problem(english, 405, "method_not_allowed")["title"] == "Method not allowed"


def test_every_answer_forbids_guessing_its_type(client: TestClient) -> None:
    for path in ("/healthz", "/v1/khong-co", "/metrics"):
        headers = client.get(path).headers
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize(
    ("sent", "pointers"),
    [
        ({"number": SECRET, "word": SECRET}, {"/number", "/word"}),
        ({"number": {SECRET: 1}, "word": [SECRET]}, {"/number", "/word"}),
        ([SECRET], {"/"}),
        (SECRET, {"/"}),
        (None, {"/"}),
    ],
)
def test_validation_names_fields_and_never_echoes_a_value(small: TestClient, sent: Any, pointers: set[str]) -> None:
    answer = small.post("/body", json=sent)
    body = assert_problem(answer, 422, "invalid")
    assert {item["pointer"] for item in body["errors"]} == pointers
    for word in SECRET.split():
        assert word not in answer.text


def test_no_field_of_a_report_is_echoed(client: TestClient, session: Session) -> None:
    citizen, marker = make.citizen(session), "Bé0912345678"
    for name in [*make.report_body(), "address", "place_text", "commune", "occurred_at", "media_ids", "visibility"]:
        for value in (marker, [marker], {"x": marker}, marker * 3000):
            answer = client.post(
                "/v1/reports",
                json=make.report_body() | {name: value},
                headers=make.bearer(citizen) | make.key() | {"Content-Type": "application/json"},
            )
            assert answer.status_code in (201, 422, 413, 429), answer.text
            echoed = {"category": "unknown_category", "commune": "unknown_commune"}.get(name)
            assert marker not in answer.text or answer.json()["code"] == echoed, (name, answer.text)


def test_a_pointer_is_one_whatever_a_key_is_called(client: TestClient, session: Session) -> None:
    """RFC 6901: a slash or a tilde in a key of the client's does not point elsewhere."""
    headers = make.bearer(make.citizen(session)) | make.key()
    answer = client.post("/v1/reports", json=make.report_body() | {"a/b~c": 1}, headers=headers)
    assert answer.json()["errors"][0]["pointer"] == "/a~1b~0c"


def test_a_parsers_words_hold_no_character_of_the_value(client: TestClient, session: Session) -> None:
    answer = client.get("/v1/reports/ô", headers=make.bearer(make.citizen(session)))
    (item,) = assert_problem(answer, 422, "invalid")["errors"]
    assert (item["pointer"], item["code"], item["params"]) == ("/path/report_id", "uuid_parsing", {})


def test_many_mistakes_are_told_up_to_a_limit(client: TestClient, session: Session) -> None:
    body = make.report_body() | {f"lạ{number}": 1 for number in range(100)}
    answer = client.post("/v1/reports", json=body, headers=make.bearer(make.citizen(session)) | make.key())
    assert len(assert_problem(answer, 422, "invalid")["errors"]) == 20


@contextmanager
def logged() -> Iterator[list[Any]]:
    """The structured log lines of a block, with what is bound to the request."""
    with capture_logs(processors=[merge_contextvars]) as found:
        yield found


def lines(logs: list[Any], event: str) -> list[Any]:
    return [line for line in logs if line["event"] == event]


def test_the_unexpected_is_logged_under_its_id_and_not_told(client: TestClient, small: TestClient) -> None:
    with logged() as logs:
        answer = small.get("/broken", headers={"X-Request-ID": "find-me-again"})
    body = assert_problem(answer, 500, "internal")
    assert "find-me-again" in body["detail"]
    assert body["retry"] == "same_key"
    assert SECRET not in answer.text
    (fault,) = lines(logs, "unexpected")
    assert (type(fault["exc_info"]), fault["request_id"]) == (RuntimeError, "find-me-again")
    (line,) = lines(logs, "request")
    assert (line["status"], line["request_id"]) == (500, "find-me-again")


@pytest.mark.parametrize("kind", ["pool", "lost", "driver", "interface"])
def test_a_database_that_is_away_is_busy_and_the_same_key_may_come_again(small: TestClient, kind: str) -> None:
    answer = small.get(f"/away/{kind}")
    assert assert_problem(answer, 503, "unavailable")["retry"] == "same_key"
    assert int(answer.headers["retry-after"]) > 0


def test_a_statement_of_ours_that_is_wrong_is_our_fault_and_tells_nothing(small: TestClient) -> None:
    answer = small.get("/away/ours")
    assert_problem(answer, 500, "internal")
    assert SECRET not in answer.text


@pytest.mark.parametrize("length", ["-1", "abc", "99999999999999999999", "1e9", ""])
def test_a_strange_content_length_is_no_crash(small: TestClient, length: str) -> None:
    answer = small.post("/body", content=b"{}", headers={"Content-Length": length, "Content-Type": "application/json"})
    assert answer.status_code in (400, 413, 422), answer.text


def test_each_request_is_one_log_line_without_what_was_asked(client: TestClient, session: Session) -> None:
    reference = make.submit(client, make.citizen(session))["reference"]
    with logged() as logs:
        client.get(f"/v1/reports/by-reference/{reference}?token={SECRET}", headers={"X-Request-ID": "one-line-1"})
    (line,) = lines(logs, "request")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/reports/by-reference/{reference}", 404)
    assert line["request_id"] == "one-line-1"
    assert reference not in str(line)
    assert "0912345678" not in str(line)


def test_metrics_count_routes_and_not_addresses(client: TestClient, session: Session) -> None:
    make.submit(client, make.citizen(session))
    client.get(f"/v1/reports/{uuid4()}")
    client.get(f"/quét/{uuid4()}")
    text = client.get("/metrics").text
    assert 'http_requests_total{method="GET",route="/v1/reports/{report_id}",status="404"}' in text
    assert 'route="unmatched"' in text
    assert "quét" not in text
    assert 'owed_rows{kind="routing"} 1.0' in text
    assert 'http_request_seconds_bucket{le="0.05",method="POST",route="/v1/reports"}' in text


# --- the catalogue of problems --------------------------------------------------------------------------------------

MARKS = set("ăâđêôơưáàảãạắằẳẵặấầẩẫậéèẻẽẹếềểễệíìỉĩịóòỏõọốồổỗộớờởỡợúùủũụứừửữựýỳỷỹỵ")


def test_each_code_is_one_problem() -> None:
    """Two problems of one code would overwrite each other in the catalogue."""
    found: dict[int, Problem] = {}
    for module in pkgutil.walk_packages([str(ROOT / "app")], "app."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, Problem):
                found[id(value)] = value
    codes = [problem.code for problem in found.values()]
    assert sorted(codes) == sorted(set(codes))
    assert set(codes) == set(CATALOGUE)


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_a_problem_is_a_polite_sentence_in_both_languages(code: str) -> None:
    problem = CATALOGUE[code]
    assert code.replace("_", "").isalpha()
    assert code == code.lower()
    for title, detail in (problem.vi, problem.en):
        assert title[0].isupper()
        assert not title.endswith(".")
        assert detail[0].isupper() or detail[0] == "{"
        assert detail.endswith((".", "!"))
    vi_words = " ".join(problem.vi).lower()
    assert MARKS & set(vi_words), "Vietnamese without a mark"
    assert not MARKS & set(" ".join(problem.en).lower()), "Vietnamese among the English words"
    # The same parameters in both languages; a name may come in each of them.
    names = [
        {name for _, name, _, _ in string.Formatter().parse(" ".join(words)) if name}
        for words in (problem.vi, problem.en)
    ]
    assert names[0] == {name.removesuffix("_en") for name in names[1]}


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_what_to_do_next_fits_the_status(code: str) -> None:
    problem = CATALOGUE[code]
    if problem.status >= 500:
        assert problem.retry == "same_key", "an outage loses nothing: the phone keeps its key"
    if problem.status == 429:
        assert problem.retry == "after"
    if problem.status in (403, 405, 410, 412, 413, 415, 428):
        assert problem.retry == "never"


def test_the_meaning_of_a_code_can_be_looked_up(client: TestClient) -> None:
    shown = client.get("/problems/not_found").json()
    assert shown["vi"] == list(errors.NOT_FOUND.vi)
    assert shown["retry"] == "never"
    assert_problem(client.get("/problems/khong_co"), 404, "not_found")


def test_summaries_are_vietnamese_and_descriptions_english() -> None:
    for methods in app.openapi()["paths"].values():
        for operation in methods.values():
            assert MARKS & set(operation["summary"].lower()), operation["summary"]
            words = operation["description"].replace("hài lòng, chấp nhận được, không hài lòng", "")
            assert not MARKS & set(words.lower()), operation["description"]
