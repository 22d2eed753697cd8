"""Taking boundaries back before their day: administrators."""

from uuid import UUID

from fastapi import APIRouter

from app.boundaries.queries import all_versions
from app.boundaries.schemas import VersionOut
from app.core.db import Db
from app.identity.policy import Staff, require
from app.identity.rules import Role
from app.surveys import actions

router = APIRouter(prefix="/v1", tags=["boundaries"])


@router.post(
    "/boundaries/{version_id}/withdraw", operation_id="withdraw_boundaries", summary="Rút bộ ranh giới chưa hiệu lực"
)
def withdraw_boundaries(version_id: UUID, viewer: Staff, session: Db) -> VersionOut:
    """Take a version of the boundaries back before its first day; it stays in the list and never counts."""
    require(viewer, Role.ADMINISTRATOR)
    actions.withdraw(session, version_id, viewer.id)
    return next(version for version in all_versions(session) if version.id == version_id)
