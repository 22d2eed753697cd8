"""The shipped pack, and copies of it in which something was changed."""

from collections.abc import Callable
from pathlib import Path

from app.core.config import ROOT

PACK = ROOT / "packs" / "thai_nguyen"
Edit = Callable[..., Path]
