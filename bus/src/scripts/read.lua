-- What a feed holds behind a position, oldest first. Where the position is none of its epoch, the
-- newest that it holds, in their order: what begins anew ends with what is newest.
-- KEYS 1 stream 2 meta 3 generation
-- ARGV 1 lineage that the caller knows 2 its epoch or '' 3 its offset 4 entries at most
--      5 1: also who begins anew reads from the oldest on
-- -> {epoch, offset of the newest, entries}
local n = generation(KEYS[3], ARGV[1])
local m = redis.call('HMGET', KEYS[2], 'g', 'e', 'o')
local e, o = position(KEYS[1], KEYS[2], n, m[1], m[2], m[3])
redis.call('EXPIRE', KEYS[2], 86400)
if ARGV[2] == e and tonumber(ARGV[3]) <= o then
  local from = string.format('%.0f-0', tonumber(ARGV[3]) + 1)
  return {e, o, redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[4])}
end
if ARGV[5] == '1' then
  return {e, o, redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[4])}
end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[4])
-- As many of them as make four megabytes, which an answer has time for.
local held, bytes = 0, 0
while held < #newest and (held == 0 or bytes < 4194304) do
  held = held + 1
  bytes = bytes + #newest[held][2][2]
end
local entries = {}
for i = held, 1, -1 do entries[#entries + 1] = newest[i] end
return {e, o, entries}
