-- Where feeds are; changes nothing.
-- KEYS 1 generation, then a meta each  -> {lineage, epoch, offset, …}; the epoch is '' where reading the
-- feed would begin one
local lineage = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
local known = redis.call('HMGET', KEYS[1], 'l', 'n')
local told = {lineage}
for i = 2, #KEYS do
  local m = redis.call('HMGET', KEYS[i], 'g', 'e', 'o')
  local holds = known[1] == lineage and m[1] and m[1] == known[2]
  told[#told + 1] = holds and m[2] or ''
  told[#told + 1] = m[3] or '0'
end
return told
