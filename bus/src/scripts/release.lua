-- Gives a lease back; its token stays, so that the next one is larger.
-- KEYS 1 lease  ARGV 1 who  -> 1, or 0 where somebody else has it
if redis.call('HGET', KEYS[1], 'h') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'u', '0')
return 1
