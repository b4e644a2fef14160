"""Buckets in Redis, where all web processes meet: one script takes from all of a request's buckets or from none.

The time is Redis' own. A bucket that has filled up is forgotten, which is the same.
"""

from collections.abc import Sequence
from functools import cache

from redis import Redis
from redis.commands.core import Script

from gateway.rate_limits.buckets import TOKEN, Limit

# For each bucket: its limit per minute, its level when full, and what was taken from it without Redis. Answers
# whether the request may go on, and the levels as text, because numbers would lose their fractions and large ones
# their last digits.
SCRIPT = f"""
local TOKEN = {TOKEN}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local is_allowed = 1
local levels = {{}}
for i, name in ipairs(KEYS) do
  local per_minute, full, owed = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  local kept = redis.call('HMGET', name, 'level', 'at')
  local level = full
  if kept[1] then
    level = math.min(full, kept[1] + per_minute * math.max(0, now - kept[2]))
  end
  levels[i] = math.max(level - owed, -full)
  if levels[i] < TOKEN then is_allowed = 0 end
end
for i, name in ipairs(KEYS) do
  local per_minute, full, owed = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  if is_allowed == 1 then levels[i] = levels[i] - TOKEN end
  if per_minute > 0 and (is_allowed == 1 or owed > 0) then
    redis.call('HSET', name, 'level', string.format('%.0f', levels[i]), 'at', string.format('%.0f', now))
    redis.call('PEXPIRE', name, math.ceil((full - levels[i]) / per_minute / 1000) + 1000)
  end
  levels[i] = string.format('%.0f', levels[i])
end
return {{is_allowed, unpack(levels)}}
"""


@cache
def _script(client: Redis) -> Script:
    return client.register_script(SCRIPT)


def take(client: Redis, limits: Sequence[Limit], owed: Sequence[int]) -> tuple[bool, list[int]]:
    """Whether one request may be taken from all of the limits, and their levels afterwards.

    `owed` requests are taken from each in any case. The script is named by its hash; a Redis that does not know it,
    because it is new, is sent it again.
    """
    arguments = [
        value
        for limit, requests in zip(limits, owed, strict=True)
        for value in (limit.per_minute, limit.full, requests * TOKEN)
    ]
    is_allowed, *levels = _script(client)([limit.bucket for limit in limits], arguments)
    return is_allowed == 1, [int(level) for level in levels]
