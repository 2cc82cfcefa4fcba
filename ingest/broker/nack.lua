-- Makes a message a dead letter: Dramatiq's own `nack`, but with the message as the worker has it at the end, which knows of what
-- it died. (Dramatiq keeps it as it was enqueued: with the traceback of the try before, or with none.)
--
-- KEYS
--   1  $ns:__heartbeats__               Dramatiq's sorted set of worker ids by the time of their last sign of life (ms)
--   2  $ns:__acks__.$worker.$queue      Dramatiq's set of ids that this worker has fetched and not acknowledged
--   3  $ns:$queue.msgs                  Dramatiq's hash of message id -> message
--   4  $ns:$queue.XQ                    Dramatiq's sorted set of the ids of dead letters by the time they died (ms)
--   5  $ns:$queue.XQ.msgs               Dramatiq's hash of id -> message
-- ARGV
--   1  now, in ms of the worker's wall clock
--   2  id of the worker
--   3  id of the message
--   4  the message
--
-- Returns 1, or 0 where it was not this worker's any more: then nothing was done.

local heartbeats, acks, messages, dead, dead_messages = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, worker, id = ARGV[1], ARGV[2], ARGV[3]

local ours = redis.call("SREM", acks, id)
if ours > 0 and redis.call("HEXISTS", messages, id) > 0 then
  redis.call("ZADD", dead, now, id)
  redis.call("HSET", dead_messages, id, ARGV[4])
  redis.call("HDEL", messages, id)
end

redis.pcall("ZADD", heartbeats, now, worker)
return ours
