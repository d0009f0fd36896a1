-- Says that a member is there, and who else is.
-- KEYS 1 members 2 what they say of themselves
-- ARGV 1 who 2 what it says 3 ms after which one is dead 4 ms after which it is forgotten
-- -> {now in ms, who, what it says, …}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local gone = string.format('%.0f', now - tonumber(ARGV[4]))
for _, who in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', gone)) do
  redis.call('ZREM', KEYS[1], who)
  redis.call('HDEL', KEYS[2], who)
end
local told = {string.format('%.0f', now)}
local since = string.format('(%.0f', now - tonumber(ARGV[3]))
for _, who in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], since, '+inf')) do
  told[#told + 1] = who
  told[#told + 1] = redis.call('HGET', KEYS[2], who) or ''
end
return told
