-- Forgets a member that leaves in order.
-- KEYS 1 members 2 what they say of themselves  ARGV 1 who
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
