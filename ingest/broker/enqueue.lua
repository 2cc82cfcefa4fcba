-- Enqueues one batch of messages atomically: as many of its first messages as room and rate admit, or none.
--
-- KEYS
--   1            $ns:__feed__.$group.$feed   the feed's hash (see lease.lua); of it, this script reads `leader` and keeps
--                                            `p.$producer` = "<epoch>:<nonce>:<seq>", the producer's position: everything up
--                                            to message number <seq> is in its queue
--   then for every queue, three:
--     $ns:$queue               Dramatiq's list of message ids
--     $ns:$queue.msgs          Dramatiq's hash of message id -> message
--     $ns:__rate__.$queue      GCRA's theoretical arrival time, in µs of Redis's clock; one for all supervisors of a queue.
--                              Expires after the burst time + 1 s; if it is evicted, that costs one burst
-- ARGV
--   1  leader     who must lead the feed; "" = do not ask
--   2  field      "p.$producer"; "" = a plain enqueue: no position is checked or kept
--   3  prefix     "<epoch>:<nonce>:" as `attach` returned it
--   4  prev       the position that must be held now
--   5  last       the position to hold if every message is admitted
--   6  number of queues, then for each: high watermark (0 = none), messages per second (0 = no limit), burst in messages
--   .  number of runs, then for each: queue (1, 2, …), count    consecutive messages for the same queue
--   .  for every message: id, data
--
-- Returns {status, position, depth, wait_ms, detail, queue}
--   ok      every message is in
--   full    cut short at a message whose `queue` has no room
--   rate    cut short at one whose `queue` has no tokens; after wait_ms there are some (50 ms' worth, not one)
--   error   cut short at one that Redis refused, as `detail` says
--   fenced  somebody else leads the feed: nothing was done
--   gap     Redis does not hold `prev` under this prefix: nothing was done
-- `position` is absolute: all up to it is in. `depth` is that of `queue`.

-- unpack() pushes its values on a stack of 8000.
local SLICE = 4000

-- Numbers become text here, because `..` keeps 14 digits and microseconds have 16.
local function digits(number)
  return string.format("%.0f", number)
end

local feed, leader, field, prefix, prev, last = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local chained = field ~= ""
local led = true

-- 1. Fence, idempotence and order: a compare-and-swap. A call that Redis executes late, or twice, ends here.
if chained then
  local held = redis.call("HMGET", feed, "leader", field)
  led = held[1] and held[1] ~= ""
  if leader ~= "" and held[1] ~= leader then
    return {"fenced", "", 0, 0, "", 0}
  end
  if held[2] ~= prefix .. prev then
    return {"gap", "", 0, 0, "", 0}
  end
end

-- 2. Room and tokens of every queue. Reads only: a key of the wrong type raises before anything is written.
local time = redis.call("TIME")
local now = time[1] * 1000000 + time[2]
local at = 6

local function argument()
  at = at + 1
  return tonumber(ARGV[at])
end

local queues = {}
for number = 1, tonumber(ARGV[6]) do
  local queue = {
    number = number,
    list = KEYS[3 * number - 1],
    messages = KEYS[3 * number],
    arrival_key = KEYS[3 * number + 1],
    room = math.huge,
    tokens = math.huge,
    admitted = 0,
  }
  local high, rate, burst = argument(), argument(), argument()
  queue.depth = redis.call("LLEN", queue.list)
  redis.call("HLEN", queue.messages)
  if high > 0 then
    queue.room = math.max(0, high - queue.depth)
  end
  if rate > 0 then
    local arrival = tonumber(redis.call("GET", queue.arrival_key) or "0")
    queue.rate = rate
    queue.step = 1000000 / rate           -- µs between messages
    queue.span = burst * queue.step       -- µs that the arrival time may run ahead
    queue.ahead = arrival > now + queue.span  -- Redis's clock went back: clamp, and store the clamp
    queue.arrival = math.min(math.max(arrival, now), now + queue.span)
    queue.tokens = math.floor((now + queue.span - queue.arrival) / queue.step + 0.000001)
  end
  queues[number] = queue
end

-- 3. The first write changes nothing. What Redis asks only before a script's first write (memory, being a master, replicas,
--    disk, permission) raises here, so that there is never half a batch.
if chained then
  redis.call("HSET", feed, field, prefix .. prev)
end

-- 4. Run by run, until one is cut short: what is admitted is a prefix of the call.
local function ids_between(first, count)
  local ids = {}
  for k = 1, count do
    ids[k] = ARGV[first + 2 * k - 2]
  end
  return ids
end

-- Puts `count` messages from ARGV[first] into a queue; returns nil, or what Redis said.
local function push(queue, first, count)
  local ids = ids_between(first, count)
  local reply = redis.pcall("HSET", queue.messages, unpack(ARGV, first, first + 2 * count - 1))
  if type(reply) == "table" then
    return reply.err
  end
  reply = redis.pcall("RPUSH", queue.list, unpack(ids))
  if type(reply) == "table" then
    redis.pcall("HDEL", queue.messages, unpack(ids))  -- no list names them: they would stay for ever
    return reply.err
  end
  queue.depth = reply
  queue.room = queue.room - count
  queue.tokens = queue.tokens - count
  queue.admitted = queue.admitted + count
  return nil
end

local runs = argument()
local runs_at = at
at = at + 2 * runs + 1  -- the first message not yet admitted

local status, detail, stop = "ok", "", queues[1]
for run = 1, runs do
  local queue = queues[tonumber(ARGV[runs_at + 2 * run - 1])]
  local count = tonumber(ARGV[runs_at + 2 * run])
  local left = math.min(count, queue.room, queue.tokens)
  local short = count - left
  while left > 0 and status == "ok" do
    local slice = math.min(left, SLICE / 2)
    local refused = push(queue, at, slice)
    if refused then
      status, detail, stop = "error", refused, queue
    else
      left = left - slice
      at = at + 2 * slice
    end
  end
  if status == "ok" and short > 0 then
    status, stop = queue.room <= 0 and "full" or "rate", queue
    queue.wanted = short
  end
  if status ~= "ok" then
    break
  end
end

-- 5. The new position. Cut short, it is the one just before the first message that was not admitted: the end of its id is its
--    number. (Not the number of the last one admitted: between the two, numbers may be missing that were dropped before.)
local position = last
if status ~= "ok" then
  position = prev
  for _, queue in ipairs(queues) do
    if chained and queue.admitted > 0 then
      position = digits(tonumber(string.sub(ARGV[at], -12), 16) - 1)
    end
  end
end
if chained then
  redis.call("HSET", feed, field, prefix .. position)
  if not led then
    redis.call("PEXPIRE", feed, 2592000000)  -- 30 days after its last use; a feed that is led never expires
  end
end
for _, queue in ipairs(queues) do
  if queue.rate and (queue.admitted > 0 or queue.ahead) then
    local arrival = string.format("%.3f", queue.arrival + queue.admitted * queue.step)
    redis.pcall("SET", queue.arrival_key, arrival, "PX", math.ceil(queue.span / 1000) + 1000)
  end
end

-- 6. How long until there are tokens for 50 ms' worth of messages.
local wait_ms = 0
if status == "rate" then
  local wanted = math.min(stop.wanted, math.max(1, stop.rate * 0.05), stop.span / stop.step)
  local due = stop.arrival + (stop.admitted + wanted) * stop.step
  wait_ms = math.max(1, math.ceil((due - now - stop.span) / 1000))
end
return {status, position, stop.depth, wait_ms, detail, stop.number}
