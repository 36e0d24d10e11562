/**
 * The operations in Redis: one script for each, on one key, so that each is atomic and a cluster needs no
 * second slot. The index of all accounts is in two other keys, and the same script changes it. In a cluster
 * most accounts are on other nodes than the index, and are not in it.
 *
 * The key is a hash. `record`: the entry, absent if it was removed. `version` and `fence` (the highest one
 * written or granted) outlive it. `owner`, `holder`, `until`: the lease, in epoch milliseconds of the server.
 */

const prelude = `
local key = KEYS[1]
local function number(text) return tonumber(text or '0') or 0 end
local function text(n) return string.format('%.0f', n) end
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local function state()
  local found = redis.call('HMGET', key, 'record', 'version', 'fence')
  local named = found[1] and (text(number(found[2])) .. '-' .. string.sub(redis.sha1hex(found[1]), 1, 16))
  return found[1], number(found[2]), number(found[3]), named or ''
end
-- Who may write need not be allowed to tell of it.
local function tell(channel) redis.pcall('PUBLISH', channel, '') end
local function index(prefix, account, state, due)
  if state == '' then
    redis.pcall('ZREM', prefix .. ':due', account)
    redis.pcall('ZREM', prefix .. ':accounts', account)
    redis.call('HDEL', key, 'state', 'due')
    return
  end
  redis.call('HSET', key, 'state', state, 'due', due)
  redis.pcall('ZADD', prefix .. ':accounts', 0, account)
  if due == '' then redis.pcall('ZREM', prefix .. ':due', account)
  else redis.pcall('ZADD', prefix .. ':due', due, account) end
end
`

/**
 * ARGV: the longest record that is read. Returns version, fence, record, or nothing if there is no record.
 */
export const load = `${prelude}
if redis.call('HSTRLEN', key, 'record') > number(ARGV[1]) then return {'', 'large'} end
local record, _, fence, named = state()
if not record then return {} end
return {named, text(fence), record}`

/**
 * ARGV: expected version or nothing, fence, record, channel; prefix, account, state, when it is due or
 * nothing. Returns the outcome, and the version.
 */
export const commit = `${prelude}
local _, version, seen, named = state()
if named ~= ARGV[1] then return {'Conflict'} end
local fence = number(ARGV[2])
if fence > 0 and fence < seen then return {'Fenced'} end
redis.call('HSET', key, 'record', ARGV[3], 'version', text(version + 1), 'fence', text(math.max(fence, seen)))
index(ARGV[5], ARGV[6], ARGV[7], ARGV[8])
tell(ARGV[4])
local _, _, _, written = state()
return {'Committed', written}`

/** ARGV: channel, prefix, account. Returns whether there was a record. */
export const remove = `${prelude}
if redis.call('HDEL', key, 'record') == 0 then return 0 end
redis.call('HINCRBY', key, 'version', 1)
index(ARGV[2], ARGV[3], '', '')
tell(ARGV[1])
return 1`

/**
 * ARGV: owner, holder, ttl, an owner that is dead or nothing. Returns the fence and the previous owner, or
 * the present owner and its end.
 */
export const grant = `${prelude}
local found = redis.call('HMGET', key, 'owner', 'holder', 'until', 'fence')
local at = now()
if found[1] and at < number(found[3]) and found[1] ~= ARGV[4] then
  return {'Busy', found[1], found[2] or '', found[3]}
end
local fence = text(math.max(number(found[4]) + 1, at))
redis.call('HSET', key, 'owner', ARGV[1], 'holder', ARGV[2], 'until', text(at + number(ARGV[3])), 'fence', fence)
return {'Granted', fence, found[1] or ''}`

/** ARGV: owner, ttl. Returns whether the lease was this owner's. */
export const renew = `${prelude}
if redis.call('HGET', key, 'owner') ~= ARGV[1] then return 0 end
redis.call('HSET', key, 'until', text(now() + number(ARGV[2])))
return 1`

/** ARGV: owner. Returns whether the lease is this owner's and has not lapsed. */
export const isHeld = `${prelude}
local found = redis.call('HMGET', key, 'owner', 'until')
return (found[1] == ARGV[1] and now() < number(found[2])) and 1 or 0`

/** ARGV: owner. */
export const release = `${prelude}
if redis.call('HGET', key, 'owner') ~= ARGV[1] then return 0 end
redis.call('HDEL', key, 'owner', 'holder', 'until')
return 1`

/**
 * KEYS: the due accounts. ARGV: before, limit, the last account of the previous page and when it was due, or
 * nothing.
 */
export const due = `
local first = 0
if ARGV[3] ~= '' then
  local score = redis.call('ZSCORE', KEYS[1], ARGV[3])
  if score and tonumber(score) == tonumber(ARGV[4]) then first = redis.call('ZRANK', KEYS[1], ARGV[3]) + 1
  else first = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[4]) end
end
local found = redis.call('ZRANGE', KEYS[1], first, first + tonumber(ARGV[2]) - 1, 'WITHSCORES')
local due = {}
for i = 1, #found, 2 do
  if tonumber(found[i + 1]) >= tonumber(ARGV[1]) then break end
  due[#due + 1] = found[i]
  due[#due + 1] = string.format('%.0f', tonumber(found[i + 1]))
end
return due`

/** KEYS: all accounts. ARGV: the last account of the previous page or nothing, limit. */
export const accounts = `
local after = ARGV[1] == '' and '-' or '(' .. ARGV[1]
return redis.call('ZRANGEBYLEX', KEYS[1], after, '+', 'LIMIT', 0, ARGV[2])`

/** Returns the state of an account, and when it is due. */
export const place = `
local found = redis.call('HMGET', KEYS[1], 'state', 'due')
return {found[1] or '', found[2] or ''}`

/** KEYS: all accounts. */
export const count = `return redis.call('ZCARD', KEYS[1])`
