-- Writes or removes one entry of a table, if the table is the one that the caller has read.
-- KEYS 1 entries 2 revision  ARGV 1 revision that was read, or '' for any 2 entry 3 'set' or 'del' 4 what it
-- says 5 entries at most
-- -> {outcome, revision}; outcome: 1 done, 0 it is another revision, 2 there are too many
local has = redis.call('GET', KEYS[2]) or '0'
if ARGV[1] ~= '' and ARGV[1] ~= has then return {0, has} end
if ARGV[3] == 'set' then
  if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
    return {2, has}
  end
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
elseif redis.call('HDEL', KEYS[1], ARGV[2]) == 0 then
  return {1, has}
end
return {1, string.format('%.0f', redis.call('INCR', KEYS[2]))}
