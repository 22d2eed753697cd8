"""Configuration: one class, read from the environment; unknown or unsafe values stop the start."""

import base64
import os
from datetime import time
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "PHANANH_"
KEY_BYTES = 32
# Keys for a laptop. A production start refuses them.
DEVELOPMENT_KEY = base64.b64encode(b"development-key-not-for-any-real").decode()


class Settings(BaseSettings):
    """Everything that may differ between two installations."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid")

    database_url: str = Field(validation_alias="DATABASE_URL")
    owner_database_url: str = Field(default="", validation_alias="OWNER_DATABASE_URL")
    redis_url: str = Field(validation_alias="REDIS_URL")

    environment: Literal["development", "production"] = "development"
    var_dir: Path = ROOT / "var"
    storage_url: str = ""
    uploads_dir: str = ""
    province_pack: Path = ROOT / "packs" / "thai_nguyen"
    fetch_boundaries: Literal["once", "off"] = "once"
    # console: messages are written to a file, and nothing else is asked. carriers: those that are configured below.
    notifier: Literal["console", "carriers"] = "console"
    log_json: bool = True
    log_level: str = "INFO"
    limits_scale: float = Field(default=1.0, gt=0)
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    pool_size: int = Field(default=20, ge=2, le=200)
    # An own Nominatim-compatible server, like http://geocoder.internal:8080; without one nobody is asked.
    geocoder_url: str = Field(default="", pattern=r"^(https?://[^\s?#]+)?$")
    # What a QR sticker on an asset says; {code} is the asset's public code.
    sticker_address: str = Field(
        default="http://127.0.0.1:8000/v1/assets/{code}", pattern=r"^https?://[^{}\s]+\{code\}[^{}\s]*$"
    )

    token_key: str = DEVELOPMENT_KEY
    vault_key: str = DEVELOPMENT_KEY
    index_key: str = DEVELOPMENT_KEY
    link_key: str = DEVELOPMENT_KEY
    seal_key: str = DEVELOPMENT_KEY
    seal_webhook: str = Field(default="", pattern=r"^(https?://\S+)?$")

    # Local hours in which no phone rings; equal hours: none.
    quiet_from: time = time(22)
    quiet_to: time = time(6)
    quiet_zone: str = "Asia/Ho_Chi_Minh"

    # Carriers. Each is used where its first value is given; the addresses differ for tests and proxies only.
    fcm_credentials: Path | None = None  # Google's file of a service account
    fcm_url: str = "https://fcm.googleapis.com"
    apns_key_file: Path | None = None  # Apple's .p8
    apns_key_id: str = ""
    apns_team_id: str = ""
    apns_topic: str = ""
    apns_url: str = "https://api.push.apple.com"
    webpush_key: SecretStr = SecretStr("")  # VAPID: the private number of a P-256 key, 32 bytes in base64url
    webpush_contact: str = ""  # mailto: or https:
    # Push services that a subscription may name: we call the address a browser brought.
    webpush_origins: Annotated[tuple[str, ...], NoDecode] = (
        "https://fcm.googleapis.com",
        "https://updates.push.services.mozilla.com",
        "https://*.push.apple.com",
        "https://*.notify.windows.com",
    )
    zns_token_file: Path | None = None  # the access token, kept fresh by whoever holds the refresh token
    zns_templates: dict[str, str] = {}  # our template: Zalo's number of the approved one
    zns_url: str = "https://business.openapi.zalo.me"
    esms_key: str = ""
    esms_secret: SecretStr = SecretStr("")
    esms_brand: str = ""
    esms_url: str = "https://rest.esms.vn"
    smtp_host: str = ""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_from: str = ""

    @field_validator("token_key", "vault_key", "index_key", "link_key", "seal_key")
    @classmethod
    def _is_32_bytes(cls, value: str) -> str:
        if len(base64.b64decode(value, validate=True)) != KEY_BYTES:
            raise ValueError("must be 32 bytes in base64")
        return value

    @field_validator("quiet_zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("is no time zone, such as Asia/Ho_Chi_Minh") from error
        return value

    @field_validator("trusted_proxies", "webpush_origins", mode="before")
    @classmethod
    def _from_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _carriers_are_whole(self) -> "Settings":
        wholes: dict[str, tuple[object, ...]] = {
            "apns": (self.apns_key_file, self.apns_key_id, self.apns_team_id, self.apns_topic),
            "webpush": (self.webpush_key.get_secret_value(), self.webpush_contact),
            "esms": (self.esms_key, self.esms_secret.get_secret_value(), self.esms_brand),
            "smtp": (self.smtp_host, self.smtp_from),
            "zns": (self.zns_token_file, self.zns_templates),
        }
        for carrier, parts in wholes.items():
            if any(parts) and not all(parts):
                raise ValueError(
                    f"carrier {carrier} is configured in part: all its PHANANH_{carrier.upper()}_… or none"
                )
        if bool(self.smtp_user) != bool(self.smtp_password.get_secret_value()):
            raise ValueError("carrier smtp needs user and password together, or neither")
        if self.notifier == "carriers" and not self.esms_key:
            raise ValueError("PHANANH_NOTIFIER=carriers needs eSMS: without it nobody receives a sign-in code")
        if self.environment == "production":
            self._refuse_what_leaks()
        return self

    def _refuse_what_leaks(self) -> None:
        """In production nobody may read messages on their way, above all sign-in codes."""
        if self.notifier == "console":
            raise ValueError("production needs PHANANH_NOTIFIER=carriers: who reads the console can sign in as anybody")
        urls = (self.fcm_url, self.apns_url, self.zns_url, self.esms_url, *self.webpush_origins)
        if not all(url.startswith("https://") for url in urls):
            raise ValueError("production reaches carriers by https only")
        if self.smtp_host and self.smtp_security == "none":
            raise ValueError("production sends e-mail over TLS only: PHANANH_SMTP_SECURITY")

    @model_validator(mode="after")
    def _is_safe(self) -> "Settings":
        keys = [self.token_key, self.vault_key, self.index_key, self.link_key, self.seal_key]
        if self.environment == "production" and (DEVELOPMENT_KEY in keys or len(set(keys)) < len(keys)):
            raise ValueError(
                "production needs its own, different PHANANH_TOKEN_KEY, _VAULT_KEY, _INDEX_KEY, _LINK_KEY and _SEAL_KEY"
            )
        unknown = {name for name in os.environ if name.startswith(PREFIX)} - {
            PREFIX + name.upper() for name in type(self).model_fields
        }
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        if not self.storage_url:
            self.storage_url = (self.var_dir / "media").resolve().as_uri()
        if not self.uploads_dir:
            self.uploads_dir = str((self.var_dir / "uploads").resolve())
        if not self.owner_database_url:
            self.owner_database_url = self.database_url
        return self


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once; a wrong one ends the process with its name, never its value."""
    try:
        return Settings()
    except ValidationError as error:
        told = (f"{'.'.join(map(str, found['loc']))}: {found['msg']}".removeprefix(": ") for found in error.errors())
        hint = "" if os.environ.get("DATABASE_URL") else " (or start `make run` in another terminal)"
        raise SystemExit(f"phananh: the configuration cannot be used: {'; '.join(told)}{hint}") from None
