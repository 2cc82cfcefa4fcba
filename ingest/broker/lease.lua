-- Keeps what the supervisors of a feed share: who its producers are, and how far each has come.
--
-- KEYS
--   1  $ns:__feed__.$group.$feed   a hash:
--        format         version of what is kept here (keys.py)
--        epoch          number of acquisitions so far; absent while nobody has ever led the feed
--        p.$producer    "<epoch>:<nonce>:<seq>": everything that this producer sent up to message number <seq> is in its queue,
--                       and only calls made under this epoch and nonce may add to it
--      It expires 30 days after its last use (here and in enqueue.lua), unless the feed is led.
-- ARGV
--   1  operation, then its arguments:
--
-- attach producer nonce base format -> {"known", prefix, seq} | {"unknown", "", "0"}
--      Makes every earlier call of the producer void, by a fresh nonce, and tells how far it has come. A producer that Redis
--      does not know begins at `base`; with base "" it is "unknown" and nothing is written, because a Redis that forgot must
--      not look healthy after a lost reply.
-- done producer -> 1 | 0
--      Forgets a producer that has nothing more to send, and with the last one the hash, unless the feed was ever led.

local UNUSED_MS = 2592000000

local feed, operation, producer = KEYS[1], ARGV[1], ARGV[2]
local field = "p." .. producer

local function expire_unless_led()
  local leader = redis.call("HGET", feed, "leader")
  if not leader or leader == "" then
    redis.call("PEXPIRE", feed, UNUSED_MS)
  end
end

if operation == "attach" then
  local nonce, base, format = ARGV[3], ARGV[4], ARGV[5]
  local held = redis.call("HMGET", feed, "epoch", field)
  if not held[2] and base == "" then
    return {"unknown", "", "0"}
  end
  local position = held[2] and string.match(held[2], "(%d+)$") or base
  local prefix = (held[1] or "0") .. ":" .. nonce .. ":"
  redis.call("HSET", feed, "format", format, field, prefix .. position)
  expire_unless_led()
  return {"known", prefix, position}
elseif operation == "done" then
  local known = redis.call("HDEL", feed, field)
  if redis.call("HLEN", feed) == 1 then
    redis.call("DEL", feed)  -- only `format` is left
  end
  return known
end
return redis.error_reply("ERR unknown operation " .. operation)
