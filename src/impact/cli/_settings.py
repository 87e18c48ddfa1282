"""Where a command finds its settings: the environment, else the stack in the data directory."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from impact import settings as settings_module
from impact.errors import ConfigurationError, ImpactError
from impact.settings import Settings
from impact.stack import Endpoints, Stack, StackError


def _or_the_groups(context: click.Context, _option: click.Parameter, value: Path) -> Path:
    """Where it was given to the command's group alone, that is meant: ``bench --data-dir X cache``.
    (A ``default_map`` of click's counts for less than the variable.)"""
    group, said = context.parent, ParameterSource.COMMANDLINE
    own = context.get_parameter_source("data_dir") is said
    if own or group is None or group.get_parameter_source("data_dir") is not said:
        return value
    found: Path = group.params["data_dir"]
    return found


data_dir_option = click.option(
    "--data-dir",
    callback=_or_the_groups,
    type=click.Path(path_type=Path, file_okay=False),
    envvar="IMPACT_DATA_DIR",
    default=".impact",
    show_default=True,
    show_envvar=True,
    help="Where the embedded servers and their secrets live.",
)


def load_settings(data_dir: Path, **overrides: Any) -> Settings:
    """The settings from ``IMPACT_*``; what they leave open comes from the data directory.

    Raises ConfigurationError where neither says which database to use.
    """
    given = dict(os.environ)
    if not given.get("IMPACT_PRIMARY_URL"):
        endpoints = Stack(data_dir).endpoints()
        if endpoints is None:
            raise ConfigurationError(
                f"IMPACT_PRIMARY_URL is not set and there is no stack in {data_dir}; "
                "start one with 'make run' or 'impact stack up', or set the variable"
            )
        given |= stack_variables(endpoints)
        # Keys of this machine's own go with servers of this machine's own. Elsewhere they are
        # required: two machines that each made theirs would refuse each other's tokens.
        if not given.get("IMPACT_SIGNING_KEYS"):
            given["IMPACT_SIGNING_KEYS"] = signing_keys(data_dir)
    given["IMPACT_DATA_DIR"] = str(data_dir)
    return settings_module.load(given, **overrides)


def stack_variables(endpoints: Endpoints) -> dict[str, str]:
    """What the stack's addresses are called in the environment."""
    variables = {
        "IMPACT_PRIMARY_URL": endpoints.primary_url,
        "IMPACT_REPLICA_URLS": ",".join(endpoints.replica_urls),
        "IMPACT_OWNER_URL": endpoints.owner_url,
    }
    if endpoints.redis_url:
        variables["IMPACT_REDIS_URL"] = endpoints.redis_url
    return variables


def signing_keys(data_dir: Path) -> str:
    """The data directory's signing keys, generated at first use and readable by us alone."""
    path = data_dir / "signing-keys.json"
    try:
        keys: str = msgspec.json.decode(path.read_bytes(), type=dict[str, str])["signing_keys"]
    except FileNotFoundError:
        keys = f"{secrets.token_hex(4)}:{secrets.token_urlsafe(48)}"
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.encode({"signing_keys": keys}))
        draft.replace(path)
    except (msgspec.MsgspecError, KeyError) as error:
        raise ConfigurationError(f"{path} is damaged; remove it to have new keys") from error
    return keys


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn what goes wrong on purpose into one line and exit status 1."""
    try:
        yield
    except (ImpactError, StackError) as error:
        raise click.ClickException(str(error)) from error
