-- Puts dead letters of one queue back at its end, in the order given, each as a message that has not been tried yet.
-- Safe to repeat, and while workers, Dramatiq's own maintenance and other callers change the same keys: what is no dead letter
-- any more is left alone.
--
-- KEYS
--   1  $ns:$queue.XQ        Dramatiq's sorted set of the ids of dead letters by the time they died (ms)
--   2  $ns:$queue.XQ.msgs   Dramatiq's hash of id -> message
--   3  $ns:$queue           Dramatiq's list of ids that wait
--   4  $ns:$queue.msgs      Dramatiq's hash of id -> message
-- ARGV
--   (id of the dead letter, its new id, the message under that)*, at most 500 and about 4 MB
--
-- Returns how many were put back, and an error text where one of them failed ("" where none did): those before it are back.

local dead, dead_messages, list, messages = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- 1. Reads only: a key of the wrong type raises before anything is written.
redis.call("ZCARD", dead)
redis.call("HLEN", dead_messages)
redis.call("LLEN", list)
redis.call("HLEN", messages)

local function failed(reply)
  return type(reply) == "table" and reply.err
end

-- 2. The new one is written before the old one goes: whatever Redis refuses half-way, no message is lost by it.
local function put_back(id, new_id, message)
  local err = failed(redis.pcall("HSET", messages, new_id, message)) or failed(redis.pcall("RPUSH", list, new_id))
  if not err then
    err = failed(redis.pcall("ZREM", dead, id))
    if err then
      redis.pcall("LREM", list, -1, new_id)
    end
  end
  if err then
    redis.pcall("HDEL", messages, new_id)
    return err
  end
  redis.pcall("HDEL", dead_messages, id)
end

local count = 0
for at = 1, #ARGV, 3 do
  if redis.call("ZSCORE", dead, ARGV[at]) then
    local err = put_back(ARGV[at], ARGV[at + 1], ARGV[at + 2])
    if err then
      return { count, err }
    end
    count = count + 1
  end
end
return { count, "" }
