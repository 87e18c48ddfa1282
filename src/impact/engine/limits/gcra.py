"""The generic cell rate algorithm, GCRA: in Redis for all processes, and in this one alone.

A bucket is one number, the time at which it will be full again (the "theoretical arrival time" of
ITU-T Recommendation I.371, Traffic control and congestion control in B-ISDN, annex A; here with
the burst as large as the limit). A token takes ``every`` from a bucket that holds
``every * limit``.
"""

LEASE = """
-- KEYS: buckets, all of one slot. ARGV, three a bucket: microseconds that a token takes to come
-- back, limit, tokens wanted. Takes from every bucket, or where one is empty from none.
-- Answers {0, given, time until full, given, ...} or {index of the bucket that has a token last,
-- time until then}; times in microseconds.
-- More than is wanted is lent while a bucket is over half full: a hundredth of what is in it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full, left, empty, longest = {}, {}, 0, 0
for i, key in ipairs(KEYS) do
  local every, limit = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  -- Another limit before, or a server with another clock, must not last longer than a window.
  full[i] = math.min(math.max(tonumber(redis.call('GET', key) or now), now), now + every * limit)
  left[i] = math.floor((now + every * limit - full[i]) / every)
  if left[i] < 1 then
    local wait = full[i] + every - every * limit - now
    if wait > longest then empty, longest = i, wait end
  end
end
if empty > 0 then return {empty, longest} end
local answer = {0}
for i, key in ipairs(KEYS) do
  local every, limit = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1])
  local share = left[i] * 2 > limit and math.floor(left[i] / 100) or 1
  local given = math.min(left[i], math.max(tonumber(ARGV[3 * i]), share))
  local untilfull = full[i] + given * every - now
  redis.call('SET', key, string.format('%.0f', now + untilfull),
    'PX', math.ceil(untilfull / 1000))
  answer[#answer + 1] = given
  answer[#answer + 1] = untilfull
end
return answer
"""


class Share:
    """A bucket of this process alone, for while Redis is away. Times in seconds."""

    __slots__ = ("_every", "_full_at", "_window")

    def __init__(self, limit: int, window: float) -> None:
        self._every = window / limit
        self._window = window
        self._full_at = 0.0

    def wait(self, now: float) -> float:
        """Seconds until there is a token; none, or fewer, where there is one."""
        # A sum of many fractions is off by a little.
        return self._full_at + self._every * (1 - 1e-6) - self._window - now

    def take(self, now: float) -> float:
        """Answers the seconds until it is full again."""
        self._full_at = max(self._full_at, now) + self._every
        return self._full_at - now
