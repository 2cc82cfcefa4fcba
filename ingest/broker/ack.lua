-- Acknowledges messages of one queue: for each the rule of Dramatiq's own `ack`, in one call for all. Safe to repeat.
--
-- KEYS
--   1  $ns:__heartbeats__               Dramatiq's sorted set of worker ids by the time of their last sign of life (ms)
--   2  $ns:__acks__.$worker.$queue      Dramatiq's set of ids that this worker has fetched and not acknowledged
--   3  $ns:$queue.msgs                  Dramatiq's hash of message id -> message
-- ARGV
--   1  now, in ms of the worker's wall clock
--   2  id of the worker
--   3… ids of messages, at most 1000
--
-- Returns how many of them were still this worker's: what has meanwhile been given to another is not deleted.

local heartbeats, acks, messages = KEYS[1], KEYS[2], KEYS[3]

local ours = {}
for at = 3, #ARGV do
  if redis.call("SREM", acks, ARGV[at]) > 0 then
    ours[#ours + 1] = ARGV[at]
  end
end
if #ours > 0 then
  redis.call("HDEL", messages, unpack(ours))
end

-- Last, because it takes memory: a Redis that has none left still lets go of what is done.
redis.pcall("ZADD", heartbeats, ARGV[1], ARGV[2])
return #ours
