-- Appends a frame to a feed, once, and tells who listens.
-- KEYS 1 stream 2 meta 3 generation
-- ARGV 1 lineage that the caller knows 2 publisher 3 its number of this frame 4 the number before it that
--      has to be there ('0': none) 5 frames kept 6 seconds kept 7 '' or a growing number of which the first
--      wins 8 frame 9 bytes that the feed holds at most ('0': they are counted without a bound, '': not)
-- -> {epoch, offset, outcome, lineage}; outcome: 0 appended, 1 was there, 2 somebody was first,
--    3 the caller's lineage is an old one: nothing is done, 4 the frame before it is not there
local n, lineage = generation(KEYS[3], ARGV[1])
local field = 's:' .. ARGV[2]
local m = redis.call('HMGET', KEYS[2], 'g', 'e', 'o', 't', field)
local e, o = position(KEYS[1], KEYS[2], n, m[1], m[2], m[3])
if lineage ~= ARGV[1] then return {e, o, 3, lineage} end

local sent = m[5] and tonumber(string.match(m[5], '^%d+'))
if sent and sent >= tonumber(ARGV[3]) then return {e, o, 1, lineage} end
if ARGV[4] ~= '0' and not (sent and sent >= tonumber(ARGV[4])) then return {e, o, 4, lineage} end

if ARGV[7] ~= '' and m[4] and tonumber(m[4]) >= tonumber(ARGV[7]) then
  redis.call('HSET', KEYS[2], field, ARGV[3] .. ' ' .. string.format('%.0f', o))
  return {e, o, 2, lineage}
end

-- Publishers that went are forgotten by how long ago they published, in frames.
if not sent and redis.call('HLEN', KEYS[2]) > 512 then
  local all, known = redis.call('HGETALL', KEYS[2]), {}
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 's:' then
      known[#known + 1] = {all[i], tonumber(string.match(all[i + 1], ' (%d+)$'))}
    end
  end
  table.sort(known, function(a, b) return a[2] > b[2] end)
  for i = 257, #known do redis.call('HDEL', KEYS[2], known[i][1]) end
end

-- Where bytes are counted nothing goes uncounted.
local counts = ARGV[9] ~= ''
local id = put(KEYS[1], KEYS[2], e, o, ARGV[8], counts and '' or ARGV[5], ARGV[6])
redis.call('HSET', KEYS[2], field, ARGV[3] .. ' ' .. id)
if counts then
  -- What an entry takes beside its frame is about this.
  local beside, most, entries = 100, tonumber(ARGV[9]), tonumber(ARGV[5])
  local held = redis.call('HINCRBY', KEYS[2], 'y', #ARGV[8] + beside)
  local left = redis.call('XLEN', KEYS[1])
  if left == 1 then held = #ARGV[8] + beside end
  -- Where a smaller bound has come, some each time: everybody waits for a script.
  for _ = 1, 256 do
    if not (most > 0 and held > most or left > entries) then break end
    local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    if not oldest or oldest[1] == id .. '-0' then break end
    redis.call('XDEL', KEYS[1], oldest[1])
    held = held - #oldest[2][2] - beside
    left = left - 1
  end
  redis.call('HSET', KEYS[2], 'y', string.format('%.0f', held))
end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[2], 't', ARGV[7]) end
return {e, id, 0, lineage}
