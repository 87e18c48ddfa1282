"""``impact tenant``: the first shop of a platform, which no API can open."""

import asyncio
import secrets
from pathlib import Path

import click
import msgspec

from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.context import HEADQUARTERS, system_context
from impact.domains.tenants.schemas import CreateTenant
from impact.engine.runtime import open_runtime
from impact.errors import InvalidDataError
from impact.flows.shops import open_shop
from impact.settings import Settings


@click.group()
def tenant() -> None:
    """The shops of the platform."""


@tenant.command("open")
@data_dir_option
@click.argument("slug")
@click.option("--email", required=True, help="The owner's e-mail address.")
@click.option("--name", default=None, help="What the shop is called  [default: its slug]")
@click.option("--currency", default="eur", show_default=True, help="ISO 4217 code.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def open_(
    data_dir: Path, slug: str, email: str, name: str | None, currency: str, as_json: bool
) -> None:
    """Open a shop with its standard roles, an owner and a publishable key.

    Begin with 'hq': its owner may open the others through POST /admin/tenants. The owner's
    password and the key are shown this once.
    """
    password = secrets.token_urlsafe(12)
    with one_line():
        settings = load_settings(data_dir, telemetry=False)
        try:
            data = msgspec.convert(
                {
                    "id": slug,
                    "name": name or slug,
                    "currency_code": currency,
                    "owner": {"email": email, "password": password},
                },
                CreateTenant,
            )
        except msgspec.ValidationError as error:
            raise InvalidDataError(str(error)) from error
        key = asyncio.run(_open(settings, data))
    shown = {"tenant": slug, "email": email, "password": password, "publishable_api_key": key}
    if as_json:
        click.echo(msgspec.json.encode(shown))
    else:
        click.echo("\n".join(f"{label:<20} {value}" for label, value in shown.items()))


async def _open(settings: Settings, data: CreateTenant) -> str | None:
    async with open_runtime(settings) as runtime:
        context = system_context(HEADQUARTERS, "tenant open")
        return (await open_shop(runtime, context, data)).publishable_api_key
