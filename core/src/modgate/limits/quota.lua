-- The shared levels: reserve, trim, touch, settle, reap.  The twin of levels.py, rule by rule.
-- Source: algorithms.md 3.1, 3.2 and appendix A.  All arithmetic is of whole numbers below 2^53.
-- KEYS[1] = record, KEYS[2] = the records of this tenant by when they end, KEYS[3..] = limits:
-- all of one {tag}, so all of one slot.
-- ARGV: op, now_ms (0 = this server's clock), ttl_ms, then per limit: kind, amount, period_ms,
-- burst, count.  Kinds: b leaky bucket (level in unit x ms), w window (period_ms = its end), c count.
local op, now, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local KEPT, WINDOW_KEPT, WAIT_FOR_SLOT, BACK = 600000, 172800000, 1000, 10000
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function whole(number) return string.format('%.0f', number) end

local function level(key, kind, amount)
  if kind ~= 'b' then return tonumber(redis.call('GET', key) or '0'), now end
  local kept = redis.call('HMGET', key, 'l', 't')
  local value, at = tonumber(kept[1] or '0'), tonumber(kept[2] or whole(now))
  if at - now > BACK then  -- the clock was set back
    at = now
    redis.call('HSET', key, 't', whole(at))
  end
  value = value - math.max(0, now - at) * amount
  return math.max(0, value), math.max(at, now)
end

local function store(key, kind, amount, period, value, at)
  if kind == 'w' then
    redis.call('SET', key, whole(value))
    redis.call('PEXPIREAT', key, whole(period + WINDOW_KEPT))
  elseif value <= 0 then
    redis.call('DEL', key)
  elseif kind == 'b' then
    redis.call('HSET', key, 'l', whole(value), 't', whole(at))
    redis.call('PEXPIRE', key, whole(math.ceil(value / math.max(1, amount)) + 1000))
  else
    redis.call('SET', key, whole(value))
  end
end

local function add(key, kind, amount, period, delta)
  if delta == 0 then return end
  local value, at = level(key, kind, amount)
  if kind == 'b' then delta = delta * period end
  store(key, kind, amount, period, math.max(0, value + delta), at)
end

local function wait_of(value, kind, amount, period, burst, count)
  if kind == 'b' then
    local over = value + math.min(count, burst) * period - burst * period
    return over > 0 and math.ceil(over / math.max(1, amount)) or 0
  end
  if value + count <= amount then return 0 end
  return kind == 'w' and math.max(1, period - now) or WAIT_FOR_SLOT
end

local function limit(i)
  local at = 3 + (i - 1) * 5
  return ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]),
    tonumber(ARGV[at + 5])
end

-- Charge what the record's limits are short of `final(i, charged, measured)`.
local function close(record, final)
  local n = tonumber(redis.call('HGET', record, 'n'))
  for i = 1, n do
    local kept = redis.call('HMGET', record, 'k' .. i, 'c' .. i, 'm' .. i)
    local key, kind, amount, period = string.match(kept[1], '^(.*)|(.)|(%d+)|(%d+)$')
    local charged, measured = tonumber(kept[2]), tonumber(kept[3])
    local due = kind == 'c' and final(i, charged, measured, true) or final(i, charged, measured)
    add(key, kind, tonumber(amount), tonumber(period), due - charged)
    redis.call('HSET', record, 'c' .. i, whole(due))
  end
end

if op == 'reserve' then
  local n, wait, worst, levels = #KEYS - 2, 0, 0, {}
  local known = redis.call('EXISTS', KEYS[1]) == 1
  local ats = {}
  for i = 1, n do
    local kind, amount, period, burst, count = limit(i)
    levels[i], ats[i] = level(KEYS[i + 2], kind, amount)
    local needed = known and 0 or wait_of(levels[i], kind, amount, period, burst, count)
    if needed > wait then wait, worst = needed, i end
  end
  if wait == 0 and not known then
    local record = {'v', '1', 's', 'o', 'n', n}
    for i = 1, n do
      local kind, amount, period, burst, count = limit(i)
      if kind == 'b' then count = math.min(count, burst) end
      add(KEYS[i + 2], kind, amount, period, count)
      levels[i] = level(KEYS[i + 2], kind, amount)
      local of = KEYS[i + 2] .. '|' .. kind .. '|' .. whole(amount) .. '|' .. whole(period)
      for _, each in ipairs({'k' .. i, of, 'c' .. i, whole(count), 'm' .. i, '0'}) do
        record[#record + 1] = each
      end
    end
    redis.call('HSET', KEYS[1], unpack(record))
    redis.call('PEXPIRE', KEYS[1], ttl + KEPT)
    redis.call('ZADD', KEYS[2], whole(now + ttl), KEYS[1])
  end
  for i = 1, n do levels[i] = whole(levels[i]) end
  return {wait, worst, levels}
end

if op == 'owe' then  -- limits as for reserve, each count signed: charged whatever is left
  if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
  for i = 1, #KEYS - 2 do
    local kind, amount, period, burst, count = limit(i)
    add(KEYS[i + 2], kind, amount, period, count)
  end
  redis.call('HSET', KEYS[1], 'v', '1', 's', 'f', 'n', 0)
  redis.call('PEXPIRE', KEYS[1], KEPT)
  return 1
end

if op == 'join' then  -- ttl: who is alive, by when it is no more; ARGV[4] = who asks
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
  redis.call('ZADD', KEYS[1], whole(now + ttl), ARGV[4])
  redis.call('PEXPIRE', KEYS[1], ttl)
  return redis.call('ZCARD', KEYS[1])
end

local state = redis.call('HGET', KEYS[1], 's')

if op == 'trim' then  -- ARGV[4..] = what stays charged of each limit, at most what is
  if state ~= 'o' then return 0 end
  close(KEYS[1], function(i, charged) return math.min(charged, tonumber(ARGV[3 + i])) end)
  return 1
end

if op == 'touch' then  -- ARGV[4..] = measured so far
  if state ~= 'o' then return 0 end
  local n = tonumber(redis.call('HGET', KEYS[1], 'n'))
  for i = 1, n do redis.call('HSET', KEYS[1], 'm' .. i, ARGV[3 + i]) end
  redis.call('ZADD', KEYS[2], whole(now + ttl), KEYS[1])
  redis.call('PEXPIRE', KEYS[1], ttl + KEPT)
  return 1
end

if op == 'settle' then  -- ARGV[4..] = what it really was
  if not state or state == 'f' then return 0 end
  close(KEYS[1], function(i, charged, measured, counted)
    return counted and 0 or tonumber(ARGV[3 + i])
  end)
  redis.call('HSET', KEYS[1], 's', 'f')
  redis.call('PEXPIRE', KEYS[1], KEPT)
  redis.call('ZREM', KEYS[2], KEYS[1])
  return 1
end

if op == 'reap' then  -- ttl = how many records at most
  local late = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now), 'LIMIT', 0, ttl)
  for _, record in ipairs(late) do
    if redis.call('HGET', record, 's') == 'o' then
      close(record, function(i, charged, measured, counted) return counted and 0 or measured end)
      redis.call('HSET', record, 's', 'r')
      redis.call('PEXPIRE', record, KEPT)
    end
    redis.call('ZREM', KEYS[2], record)
  end
  return #late
end

return redis.error_reply('bad op')
