-- Keeps something that is one of a list; past so many of them the oldest go.
-- KEYS 1 what is kept 2 list  ARGV 1 what the keys of all that is listed begin with 2 its name 3 what it says
-- 4 ms kept 5 of a list at most
-- -> names of those that went
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - tonumber(ARGV[4])))
redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
local gone = {}
local max = tonumber(ARGV[5])
-- Those that ended before their time are still listed.
if redis.call('ZCARD', KEYS[2]) > max then
  for _, one in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    if redis.call('EXISTS', ARGV[1] .. one) == 0 then redis.call('ZREM', KEYS[2], one) end
  end
end
local beyond = redis.call('ZCARD', KEYS[2]) - max
if beyond > 0 then
  local oldest = redis.call('ZPOPMIN', KEYS[2], beyond)
  for i = 1, #oldest, 2 do
    redis.call('DEL', ARGV[1] .. oldest[i])
    gone[#gone + 1] = oldest[i]
  end
end
return gone
