-- KEYS 1 what is wanted of a tenant's   ARGV 1 member that does not ask itself   -> selectors
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
local told, selectors = {}, {}
for i = 1, #all, 2 do
  local ends, selector = string.match(all[i + 1], '^(%d+) (.*)$')
  local member = string.match(all[i], ':(.*)$')
  if ends and tonumber(ends) > now and member ~= ARGV[1] and not told[selector] then
    told[selector] = true
    selectors[#selectors + 1] = selector
  end
end
return selectors
