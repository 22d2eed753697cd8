"""`python -m tools.demo` lives half a year of reports once; `… accounts` only makes the people."""

import sys
import time
from typing import Annotated

import typer

from app.core import doorbell
from app.core.logs import configure_logs
from tools.demo import people

REPORTS = 300
MOST_REPORTS = 600  # more would run into the limit on reports per citizen and hour

app = typer.Typer(add_completion=False, help="Demo data for a laptop: invented people and reports.")
Base = Annotated[str | None, typer.Option(help="Where the API answers; noted in demo.json.")]


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    reports: Annotated[int, typer.Option(min=1, max=MOST_REPORTS, help="How many reports.")] = REPORTS,
    seed: Annotated[int, typer.Option(help="Another number, another province.")] = 1,
    base_url: Base = None,
) -> None:
    """Make the people and live half a year of reports, unless that was done before."""
    if context.invoked_subcommand is not None:
        return
    from tools.demo import seeding  # noqa: PLC0415 - every start makes the accounts; few load geometry and pictures

    started = time.monotonic()
    everybody = people.ensure()
    people.tell(everybody, **_noted(base_url))
    done = seeding.seed(reports, seed)
    path = people.tell(everybody, seeded=done.model_dump(mode="json"))
    print(f"{done.reports} demo reports since {done.since:%Y-%m-%d} ({time.monotonic() - started:.1f} s), {path}")


@app.command()
def accounts(base_url: Base = None) -> None:
    """Make the people who are missing and write down how they sign in."""
    everybody = people.ensure()
    print(f"{len(everybody)} demo accounts, {people.tell(everybody, **_noted(base_url))}")


def _noted(base_url: str | None) -> dict[str, str]:
    return {} if base_url is None else {"base_url": base_url}


def main() -> None:
    """Run the command; what stands in the way is one sentence."""
    configure_logs()
    try:
        app()
    except people.ProductionError as error:
        print(f"phananh: {error}", file=sys.stderr)
        sys.exit(1)
    finally:
        doorbell.stop()


if __name__ == "__main__":
    main()
