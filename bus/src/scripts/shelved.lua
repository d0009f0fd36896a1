-- What was put on a shelf or taken away after a revision, the oldest change first.
-- KEYS 1 what lies there 2 revisions  ARGV 1 after which revision 2 things at most 3 bytes, about
-- -> {lineage, newest revision, name, its revision, '1' and what it says or '0' where it is gone, …}
local lineage = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
local newest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] or '0'
local told = {lineage, newest}
if tonumber(newest) <= tonumber(ARGV[1]) then return told end
local changed = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local bytes = 0
for i = 1, #changed, 2 do
  if bytes > tonumber(ARGV[3]) then break end
  local text = redis.call('HGET', KEYS[1], changed[i])
  told[#told + 1] = changed[i]
  told[#told + 1] = changed[i + 1]
  told[#told + 1] = text and '1' .. text or '0'
  bytes = bytes + (text and #text or 0)
end
return told
