-- Fills a table that nothing was ever in.
-- KEYS 1 entries 2 revision  ARGV each (entry, what it says)  -> 1, or 0 where something was in it
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
for i = 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[2], '1')
return 1
