"""``impact cache``: what the cache does, and ending what it holds."""

import asyncio
from pathlib import Path

import click
import msgspec

from impact.cli._settings import data_dir_option, load_settings, one_line
from impact.engine.cache.figures import Figures
from impact.engine.cache.keys import tags_of_pattern
from impact.engine.cache.remote import RedisAwayError, Remote
from impact.engine.cache.stats import Report
from impact.engine.runtime import open_versions
from impact.errors import ConfigurationError, UnavailableError
from impact.settings import Settings

_COLUMNS = ("hits", "misses", "fills", "refused", "stale", "errors", "bytes")


@click.group()
def cache() -> None:
    """Show what the cache does, and end what it holds."""


@cache.command()
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def stats(data_dir: Path, as_json: bool) -> None:
    """Show hits, misses, fills and more of all processes, by tier and entity."""
    with one_line():
        report = asyncio.run(_total(_settings(data_dir)))
    if as_json:
        fields = {**msgspec.to_builtins(report), "hit_rate": report.hit_rate}
        click.echo(msgspec.json.format(msgspec.json.encode(fields)))
    else:
        click.echo(_table(report))


@cache.command()
@data_dir_option
@click.argument("pattern")
def invalidate(data_dir: Path, pattern: str) -> None:
    """End what PATTERN names: 'product:paris:*', 'product:paris:ID' or '*:paris:*'."""
    with one_line():
        asyncio.run(_invalidate(_settings(data_dir), pattern))
    click.echo(f"Ended {pattern}")


def _settings(data_dir: Path) -> Settings:
    settings = load_settings(data_dir)
    if settings.redis_url is None:
        raise ConfigurationError("IMPACT_REDIS_URL is not set: nothing is shared by processes")
    return settings


async def _total(settings: Settings) -> Report:
    remote = Remote(settings)
    try:
        return await Figures(remote, "").total()
    except RedisAwayError as error:
        raise UnavailableError(f"Redis does not answer: {error}") from error
    finally:
        await remote.close()


async def _invalidate(settings: Settings, pattern: str) -> None:
    tenant, tags = tags_of_pattern(pattern)
    async with open_versions(settings) as versions:
        try:
            await versions.raise_now(tenant, tags)
        except RedisAwayError as error:
            raise UnavailableError(f"Redis does not answer: {error}") from error


def _table(report: Report) -> str:
    lines = [f"{'tier':<10}{'entity':<18}" + "".join(f"{name:>12}" for name in _COLUMNS)]
    for tier, entities in report.tiers.items():
        for entity, counters in sorted(entities.items()):
            figures = "".join(f"{getattr(counters, name):>12,}" for name in _COLUMNS)
            lines.append(f"{tier:<10}{entity:<18}{figures}")
    lines += [
        "",
        f"hit rate {report.hit_rate:.1%} of {report.processes} processes;"
        f" L1 {report.bytes:,} bytes in {report.entries:,} entries, {report.evictions:,} evicted",
    ]
    return "\n".join(lines)
