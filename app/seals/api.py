"""Seals and proofs over HTTP: public, because who must trust them is not us."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from app.core.db import Db
from app.core.errors import NOT_FOUND
from app.core.etag import etag, not_modified
from app.core.ids import parse_reference
from app.core.paging import CursorText, Limit, Page
from app.identity.policy import CurrentViewer
from app.seals import queries
from app.seals.schemas import CaseProofOut, ConsistencyOut, SealKeysOut, SealOut

router = APIRouter(prefix="/v1", tags=["seals"])

Number = Annotated[int, Path(ge=1, lt=2**31, description="Seals are numbered from 1.")]


@router.get("/seals", response_model=Page[SealOut], operation_id="list_seals", summary="Các lần niêm phong")
def list_seals(request: Request, response: Response, session: Db, cursor: CursorText = None, limit: Limit = 50) -> Any:
    """Every night's signed root, newest first. Keep them: what you keep, nobody can rewrite unnoticed."""
    rows, following = queries.page(session, cursor=cursor, limit=limit)
    return _conditional(request, response, Page(items=[queries.shown(seal) for seal in rows], next_cursor=following))


@router.get("/seals/keys", operation_id="list_seal_keys", summary="Khóa công khai để kiểm tra niêm phong")
def list_seal_keys(session: Db) -> SealKeysOut:
    """The public keys that seals and promise slips were signed with, old ones included."""
    return SealKeysOut(items=queries.published_keys(session))


@router.get("/seals/{number}", response_model=SealOut, operation_id="get_seal", summary="Một lần niêm phong")
def get_seal(number: Number, request: Request, response: Response, session: Db) -> Any:
    """One seal: the root of the log of case histories as it stood that night, signed."""
    return _conditional(request, response, queries.shown(queries.numbered(session, number)))


@router.get(
    "/seals/{number}/consistency",
    response_model=ConsistencyOut,
    operation_id="get_seal_consistency",
    summary="Bằng chứng nhật ký chỉ được ghi thêm",
)
def get_seal_consistency(
    number: Number,
    request: Request,
    response: Response,
    session: Db,
    older: Annotated[int, Query(alias="from", ge=1, lt=2**31, description="An older seal, such as one you kept.")],
) -> Any:
    """Prove that between two seals the log was only added to (RFC 6962, 2.1.2)."""
    return _conditional(request, response, queries.consistency(session, older, number))


@router.get(
    "/cases/{reference}/proof",
    response_model=CaseProofOut,
    operation_id="get_case_proof",
    summary="Bằng chứng hồ sơ đã được niêm phong",
)
def get_case_proof(reference: str, request: Request, response: Response, viewer: CurrentViewer, session: Db) -> Any:
    """Prove that a case's history is inside the newest seal (RFC 6962, 2.1.1), to who may see the case or its report.

    Keep the answer: a later one must begin with the same hashes. Bodies are shown where the caller may see them (an
    author's own steps and the machine's; all of them to auditors); the hash of any other event is taken as told.
    """
    canonical = parse_reference(reference)
    if canonical is None:
        raise NOT_FOUND.error()
    return _conditional(request, response, queries.case_proof(session, viewer, canonical))


def _conditional(request: Request, response: Response, answer: BaseModel) -> Any:
    tag = etag(answer.model_dump_json())
    if unchanged := not_modified(request, tag):
        return unchanged
    response.headers["ETag"] = tag
    return answer
