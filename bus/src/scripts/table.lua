-- A whole table.  KEYS 1 entries 2 revision  -> {revision, entry, what it says, …}
local told = redis.call('HGETALL', KEYS[1])
table.insert(told, 1, redis.call('GET', KEYS[2]) or '0')
return told
