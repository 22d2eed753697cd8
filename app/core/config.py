"""Configuration: one class, read from the environment; unknown or unsafe values stop the start."""

import base64
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
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
    province_pack: Path = ROOT / "packs" / "thai_nguyen"
    fetch_boundaries: Literal["once", "off"] = "once"
    notifier: Literal["console"] = "console"
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

    @field_validator("token_key", "vault_key", "index_key", "link_key")
    @classmethod
    def _is_32_bytes(cls, value: str) -> str:
        if len(base64.b64decode(value, validate=True)) != KEY_BYTES:
            raise ValueError("must be 32 bytes in base64")
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _from_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_safe(self) -> "Settings":
        keys = [self.token_key, self.vault_key, self.index_key, self.link_key]
        if self.environment == "production" and (DEVELOPMENT_KEY in keys or len(set(keys)) < len(keys)):
            raise ValueError(
                "production needs its own, different PHANANH_TOKEN_KEY, _VAULT_KEY, _INDEX_KEY and _LINK_KEY"
            )
        unknown = {name for name in os.environ if name.startswith(PREFIX)} - {
            PREFIX + name.upper() for name in type(self).model_fields
        }
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        if not self.storage_url:
            self.storage_url = (self.var_dir / "media").resolve().as_uri()
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
        raise SystemExit(f"phananh: the configuration cannot be used: {'; '.join(told)}") from None
