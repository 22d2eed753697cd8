"""What cases are found by: written here."""

from app.search import actions
from workers.celery_app import celery, drain


@celery.task(name="search.index")  # type: ignore[untyped-decorator]
def index() -> None:
    """Write what is owed until nothing is. Safe to run twice and beside itself."""
    drain("search", actions.index_owed)


@celery.task(name="search.catch_up")  # type: ignore[untyped-decorator]
def catch_up() -> None:
    """Write what the cursor passed over."""
    drain("search", actions.catch_up)
