"""Limits are wide here, except in the tests about limits: one phone signs in many times within the same ten minutes."""

import pytest

from app.core.config import settings


@pytest.fixture(autouse=True)
def _limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = "1" if "real_limits" in request.fixturenames else "10000"
    monkeypatch.setenv("PHANANH_LIMITS_SCALE", scale)
    settings.cache_clear()


@pytest.fixture
def real_limits(_limits: None) -> None:
    """The limits as they are."""
