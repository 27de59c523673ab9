"""Entry of ``hoso``: one Typer application, its commands in the modules beside this one."""

from __future__ import annotations

import sys

import typer

from infra.cli import catalogue, erasures, import_file, match, operate, parting, people, query, replay, run
from infra.cli.connection import CommandError
from infra.cli.identity import app as identity_app
from infra.cli.keys import app as keys_app
from infra.cli.lists import app as lists_app
from infra.cli.lists import suppress_app
from infra.cli.plan import app as plan_app
from infra.cli.quarantine import app as quarantine_app
from infra.cli.review import app as review_app
from infra.cli.segments import app as segments_app
from infra.cli.show import errors
from infra.cli.sources import app as sources_app
from infra.cli.traits import app as traits_app

app = typer.Typer(
    name="hoso",
    help="Hoso, the customer data platform in your own AWS account: run it on a laptop, send, look, operate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for module in (run, query, people, parting, erasures, operate, import_file, match, catalogue, replay):
    module.register(app)
app.add_typer(identity_app, name="identity", help="Try identity rules on recorded evidence.")
app.add_typer(keys_app, name="keys", help="Write keys and their sources: show, make, rotate, revoke.")
app.add_typer(quarantine_app, name="quarantine", help="What could not be processed: look, repair, replay.")
app.add_typer(review_app, name="review", help="Pairs that may be one person: decide.")
app.add_typer(segments_app, name="segments", help="List segments and their members; test rules.")
app.add_typer(lists_app, name="lists", help="Lists of people: upload, keep by hand, look.")
app.add_typer(suppress_app, name="suppress", help="Who must not be written to on a channel.")
app.add_typer(traits_app, name="traits", help="Computed traits and scores: definitions, quality.")
app.add_typer(plan_app, name="plan", help="Tracking plans: compare, put in force, generate typed calls.")

app.add_typer(sources_app, name="sources", help="Webhook sources: addresses and secrets.")


def main() -> None:
    """Run the command line; a failure that a person can act on is one line and exit code 1."""
    try:
        app()
    except CommandError as error:
        errors.print(f"[red]error:[/red] {error}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
