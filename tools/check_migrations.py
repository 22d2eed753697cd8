"""Build a database by the migrations alone and compare it with the models (`alembic check`)."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from app.embedded import start_postgres

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Answer 0 when the migrations make exactly what the models describe."""
    with tempfile.TemporaryDirectory() as place, start_postgres(Path(place) / "postgres", durable=False) as postgres:
        urls = {"DATABASE_URL": postgres.app_url, "OWNER_DATABASE_URL": postgres.owner_url, "REDIS_URL": "redis://none"}
        for command in (("upgrade", "head"), ("check",)):
            argv = [sys.executable, "-m", "alembic", *command]
            if status := subprocess.run(argv, cwd=ROOT, env=os.environ | urls, check=False).returncode:
                return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
