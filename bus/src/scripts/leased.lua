-- Whether somebody has a lease.
-- KEYS 1 lease  -> ms that are left; 0 where nobody has it
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = tonumber(redis.call('HGET', KEYS[1], 'u') or '0')
return math.max(ends - now, 0)
