-- Gives back messages that were fetched and not processed: Dramatiq's own `requeue`, but to the head of the queue, in their order.
-- Safe to repeat.
--
-- KEYS
--   1  $ns:__heartbeats__               Dramatiq's sorted set of worker ids by the time of their last sign of life (ms)
--   2  $ns:__acks__.$worker.$queue      Dramatiq's set of ids that this worker has fetched and not acknowledged
--   3  $ns:$queue.msgs                  Dramatiq's hash of message id -> message
--   4  $ns:$queue                       Dramatiq's list of ids that wait
-- ARGV
--   1  now, in ms of the worker's wall clock
--   2  id of the worker
--   3… ids of messages in the order in which they were fetched
--
-- Returns how many of them are in the queue again.

local heartbeats, acks, messages, list = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local back = 0
for at = #ARGV, 3, -1 do
  if redis.call("HEXISTS", messages, ARGV[at]) == 0 then
    redis.call("SREM", acks, ARGV[at])
  elseif redis.call("SREM", acks, ARGV[at]) > 0 then
    redis.call("LPUSH", list, ARGV[at])
    back = back + 1
  end
end

redis.pcall("ZADD", heartbeats, ARGV[1], ARGV[2])
return back
