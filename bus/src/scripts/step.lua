-- Has a state go on, if it is the one that the caller knows and the caller still holds the lease; appends
-- a frame that tells of it and notes what is to be sent, at once.
-- KEYS 1 states 2 what is to be sent 3 stream 4 meta 5 generation
-- ARGV 1 lineage that the caller knows 2 its token 3 which 4 the state that it knows ('': none) 5 the next one
--      ('': none any more) 6 what is known of it 7 frame or '' 8 frames kept 9 seconds kept 10 what is to be
--      sent or '' 11 entries of these kept 12 states at most
-- -> {outcome, state}; outcome: 1 done, 0 it is another state, 2 the token is an old one, 3 too many states
local token = redis.call('HGET', KEYS[1], '\0token')
local known = redis.call('HGET', KEYS[1], ARGV[3])
local state = known and string.match(known, '^(%S+) ') or ''
if token and tonumber(token) > tonumber(ARGV[2]) then return {2, state} end
if state ~= ARGV[4] then return {0, state} end
if not known and redis.call('HLEN', KEYS[1]) > tonumber(ARGV[12]) then return {3, state} end
redis.call('HSET', KEYS[1], '\0token', ARGV[2])
if ARGV[5] == '' then
  redis.call('HDEL', KEYS[1], ARGV[3])
else
  redis.call('HSET', KEYS[1], ARGV[3], ARGV[5] .. ' ' .. ARGV[6])
end
if ARGV[7] ~= '' then
  local n = generation(KEYS[5], ARGV[1])
  local m = redis.call('HMGET', KEYS[4], 'g', 'e', 'o')
  local e, o = position(KEYS[3], KEYS[4], n, m[1], m[2], m[3])
  put(KEYS[3], KEYS[4], e, o, ARGV[7], ARGV[8], ARGV[9])
end
if ARGV[10] ~= '' then redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[11], '*', 'd', ARGV[10]) end
return {1, ARGV[5]}
