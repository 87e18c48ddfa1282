"""Settings: read from the environment, every problem named at once."""

from pathlib import Path

import pytest

from impact.errors import ConfigurationError
from impact.settings import load, variable

KEY = "one:" + "k" * 32
REQUIRED = {"IMPACT_PRIMARY_URL": "postgresql://app:pw@db/impact", "IMPACT_SIGNING_KEYS": KEY}


def problems(environ, **overrides):
    with pytest.raises(ConfigurationError) as raised:
        load(environ, **overrides)
    return raised.value.message


def test_defaults():
    settings = load(REQUIRED)
    assert (settings.port, settings.replica_urls, settings.redis_url) == (9000, (), None)
    assert settings.data_dir == Path(".impact")


def test_everything_that_is_wrong_is_named():
    message = problems(
        {
            "IMPACT_PORT": "70000",
            "IMPACT_WORKERS": "many",
            "IMPACT_SIGNING_KEYS": "short",
            "IMPACT_POOL_WAIT_TIMEOUT": "0",
        }
    )
    for name in ("PRIMARY_URL", "PORT", "WORKERS", "SIGNING_KEYS", "POOL_WAIT_TIMEOUT"):
        assert f"IMPACT_{name}" in message


def test_nothing_but_its_own_variables():
    settings = load({**REQUIRED, "PORT": "1", "IMPACTPORT": "1", "impact_port": "1"})
    assert settings.port == 9000


def test_overrides_win_and_none_does_not():
    environ = {**REQUIRED, "IMPACT_PORT": "9100", "IMPACT_HOST": "::"}
    settings = load(environ, port=9200, host=None)
    assert (settings.port, settings.host) == (9200, "::")


def test_an_empty_variable_is_not_set():
    assert load({**REQUIRED, "IMPACT_PORT": ""}).port == 9000
    assert "IMPACT_PRIMARY_URL is not set" in problems({**REQUIRED, "IMPACT_PRIMARY_URL": ""})


def test_lists_and_paths():
    urls = " postgresql://a/x ,, postgres://b/y,"
    settings = load({**REQUIRED, "IMPACT_REPLICA_URLS": urls, "IMPACT_DATA_DIR": "/srv/x"})
    assert settings.replica_urls == ("postgresql://a/x", "postgres://b/y")
    assert settings.data_dir == Path("/srv/x")


def test_the_pool_can_be_derived(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert load(REQUIRED, pool_max=0, pool_spindles=2).pool_size == 18
    assert load(REQUIRED, pool_max=7).pool_size == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", "0"),
        ("port", "65536"),
        ("port", "9000x"),
        ("workers", "0"),
        ("body_limit", "1023"),
        ("pool_max", "-1"),
        ("pool_min", "21"),
        ("statement_timeout", "0"),
        ("statement_timeout", "nan"),
        ("statement_timeout", "inf"),
        ("pool_idle_timeout", "1e9"),
        ("causal_wait", "-0.1"),
        ("token_ttl", "59"),
        ("count_limit", "0"),
        ("log_level", "loud"),
        ("log_level", "info\n"),
        ("primary_url", "mysql://a/b"),
        ("primary_url", "postgresql://host:port/db"),
        ("replica_urls", "garbage"),
        ("replica_urls", "postgresql://a/b,mysql://a/b"),
        ("replica_urls", "postgresql://[::1/db"),
        ("owner_url", "postgresql://host:99999/db"),
    ],
)
def test_bounds(field, value):
    assert variable(field) in problems(REQUIRED, **{field: value})


@pytest.mark.parametrize(
    "keys",
    [
        "k" * 40,
        "one:" + "k" * 31,
        "one:" + "k" * 31 + " ",
        f"{KEY},",
        f"{KEY},two:short",
        f"two:short,{KEY}",
        f"{KEY},two",
        f"{KEY}\n",
        f"{KEY},one:" + "j" * 32,
    ],
)
def test_signing_keys_that_are_none(keys):
    assert "IMPACT_SIGNING_KEYS" in problems({**REQUIRED, "IMPACT_SIGNING_KEYS": keys})


def test_two_signing_keys():
    keys = f"{KEY},two:" + "é" * 32
    assert load({**REQUIRED, "IMPACT_SIGNING_KEYS": keys}).signing_keys == keys


def test_secrets_stay_out_of_the_message():
    environ = {
        "IMPACT_PRIMARY_URL": "mysql://app:hunter2@db/x",
        "IMPACT_REPLICA_URLS": "postgresql://app:hunter2@db:x/x",
        "IMPACT_SIGNING_KEYS": "one:hunter2",
    }
    assert "hunter2" not in problems(environ)
