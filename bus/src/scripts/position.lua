-- Begins every script that reads or changes a feed.

-- The generation that holds in this partition, and the server's lineage. A caller that says the lineage
-- that was adopted costs one look; else the server is asked, and another lineage than the adopted one
-- begins a generation: writes may be gone that somebody has seen.
local function generation(key, said)
  local known = redis.call('HMGET', key, 'l', 'n')
  if known[2] and known[1] == said then return known[2], said end
  local now = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
  if known[2] and known[1] == now then return known[2], now end
  local n = string.format('%.0f', redis.call('HINCRBY', key, 'n', 1))
  redis.call('HSET', key, 'l', now)
  return n, now
end

-- Epoch and offset of a feed, whose meta says g, e and o. In a new generation it gets a new epoch; offsets
-- go on. The new one lies ten seconds further before the clock than the old one did: so it is larger than
-- any id (epoch + offset) of the old one whose frame may have been seen and lost, and two servers that
-- begin one from the same data, one after the other, do not give the same.
local function position(stream, meta, n, g, e, o)
  if g == n then return e, tonumber(o) end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local epoch = now
  if e then
    local began = tonumber(redis.call('HGET', meta, 'b') or e)
    now = math.max(now, began)
    epoch = now + tonumber(e) - began + 10000
  else
    redis.call('DEL', stream)
    -- What it began with: epochs from before that are none of its own.
    redis.call('HSET', meta, 'a', string.format('%.0f', epoch))
  end
  e, o = string.format('%.0f', epoch), tonumber(o or '0')
  redis.call('HSET', meta, 'g', n, 'e', e, 'b', string.format('%.0f', now), 'o', string.format('%.0f', o))
  redis.call('EXPIRE', meta, 86400)
  return e, o
end

-- Puts a frame behind the newest, and tells who listens; its offset. Of the oldest about so many are kept;
-- '': all.
local function put(stream, meta, e, o, frame, kept, seconds)
  local id = string.format('%.0f', o + 1)
  if kept == '' then
    redis.call('XADD', stream, id .. '-0', 'd', frame)
  else
    redis.call('XADD', stream, 'MAXLEN', '~', kept, id .. '-0', 'd', frame)
  end
  redis.call('HSET', meta, 'o', id)
  redis.call('EXPIRE', stream, seconds)
  redis.call('EXPIRE', meta, 86400)
  redis.call('SPUBLISH', stream, e .. ':' .. id .. ':' .. frame)
  return id
end

