"""Limits on guessing passwords that nobody can use to lock somebody else out.

An account's tries are counted by address: whoever fails often waits, at that address. Tries from
many addresses are counted together too, but only those of strangers: an address from which the
account was logged in to of late is none (the idea of OWASP's "Slow Down Online Guessing Attacks
with Device Cookies", with the address for the cookie). So the owner at a usual place is never
kept out by others, and elsewhere at most until the next token of ``login-strangers``.
"""

import contextlib

from impact.context import RequestContext
from impact.engine.cache.remote import RedisAwayError, Remote
from impact.engine.limits.limiter import Limiter

_REMEMBERED = 30 * 86_400
"""Seconds for which an address stays known."""
_SUCCEED = """
-- KEYS: the bucket of an account at an address, the mark that the address is known.
-- ARGV: seconds for which it is.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], 1, 'EX', ARGV[1])
return 1
"""


class LoginLimits:
    """``account`` is a digest that tells nothing of whose it is."""

    def __init__(self, limiter: Limiter, remote: Remote | None) -> None:
        self._limiter = limiter
        self._remote = remote

    async def attempt(self, context: RequestContext, account: str) -> None:
        """Count a try before the password is looked at. Raises RateLimitedError."""
        budgets = [("login-account", f"{account}:{context.address}")]
        if not await self._is_known(context, account):
            budgets.append(("login-strangers", account))
        await self._limiter.charge_more(context, "login", *budgets)

    async def succeeded(self, context: RequestContext, account: str) -> None:
        """The tries before were its owner's: they no longer count here, and the address is known.

        Without Redis neither is noted.
        """
        subject = f"{account}:{context.address}"
        key = self._limiter.forget(context.tenant, "login-account", subject)
        if self._remote is not None:
            keys = [key, self._mark(context, account)]
            with contextlib.suppress(RedisAwayError):
                await self._remote.script(_SUCCEED, keys, [_REMEMBERED])

    async def _is_known(self, context: RequestContext, account: str) -> bool:
        """While Redis is away everybody is: guesses are then limited by address alone."""
        if self._remote is None:
            return True
        client, mark = self._remote.client, self._mark(context, account)
        try:
            return bool(await self._remote.call(lambda: client.exists(mark)))
        except RedisAwayError:
            return True

    def _mark(self, context: RequestContext, account: str) -> str:
        return self._limiter.key(context.tenant, "login-known", f"{account}:{context.address}")
