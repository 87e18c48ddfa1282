"""Reading the policies, and whose address a client's is."""

from typing import Any

import pytest

from impact import settings as settings_module
from impact.engine.limits.address import Addresses
from impact.engine.limits.policies import DEFAULTS, Policies
from impact.errors import ConfigurationError
from impact.settings import Settings


def settings(**changes: Any) -> Settings:
    return settings_module.load(
        {}, primary_url="postgresql://a:b@c/d", signing_keys="k:" + "x" * 32, **changes
    )


class TestPolicies:
    def test_one_for_all_and_one_for_a_tenant(self) -> None:
        found = Policies(["tenant-read=5/10", "paris:tenant-read=7", "paris:caller-write=2"])
        assert (found.of("lyon", "tenant-read").limit, found.of("lyon", "tenant-read").window) == (
            5,
            10,
        )
        assert found.of("paris", "tenant-read").limit == 7
        assert found.of("paris", "caller-write").limit == 2
        assert len(list(found)) == len(DEFAULTS) + 2

    @pytest.mark.parametrize(
        "entry",
        [
            *("tenant-read", "tenant-read=", "tenant-read=0", "tenant-read=5/0", "nothing=5"),
            *("tenant-read=-1", "tenant-read=5/90000", "Paris:tenant-read=5", "tenant-read=5/1/1"),
        ],
    )
    def test_what_means_nothing_is_refused(self, entry: str) -> None:
        with pytest.raises(ConfigurationError, match="IMPACT_RATE_LIMITS"):
            Policies([entry])

    def test_no_caller_alone_empties_a_tenants_budget(self) -> None:
        limits = {policy.name: policy.limit for policy in DEFAULTS}
        for name, limit in limits.items():
            if name.startswith("caller-"):
                assert limit * 2 <= limits[name.replace("caller", "tenant")]

    def test_no_window_lets_more_come_back_than_the_limit(self) -> None:
        policies = Policies(["tenant-read=900000/60", "caller-read=7/60"])
        for _, policy in policies:
            assert policy.every * policy.limit >= policy.window * 1_000_000


def address(peer: str, forwarded: str | None = None, trusted: str = "") -> str:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    scope: Any = {"client": (peer, 1), "headers": headers}
    return Addresses(settings(trusted_proxies=trusted)).of(scope)


class TestAddresses:
    @pytest.mark.parametrize(
        ("peer", "expected"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
            ("somebody", "unknown"),
        ],
    )
    def test_the_peer(self, peer: str, expected: str) -> None:
        assert address(peer) == expected

    def test_there_is_none(self) -> None:
        scope: Any = {"client": None, "headers": []}
        assert Addresses(settings()).of(scope) == "unknown"

    @pytest.mark.parametrize(
        ("forwarded", "expected"),
        [
            ("198.51.100.7", "198.51.100.7"),
            # What the client wrote itself stands first, and is not believed.
            ("203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("203.0.113.9, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("198.51.100.7:4711", "198.51.100.7"),
            ("[2001:db8::1]:4711", "2001:db8::/64"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("198.51.100.7, nonsense", "10.0.0.1"),
            ("", "10.0.0.1"),
        ],
    )
    def test_behind_a_proxy_of_ours(self, forwarded: str, expected: str) -> None:
        assert address("10.0.0.1", forwarded, "10.0.0.0/8") == expected

    def test_behind_a_proxy_of_somebody_elses(self) -> None:
        assert address("192.0.2.1", "198.51.100.7", "10.0.0.0/8") == "192.0.2.1"

    def test_a_network_that_is_none(self) -> None:
        with pytest.raises(ConfigurationError, match="IMPACT_TRUSTED_PROXIES"):
            address("192.0.2.1", trusted="10.0.0.1/8")
