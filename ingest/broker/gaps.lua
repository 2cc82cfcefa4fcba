-- Keeps the record of one gap of a feed, and enqueues the message about it where there is one: once, however often it is sent.
--
-- KEYS
--   1  $ns:__gaps__.$group.$feed   sorted set of the feed's newest gaps: score = from_us (µs of the supervisor's wall clock),
--                                  member = the record as JSON (gaps.py). It never expires; ARGV 3 bounds it
--   and where the feed names a `gap_actor`, its queue:
--   2  $ns:$queue                  Dramatiq's list of message ids
--   3  $ns:$queue.msgs             Dramatiq's hash of message id -> message
-- ARGV
--   1  from_us
--   2  record
--   3  how many records are kept
--   4  id, 5 data of the message, where there is one; no watermark holds it back
--
-- Returns 1 if the gap is new, 0 if it was known: then nothing was done.

local gaps, list, messages = KEYS[1], KEYS[2], KEYS[3]
local record, most, id = ARGV[2], tonumber(ARGV[3]), ARGV[4]

-- 1. Reads only: a key of the wrong type raises before anything is written.
if list then
  redis.call("LLEN", list)
  redis.call("HLEN", messages)
end
if redis.call("ZSCORE", gaps, record) then
  return 0
end

-- 2. The first write: what Redis asks only before that (memory, being a master, permission) raises here.
redis.call("ZADD", gaps, ARGV[1], record)

-- 3. The message. If it cannot be, the record goes too: else the next attempt would find it known, and never send the message.
if list then
  local reply = redis.pcall("HSET", messages, id, ARGV[5])
  if type(reply) ~= "table" then
    reply = redis.pcall("RPUSH", list, id)
  end
  if type(reply) == "table" then
    redis.pcall("HDEL", messages, id)
    redis.call("ZREM", gaps, record)
    return reply
  end
end

-- 4. The oldest go, but never the one just added: it would be new again to the next attempt. (A clock that went back makes it
--    the oldest.)
local excess = redis.call("ZCARD", gaps) - most
if excess > 0 then
  for _, oldest in ipairs(redis.call("ZRANGE", gaps, 0, excess)) do
    if excess > 0 and oldest ~= record then
      redis.call("ZREM", gaps, oldest)
      excess = excess - 1
    end
  end
end
return 1
