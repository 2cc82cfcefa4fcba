-- Keeps what the supervisors of a feed share: who leads it, who its producers are, and how far each has come.
--
-- KEYS
--   1  $ns:__feed__.$group.$feed   a hash (take, renew and release act on several such keys in one call):
--        format         version of what is kept here (keys.py)
--        leader         producer of the acquisition that leads; "" or absent: nobody
--        until          ms of Redis's clock up to which the leader need not renew
--        seen           ms of Redis's clock at the newest sign of life of a leader: a take, a renewal, a release
--        beat           grows with every take and renewal, so that one who watches knows life from silence by its own clock
--        last, before   producer of the newest acquisition, and of the one before it
--        epoch          number of acquisitions so far; absent while nobody has ever led the feed
--        what           fingerprint of what the leader reads and where it goes, to tell two feeds of one name apart
--        position       what the newest leader's session said of its place in the feed, as JSON
--        safe           µs of the newest leader's own clock: all that it read before that is in its queue, or on its disk; where
--                       none has said so yet, when the one before was seen last
--        through        "<producer>:<seq>" of the newest acquisition, once it is done: how far it had come
--        p.$producer    "<epoch>:<nonce>:<seq>": everything that this producer sent up to message number <seq> is in its queue,
--                       and only calls made under this epoch and nonce may add to it
--      It has no expiry while the feed is led, so that eviction of keys that expire passes it by. It expires 30 days after
--      an orderly release that leaves no producer, and 30 days after its last use where nobody leads (here and in enqueue.lua).
-- ARGV
--   1  operation, then its arguments; what is in ()* comes once for each key, and so does what is answered (-> each):
--
-- take format again (producer ttl_ms seen_leader seen_beat what ghosts)*
--      Makes `producer` the leader if nobody leads, if it leads already, if the leader's time is over, or if leader and beat
--      are still those named: the caller has watched them stand still for ttl_ms, or knows that process to be dead.
--      `ghosts` (ids, with a space between) are candidates of dead processes that never heard what became of their bids. If the
--      newest acquisition is of one of them, and it enqueued nothing, it counts as if it had never been.
--      -> each {"taken", epoch, before, seen, position, seq of before, safe}   (`seen` as it was; all "" where there is nothing)
--       | {"held", leader, beat} | {"other", leader, beat}: somebody leads; "other" reads something else under this name
--       | {"spent", "", ""}: the producer has led, and another has since: it never leads again, though nobody leads now, or
--         what it still holds would come after what the other read
--       | {"error", text}: of this key alone
--      `again` = "1": the producer led before Redis forgot; its position is left for `attach` to begin with.
-- renew ttl_ms (producer position safe)*      "fenced" also where nobody leads, but another has led since
--      A position or safe of "" leaves it as it is. -> each {"ok", seq or ""} | {"fenced", leader} | {"gone", ""}: nobody leads
-- attach producer nonce base format -> {"known", prefix, seq} | {"unknown", "", "0"}
--      Makes every earlier call of the producer void, by a fresh nonce, and tells how far it has come. A producer that Redis
--      does not know begins at `base`; with base "" it is "unknown" and nothing is written, because a Redis that forgot must
--      not look healthy after a lost reply.
-- done producer -> 1 | 0
--      Forgets a producer that has nothing more to send, and with the last one the hash, unless the feed was ever led.
-- release (producer position safe)* -> each {"ok", 1} | {"ok", 0} | {"error", text}: of this key alone
--      Lets another take the lead at once; 0 if `producer` does not lead.

local UNUSED_MS = 2592000000
local OLD_EPOCHS = 1000

local operation = ARGV[1]

local function now_ms()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function digits(number)
  return string.format("%.0f", number)
end

local function is_somebody(leader)
  return leader and leader ~= ""
end

local function producers(feed)
  local found = {}
  for _, field in ipairs(redis.call("HKEYS", feed)) do
    if string.sub(field, 1, 2) == "p." then
      found[#found + 1] = field
    end
  end
  return found
end

local function forget_old_producers(feed, epoch)
  for _, field in ipairs(producers(feed)) do
    local of = tonumber(string.match(redis.call("HGET", feed, field), "^(%d+):"))
    if of and of < epoch - OLD_EPOCHS then
      redis.call("HDEL", feed, field)
    end
  end
end

local function seq_of(feed, name)
  local through, seq = string.match(redis.call("HGET", feed, "through") or "", "^(.*):(%d+)$")
  return string.match(redis.call("HGET", feed, "p." .. name) or "", "(%d+)$") or (through == name and seq) or ""
end

-- Whether another has led since `name`, given who led last.
local function overtaken(last, name)
  return is_somebody(last) and last ~= name
end

-- Acts on every key, given where its arguments begin (the first key's at `first`, so many each): what is wrong with one feed's
-- key costs that feed alone.
local function each(first, count, act)
  local replies = {}
  for number, feed in ipairs(KEYS) do
    local well, reply = pcall(act, feed, first + count * (number - 1))
    if not well then
      reply = {"error", type(reply) == "table" and reply.err or tostring(reply)}  -- a table since Redis 7
    end
    replies[number] = reply
  end
  return replies
end

local function is_ghost(feed, name, ghosts)
  if not is_somebody(name) or not string.find(" " .. ghosts .. " ", " " .. name .. " ", 1, true) then
    return false
  end
  local seq = seq_of(feed, name)
  return seq == "" or seq == "0"
end

local function take(feed, at)
  local format, again = ARGV[2], ARGV[3]
  local producer, ttl, seen_leader, seen_beat = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local what, ghosts = ARGV[at + 4], ARGV[at + 5]
  local held = redis.call("HMGET", feed, "leader", "until", "beat", "epoch", "what", "last", "before", "seen", "position", "safe")
  local leader, beat, last, before, now = held[1], held[3], held[6], held[7] or "", now_ms()
  local mine = leader == producer
  -- Not where the bidder itself led before it, unknowingly: who was before that is kept nowhere.
  local ghost = last ~= producer and before ~= producer and is_ghost(feed, last, ghosts) and last
  if ghost then
    leader, last, before = leader ~= ghost and leader, before, ""
  end
  if overtaken(last, producer) and (again == "1" or redis.call("HEXISTS", feed, "p." .. producer) == 1) then
    return {"spent", "", ""}
  end
  if is_somebody(leader) and not mine and now < tonumber(held[2] or "0") and not (leader == seen_leader and beat == seen_beat) then
    return {held[5] == what and "held" or "other", leader, beat}
  end
  local epoch = held[4]
  if not mine then
    epoch = digits(redis.call("HINCRBY", feed, "epoch", 1))
    if last ~= producer then
      before = last or ""
    end
    if ghost then
      redis.call("HDEL", feed, "p." .. ghost)
    end
    forget_old_producers(feed, tonumber(epoch))
    if held[8] and not held[10] then
      redis.call("HSET", feed, "safe", held[8] .. "000")  -- who led has said nothing yet: since then frames may be missing
    end
  end
  redis.call("HSET", feed, "format", format, "leader", producer, "until", digits(now + ttl), "seen", digits(now), "what", what)
  redis.call("HSET", feed, "last", producer, "before", before)
  redis.call("HINCRBY", feed, "beat", 1)
  if again ~= "1" then
    redis.call("HSETNX", feed, "p." .. producer, epoch .. "::0")
  end
  redis.call("PERSIST", feed)
  return {"taken", epoch, before, held[8] or "", held[9] or "", seq_of(feed, before), held[10] or ""}
end

local function renew()
  local ttl, now, replies = tonumber(ARGV[2]), now_ms(), {}
  for number, key in ipairs(KEYS) do
    local name, position, safe = ARGV[3 * number], ARGV[3 * number + 1], ARGV[3 * number + 2]
    local held = redis.pcall("HMGET", key, "leader", "p." .. name, "last")
    if held.err then
      replies[number] = {"gone", ""}  -- no hash any more: its own take says so, and the other feeds' leases do not end for it
    elseif held[1] == name then
      redis.call("HSET", key, "until", digits(now + ttl), "seen", digits(now))
      if position ~= "" then
        redis.call("HSET", key, "position", position)
      end
      if safe ~= "" then
        redis.call("HSET", key, "safe", safe)
      end
      redis.call("HINCRBY", key, "beat", 1)
      replies[number] = {"ok", string.match(held[2] or "", "(%d+)$") or ""}
    elseif is_somebody(held[1]) or overtaken(held[3], name) then
      replies[number] = {"fenced", is_somebody(held[1]) and held[1] or held[3]}
    else
      replies[number] = {"gone", ""}
    end
  end
  return replies
end

local function expire_unless_led(feed)
  if not is_somebody(redis.call("HGET", feed, "leader")) then
    redis.call("PEXPIRE", feed, UNUSED_MS)
  end
end

local function attach(feed)
  local producer, nonce, base, format = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
  local field = "p." .. producer
  local held = redis.call("HMGET", feed, "epoch", field)
  if not held[2] and base == "" then
    return {"unknown", "", "0"}
  end
  local position = held[2] and string.match(held[2], "(%d+)$") or base
  local prefix = (held[1] or "0") .. ":" .. nonce .. ":"
  redis.call("HSET", feed, "format", format, field, prefix .. position)
  expire_unless_led(feed)
  return {"known", prefix, position}
end

local function done(feed)
  local producer = ARGV[2]
  local seq = seq_of(feed, producer)
  if seq ~= "" and redis.call("HGET", feed, "last") == producer then
    redis.call("HSET", feed, "through", producer .. ":" .. seq)
  end
  local known = redis.call("HDEL", feed, "p." .. producer)
  if redis.call("HLEN", feed) == 1 then
    redis.call("DEL", feed)  -- only `format` is left
  end
  return known
end

local function release(feed, at)
  local producer, position, safe = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if redis.call("HGET", feed, "leader") ~= producer then
    return {"ok", 0}
  end
  redis.call("HSET", feed, "leader", "", "until", "0", "seen", digits(now_ms()))
  if safe ~= "" then
    redis.call("HSET", feed, "safe", safe)
  end
  if position ~= "" then
    redis.call("HSET", feed, "position", position)
  end
  if #producers(feed) == 0 then
    redis.call("PEXPIRE", feed, UNUSED_MS)
  end
  return {"ok", 1}
end

if operation == "take" then
  return each(4, 6, take)
elseif operation == "renew" then
  return renew()
elseif operation == "attach" then
  return attach(KEYS[1])
elseif operation == "done" then
  return done(KEYS[1])
elseif operation == "release" then
  return each(2, 3, release)
end
return redis.error_reply("ERR unknown operation " .. operation)
