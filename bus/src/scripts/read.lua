-- What a feed holds behind a position, or all where the position is none of its epoch.
-- KEYS 1 stream 2 meta 3 generation
-- ARGV 1 lineage that the caller knows 2 its epoch or '' 3 its offset 4 entries at most
-- -> {epoch, offset of the newest, entries}
local n = generation(KEYS[3], ARGV[1])
local m = redis.call('HMGET', KEYS[2], 'g', 'e', 'o')
local e, o = position(KEYS[1], KEYS[2], n, m[1], m[2], m[3])
redis.call('EXPIRE', KEYS[2], 86400)
local from = '-'
if ARGV[2] == e and tonumber(ARGV[3]) <= o then
  from = string.format('%.0f-0', tonumber(ARGV[3]) + 1)
end
return {e, o, redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[4])}
