-- Takes or renews a lease.
-- KEYS 1 lease  ARGV 1 who 2 for how long, ms
-- -> {token or '0', who has it, ms that are left}; a token is larger than all before it, and never smaller
-- than the clock, so that a write that is lost brings none back
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'h', 'u', 'k')
local ends = tonumber(known[2] or '0')
local is_held = known[1] and ends > now
if is_held and known[1] ~= ARGV[1] then return {'0', known[1], ends - now} end
local token = tonumber(known[3] or '0')
if not is_held then token = math.max(token + 1, now) end
local text = string.format('%.0f', token)
redis.call('HSET', KEYS[1], 'h', ARGV[1], 'u', string.format('%.0f', now + tonumber(ARGV[2])), 'k', text)
return {text, ARGV[1], tonumber(ARGV[2])}
