-- Says a member's figures, and hears the sums of those of the others that live.
-- KEYS 1 members 2 the member's figures  ARGV 1 who 2 what the keys of figures begin with 3 ms after which one
-- is dead 4 ms kept, then each (name, figure)
-- -> {others that live, name, sum, …}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('DEL', KEYS[2])
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
local live = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now - tonumber(ARGV[3])), '+inf')
local others, sums = 0, {}
for _, who in ipairs(live) do
  if who ~= ARGV[1] then
    others = others + 1
    local figures = redis.call('HGETALL', ARGV[2] .. who)
    for i = 1, #figures, 2 do
      sums[figures[i]] = (sums[figures[i]] or 0) + tonumber(figures[i + 1])
    end
  end
end
local told = {others}
for name, sum in pairs(sums) do
  told[#told + 1] = name
  told[#told + 1] = string.format('%.0f', sum)
end
return told
