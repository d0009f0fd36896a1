-- Keeps what a member measured at a moment, and tells what all have measured at it.
-- KEYS 1 reports 2 members  ARGV 1 who 2 the moment 3 what it measured 4 ms after which one is dead
-- -> {members that live, who, what, …}; who is not a member yet counts
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], 5000)
local live = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.0f', now - tonumber(ARGV[4])), '+inf')
local is_member, known = false, {}
for _, who in ipairs(live) do
  known[who] = true
  if who == ARGV[1] then is_member = true end
end
if not is_member then
  live[#live + 1] = ARGV[1]
  known[ARGV[1]] = true
end
local told = {#live}
for _, who in ipairs(live) do
  local said = redis.call('HGET', KEYS[1], who)
  local moment, what = string.match(said or '', '^(%-?%d+) (.*)$')
  if moment == ARGV[2] then
    told[#told + 1] = who
    told[#told + 1] = what
  end
end
if redis.call('HLEN', KEYS[1]) > #live + 16 then
  for _, who in ipairs(redis.call('HKEYS', KEYS[1])) do
    if not known[who] then redis.call('HDEL', KEYS[1], who) end
  end
end
return told
