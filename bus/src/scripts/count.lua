-- Counts a batch of items, once.
-- KEYS 1 totals 2 numbers of batches, then a key of buckets for each length of bucket
-- ARGV 1 publisher 2 its number of this batch 3 the number before it that has to be there ('0': none)
--      4 names at most 5 buckets kept a length 6 how many items, then each (name, count, sum, last),
--      then buckets: each (which key, start, count, sum)
-- -> {outcome, names that found no room, …}; outcome: 0 counted, 1 was there, 4 the batch before it is not
local said = redis.call('HGET', KEYS[2], ARGV[1])
local sent = said and tonumber(string.match(said, '^%d+'))
if sent and sent >= tonumber(ARGV[2]) then return {1} end
if ARGV[3] ~= '0' and not (sent and sent >= tonumber(ARGV[3])) then return {4} end
local told = {0}
local names = redis.call('HLEN', KEYS[1]) / 3
local at = 7
for _ = 1, tonumber(ARGV[6]) do
  local name, count, sum, last = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  at = at + 4
  local known = redis.call('HGET', KEYS[1], name .. '\0l')
  if known or names < tonumber(ARGV[4]) then
    if not known then names = names + 1 end
    redis.call('HINCRBY', KEYS[1], name .. '\0c', count)
    redis.call('HINCRBYFLOAT', KEYS[1], name .. '\0s', sum)
    if not known or tonumber(known) < tonumber(last) then
      redis.call('HSET', KEYS[1], name .. '\0l', last)
    end
  else
    told[#told + 1] = name
  end
end
while ARGV[at] do
  local key, start, count, sum = KEYS[2 + tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  at = at + 4
  redis.call('HINCRBY', key, start .. '\0c', count)
  redis.call('HINCRBYFLOAT', key, start .. '\0s', sum)
  local kept = tonumber(ARGV[5])
  if redis.call('HLEN', key) > 4 * kept then
    local starts = {}
    for _, field in ipairs(redis.call('HKEYS', key)) do
      local one = string.match(field, '^(%d+)%zc$')
      if one then starts[#starts + 1] = tonumber(one) end
    end
    table.sort(starts, function(a, b) return a > b end)
    for i = kept + 1, #starts do
      local one = string.format('%.0f', starts[i])
      redis.call('HDEL', key, one .. '\0c', one .. '\0s')
    end
  end
end
-- Publishers that went are forgotten, those first that were silent for longest.
local time = redis.call('TIME')
if not said and redis.call('HLEN', KEYS[2]) > 512 then
  local all, known = redis.call('HGETALL', KEYS[2]), {}
  for i = 1, #all, 2 do known[#known + 1] = {all[i], tonumber(string.match(all[i + 1], ' (%d+)$'))} end
  table.sort(known, function(a, b) return a[2] > b[2] end)
  for i = 257, #known do redis.call('HDEL', KEYS[2], known[i][1]) end
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. time[1])
return told
