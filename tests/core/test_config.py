"""Unknown or unsafe settings stop the start."""

import base64
from typing import Any

import pytest
from pydantic import ValidationError

from app.core.config import DEVELOPMENT_KEY, Settings

URLS = {"DATABASE_URL": "postgresql://a@h/d", "REDIS_URL": "redis://h"}
KEYS = {
    f"PHANANH_{name}_KEY": base64.b64encode(bytes([place]) * 32).decode()
    for place, name in enumerate(("TOKEN", "VAULT", "INDEX", "LINK", "SEAL"))
}


CARRIERS = {
    "PHANANH_NOTIFIER": "carriers",
    "PHANANH_ESMS_KEY": "k",
    "PHANANH_ESMS_SECRET": "s3cret",
    "PHANANH_ESMS_BRAND": "PHANANH",
}
PRODUCTION = URLS | KEYS | CARRIERS | {"PHANANH_ENVIRONMENT": "production"}


def start(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name in list(__import__("os").environ):
        if name.startswith("PHANANH_") or name in ("DATABASE_URL", "OWNER_DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_a_laptop_needs_two_addresses_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(monkeypatch, **URLS).storage_url.startswith("file://")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        URLS | {"PHANANH_TYPO": "1"},
        URLS | {"PHANANH_VAULT_KEY": "c2hvcnQ="},
        URLS | {"PHANANH_VAULT_KEY": "not base64!"},
        URLS | {"PHANANH_LIMITS_SCALE": "0"},
        URLS | CARRIERS | {"PHANANH_ENVIRONMENT": "production"},
        PRODUCTION | {"PHANANH_LINK_KEY": DEVELOPMENT_KEY},
        PRODUCTION | {"PHANANH_LINK_KEY": KEYS["PHANANH_VAULT_KEY"]},
        # Whoever reads the console's file can sign in as anybody.
        PRODUCTION | {"PHANANH_NOTIFIER": "console"},
        PRODUCTION | {"PHANANH_ESMS_URL": "http://rest.esms.vn"},
        PRODUCTION | {"PHANANH_WEBPUSH_ORIGINS": "https://a.example,http://b.example"},
        PRODUCTION | {"PHANANH_SMTP_HOST": "m", "PHANANH_SMTP_FROM": "a@b.vn", "PHANANH_SMTP_SECURITY": "none"},
        # Without SMS nobody receives a sign-in code.
        URLS | {"PHANANH_NOTIFIER": "carriers"},
        # Halves.
        URLS | {"PHANANH_ESMS_KEY": "k"},
        URLS | {"PHANANH_APNS_KEY_ID": "k"},
        URLS | {"PHANANH_WEBPUSH_CONTACT": "mailto:a@b.vn"},
        URLS | {"PHANANH_ZNS_TEMPLATES": '{"report_resolved": "1"}'},
        URLS | {"PHANANH_SMTP_HOST": "m"},
        URLS | {"PHANANH_SMTP_HOST": "m", "PHANANH_SMTP_FROM": "a@b.vn", "PHANANH_SMTP_USER": "u"},
        URLS | {"PHANANH_QUIET_FROM": "25:00"},
        URLS | {"PHANANH_QUIET_ZONE": "Asia/Nowhere"},
        {name: value for name, value in PRODUCTION.items() if "SEAL" not in name},
        URLS | {"PHANANH_SEAL_WEBHOOK": "ftp://archive.example"},
    ],
)
def test_unsafe_or_unknown_values_stop_the_start(monkeypatch: pytest.MonkeyPatch, environment: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        start(monkeypatch, **environment)


def test_production_starts_with_keys_and_carriers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = start(monkeypatch, **PRODUCTION, PHANANH_TRUSTED_PROXIES="10.0.0.1, ::1")
    assert settings.trusted_proxies == ("10.0.0.1", "::1")
    assert "s3cret" not in repr(settings)
