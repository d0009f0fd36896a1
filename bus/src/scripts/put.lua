-- Writes a document if it is the one that the caller has read.
-- KEYS 1 document  ARGV 1 revision that was read, or '' for any 2 what it says 3 ms kept, or '0'
-- -> {1, its revision}, or {0, the revision that it has}
local has = redis.call('HGET', KEYS[1], 'v') or '0'
if ARGV[1] ~= '' and ARGV[1] ~= has then return {0, has} end
local revision = string.format('%.0f', tonumber(has) + 1)
redis.call('HSET', KEYS[1], 'v', revision, 'd', ARGV[2])
if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return {1, revision}
