-- A server wants samples of a tenant's selectors from all that have some, for a while.
-- KEYS 1 what is wanted of the tenant's  2 tenants of which something is
-- ARGV 1 tenant  2 member  3 ttl ms  4 the most of a tenant, then (selector's hash, selector)*
-- -> how many there was no room for
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ends = string.format('%.0f', now + tonumber(ARGV[3]))
local all = redis.call('HGETALL', KEYS[1])
local known, count = {}, 0
for i = 1, #all, 2 do
  local ended = tonumber(string.match(all[i + 1], '^%d+') or '0') <= now
  if ended then
    redis.call('HDEL', KEYS[1], all[i])
  else
    known[all[i]] = true
    count = count + 1
  end
end
local refused = 0
for i = 5, #ARGV, 2 do
  local field = ARGV[i] .. ':' .. ARGV[2]
  if known[field] or count < tonumber(ARGV[4]) then
    if not known[field] then count = count + 1 end
    known[field] = true
    redis.call('HSET', KEYS[1], field, ends .. ' ' .. ARGV[i + 1])
  else
    refused = refused + 1
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], ends, ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return refused
