-- Deletes dead letters of one queue. Safe to repeat, and while workers change the same keys.
--
-- KEYS
--   1  $ns:$queue.XQ        Dramatiq's sorted set of the ids of dead letters by the time they died (ms)
--   2  $ns:$queue.XQ.msgs   Dramatiq's hash of id -> message
-- ARGV
--   ids, at most 1000
--
-- Returns how many of them were there.

redis.call("HLEN", KEYS[2]) -- a key of the wrong type raises before anything is written

local count = redis.call("ZREM", KEYS[1], unpack(ARGV))
redis.call("HDEL", KEYS[2], unpack(ARGV))
return count
