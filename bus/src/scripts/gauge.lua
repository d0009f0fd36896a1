-- Says how many of something a member has, and how many all have.
-- KEYS 1 gauges  ARGV 1 ms kept, then each (field, figure); a figure '0' removes its field
-- -> all fields and figures
for i = 2, #ARGV, 2 do
  if ARGV[i + 1] == '0' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
if ARGV[1] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return redis.call('HGETALL', KEYS[1])
