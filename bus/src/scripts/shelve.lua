-- Puts something on a shelf or takes it away, if it is what the caller has read and the caller's token is none
-- of an older holder; and tells of it on feeds, at once.
-- KEYS 1 what lies there 2 revisions, of what is gone, too 3 newest tokens 4 generation 5 what is gone, and under
--      '' up to which revision that was forgotten 6 what becomes of this change, then a stream and a meta for
--      each feed
-- ARGV 1 lineage that the caller knows 2 name, or '' for none 3 revision that was read, '0' for none, or '' for
--      any 4 'set', 'del', or 'bring' or 'bury' with a revision of its own 5 what it says 6 that revision 7 whose
--      token, or '' 8 the token 9 things at most 10 of what is gone at most 11 ms for which it is known that this
--      change was made, or 0 12 frames kept 13 seconds kept, then (number of the feed, frame, …)
-- -> {outcome, revision}; outcome: 1 done, 0 it is of another revision, 2 the token is an old one, 3 there are
--    too many
if ARGV[11] ~= '0' then
  -- Whoever had no answer asks again.
  local done = redis.call('GET', KEYS[6])
  if done then return {1, done} end
end
local name = ARGV[2]
local is_there = name ~= '' and redis.call('HEXISTS', KEYS[1], name) == 1
local known = name ~= '' and redis.call('ZSCORE', KEYS[2], name) or '0'
local has = is_there and known or '0'
local is_old = ARGV[4] == 'bring' or ARGV[4] == 'bury'
local goes = ARGV[4] == 'del' or ARGV[4] == 'bury'
if ARGV[7] ~= '' then
  local token = redis.call('HGET', KEYS[3], ARGV[7])
  if token and tonumber(token) > tonumber(ARGV[8]) then return {2, has} end
end
if ARGV[3] ~= '' and tonumber(ARGV[3]) ~= tonumber(has) then return {0, has} end
if is_old then
  if tonumber(known) >= tonumber(ARGV[6]) then return {0, known} end
  -- It may be gone for so long that this is forgotten.
  local forgotten = redis.call('ZSCORE', KEYS[5], '') or '0'
  if known == '0' and tonumber(ARGV[6]) <= tonumber(forgotten) then return {0, known} end
end
if not goes and name ~= '' and not is_there and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[9]) then
  return {3, has}
end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[3], ARGV[7], ARGV[8]) end
local revision = known
if name ~= '' and (is_there or ARGV[4] ~= 'del') then
  local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] or '0'
  revision = ARGV[6]
  -- What is older than the newest would be seen by nobody who has that.
  if not is_old or tonumber(last) >= tonumber(revision) then
    -- Never smaller than the clock: after a loss of writes none is given twice.
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    revision = string.format('%.0f', math.max(tonumber(last) + 1, now))
  end
  redis.call('ZADD', KEYS[2], revision, name)
  if goes then
    redis.call('HDEL', KEYS[1], name)
    redis.call('ZADD', KEYS[5], revision, name)
    local beyond = redis.call('ZCARD', KEYS[5]) - tonumber(ARGV[10])
    if beyond > 0 then
      local oldest = redis.call('ZPOPMIN', KEYS[5], beyond)
      for i = 1, #oldest, 2 do
        if oldest[i] ~= '' then redis.call('ZREM', KEYS[2], oldest[i]) end
      end
      redis.call('ZADD', KEYS[5], oldest[#oldest], '')
    end
  else
    redis.call('HSET', KEYS[1], name, ARGV[5])
    redis.call('ZREM', KEYS[5], name)
  end
end
if #ARGV > 13 then
  local n = generation(KEYS[4], ARGV[1])
  for i = 14, #ARGV, 2 do
    local stream, meta = KEYS[5 + 2 * ARGV[i]], KEYS[6 + 2 * ARGV[i]]
    local m = redis.call('HMGET', meta, 'g', 'e', 'o')
    local e, o = position(stream, meta, n, m[1], m[2], m[3])
    put(stream, meta, e, o, ARGV[i + 1], ARGV[12], ARGV[13])
  end
end
if ARGV[11] ~= '0' then redis.call('SET', KEYS[6], revision, 'PX', ARGV[11]) end
return {1, revision}
