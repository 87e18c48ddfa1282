"""``impact import``: brings the data of other systems into a shop."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from impact.cli._database import open_database
from impact.cli._progress import progress_bar
from impact.cli._settings import data_dir_option, one_line
from impact.engine.db.session import Database
from impact.engine.db.tenancy import validate_slug
from impact.errors import InvalidDataError
from impact.flows.imports.online_retail import RetailOptions, import_online_retail
from impact.flows.imports.shopify import ShopifyOptions, import_shopify
from impact.flows.imports.summary import CatalogSummary, Progress, RetailSummary

S = TypeVar("S", RetailSummary, CatalogSummary)
Import = Callable[[Database, Progress], Awaitable[S]]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells give it: 128 + SIGINT."""


@click.group(name="import")
def imports() -> None:
    """Import data from files, each in one transaction: all that can be kept, or nothing.

    Rows that cannot be kept are listed with their reason in a rejects file.
    """


def _slug(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else validate_slug(value)
    except InvalidDataError as error:
        raise click.BadParameter(error.message) from None


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """The file, and the options that all imports take."""
    for decorate in (
        data_dir_option,
        click.option("--quiet", is_flag=True, help="No progress bar and no table."),
        click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
        click.option(
            "--max-rejects",
            type=click.FloatRange(0, 100),
            default=10.0,
            show_default=True,
            metavar="PERCENT",
            help="Share of malformed rows above which the whole file is refused.",
        ),
        click.option(
            "--rejects",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Where rejected rows are listed  [default: ./<file>.rejects.csv]",
        ),
        click.option(
            "--create-tenant",
            is_flag=True,
            help="Create the tenant if it does not exist, without users.",
        ),
        click.argument("file", type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


@imports.command("online-retail")
@_common
@click.option("--tenant", metavar="T", callback=_slug, help="The shop that takes the orders.")
@click.option("--tenant-per-country", is_flag=True, help="One shop per country, made as needed.")
def online_retail(
    *,
    data_dir: Path,
    file: Path,
    tenant: str | None,
    tenant_per_country: bool,
    create_tenant: bool,
    rejects: Path | None,
    max_rejects: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Import the orders of an online-retail CSV FILE, plain or gzip.

    Times without an offset are taken as UTC; prices are in GBP. Running it again imports only
    what is new.
    """
    if (tenant is None) is not tenant_per_country:
        raise click.UsageError("give one of --tenant and --tenant-per-country")
    options = RetailOptions(tenant=tenant, create_tenant=create_tenant, max_rejects=max_rejects)
    rejects = _rejects_path(file, rejects)
    summary = _run(
        lambda database, progress: import_online_retail(database, file, options, rejects, progress),
        data_dir,
        quiet=quiet or as_json,
    )
    _show(summary, _retail_table, as_json=as_json, quiet=quiet)


@imports.command("shopify")
@_common
@click.option("--tenant", metavar="T", callback=_slug, required=True, help="The shop.")
@click.option(
    "--currency", metavar="CODE", help="ISO 4217 code of the prices  [default: the shop's]"
)
def shopify(
    *,
    data_dir: Path,
    file: Path,
    tenant: str,
    currency: str | None,
    create_tenant: bool,
    rejects: Path | None,
    max_rejects: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Import the products of a Shopify product CSV FILE, plain or gzip.

    Products whose handle the shop has already are left as they are.
    """
    if currency is not None and not (
        currency.isascii() and currency.isalpha() and len(currency) == 3
    ):
        raise click.BadParameter("an ISO 4217 code has three letters", param_hint="--currency")
    options = ShopifyOptions(
        tenant=tenant,
        currency=None if currency is None else currency.lower(),
        create_tenant=create_tenant,
        max_rejects=max_rejects,
    )
    rejects = _rejects_path(file, rejects)
    summary = _run(
        lambda database, progress: import_shopify(database, file, options, rejects, progress),
        data_dir,
        quiet=quiet or as_json,
    )
    _show(summary, _catalog_table, as_json=as_json, quiet=quiet)


def _rejects_path(file: Path, rejects: Path | None) -> Path:
    path = rejects or Path(f"{file.name}.rejects.csv")
    if path.exists() and file.exists() and path.samefile(file):
        raise click.BadParameter("would overwrite the file to import", param_hint="--rejects")
    return path


def _run(work: Import[S], data_dir: Path, *, quiet: bool) -> S:
    async def main() -> S:
        async with open_database(data_dir) as database:
            with progress_bar(quiet=quiet) as progress:
                return await work(database, progress)

    try:
        with one_line():
            return asyncio.run(main())
    except KeyboardInterrupt:
        click.echo("Interrupted: nothing was imported.", err=True)
        sys.exit(INTERRUPTED)


def _show(summary: S, table: Callable[[S], str], *, as_json: bool, quiet: bool) -> None:
    if as_json:
        fields: dict[str, Any] = {"changed": summary.changed, **msgspec.structs.asdict(summary)}
        click.echo(msgspec.json.format(msgspec.json.encode(fields)))
    elif not quiet:
        click.echo(table(summary))


def _retail_table(summary: RetailSummary) -> str:
    width = max(len(f"{summary.read.amount:,}"), 6)
    rows = [f"{'':<18}{'rows':>12}  {summary.currency_code.upper():>{width}}"]
    for name in ("read", "imported", "present", "rejected"):
        share = getattr(summary, name)
        label = "already present" if name == "present" else name
        rows.append(f"{label:<18}{share.rows:>12,}  {share.amount:>{width},}")
    rows += _reasons(summary.reasons)
    rows.append("")
    for label, count in (
        ("tenants created", summary.tenants_created),
        ("orders", summary.orders),
        ("orders extended", summary.orders_extended),
        ("order lines", summary.lines),
        ("products", summary.products),
        ("customers", summary.customers),
    ):
        rows.append(f"{label:<18}{count:>12,}")
    if not summary.changed:
        rows += ["", "Nothing new: every row was present or is rejected."]
    elif summary.imported.rows:
        rows += ["", "The sales report changed by exactly the imported sum."]
    return "\n".join([*rows, *_end(summary)])


def _catalog_table(summary: CatalogSummary) -> str:
    rows = []
    for label, count in (
        ("rows read", summary.rows),
        ("rows imported", summary.rows_imported),
        ("rows present", summary.rows_present),
        ("rows rejected", summary.rows_rejected),
    ):
        rows.append(f"{label:<18}{count:>12,}")
    rows += [*_reasons(summary.reasons), ""]
    for label, count in (
        ("products", summary.products),
        ("already present", summary.products_present),
        ("variants", summary.variants),
        ("images", summary.images),
        ("categories", summary.categories),
        ("tenants created", summary.tenants_created),
    ):
        rows.append(f"{label:<18}{count:>12,}")
    if not summary.changed:
        rows += ["", "Nothing new: every product was present or is rejected."]
    return "\n".join([*rows, *_end(summary)])


def _reasons(reasons: dict[str, int]) -> list[str]:
    return [f"  {reason:<24}{count:>6,}" for reason, count in reasons.items()]


def _end(summary: RetailSummary | CatalogSummary) -> list[str]:
    return ["", f"rejects: {summary.rejects_file}", f"{summary.seconds} s"]
