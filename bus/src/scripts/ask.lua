-- Says what a member has of some figures, and takes as much more as the limit of all leaves.
-- KEYS 1 members 2 the member's figures  ARGV 1 who 2 what the keys of figures begin with 3 ms after which one
-- is dead 4 ms kept, then each (name, what it has, what it wants, what all may have)
-- -> each (what the others have, what was taken)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local live = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now - tonumber(ARGV[3])), '+inf')
local told = {}
for i = 5, #ARGV, 4 do
  local name, has, wants, max = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local others = 0
  for _, who in ipairs(live) do
    if who ~= ARGV[1] then others = others + tonumber(redis.call('HGET', ARGV[2] .. who, name) or '0') end
  end
  local taken = math.max(0, math.min(wants, max - others - has))
  redis.call('HSET', KEYS[2], name, string.format('%.0f', has + taken))
  told[#told + 1] = others
  told[#told + 1] = taken
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return told
