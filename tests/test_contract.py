"""The committed contract is the served one."""

import yaml

from app.core.config import ROOT
from app.main import app


def test_the_committed_contract_is_the_served_one() -> None:
    committed = yaml.safe_load((ROOT / "mobile_api_spec" / "openapi.yaml").read_text())
    assert committed == app.openapi(), "python -m app.cli openapi > mobile_api_spec/openapi.yaml"
