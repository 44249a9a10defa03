-- One join, whole, in the slot of its content.
-- KEYS[1]: what all keys of the content begin with.
-- ARGV: peer, site, room ("" for one that is not kept), member, seconds to live, preferred (1 or 0), members to look
-- at nearby, whose rooms elsewhere ("" for none: their names begin with it), members to look at elsewhere, a number by
-- chance, then the peers that could not be reached.
-- Answers: members nearby and elsewhere, five fields each: member, how often others were told of it, how many could
-- not reach it, its room, 1 where it is nearby.
local p = KEYS[1]
local peer, site, room, member, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local preferred, near, prefix, far, chance = ARGV[6] == '1', tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
local now = tonumber(redis.call('TIME')[1])
local own = ARGV[11]
local where = p .. ':w'
local rooms = p .. ':r'

local function key(kind, of) return p .. ':' .. kind .. ':' .. of end
local function site_of(of) return string.sub(of, string.find(of, '/', 1, true) + 1) end

local function drop(of, id)
    redis.call('HDEL', key('m', of), id)
    redis.call('ZREM', key('e', of), id)
    redis.call('SREM', key('f', of), id)
    redis.call('HDEL', key('x', of), 'h' .. id, 'd' .. id)
    redis.call('HDEL', where, id .. site_of(of))
    if redis.call('EXISTS', key('m', of)) == 0 then
        redis.call('ZREM', rooms, of)
    end
end

local function sweep(of)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('e', of), '-inf', now, 'LIMIT', 0, 64)) do
        drop(of, id)
    end
end

local function keep_for(name, seconds) redis.call('EXPIRE', name, seconds) end

local before = redis.call('HGET', where, peer .. site)
if before and before ~= room then
    drop(before, peer)
end
if room ~= '' then
    redis.call('HSET', key('m', room), peer, member)
    redis.call('ZADD', key('e', room), now + ttl, peer)
    redis.call(preferred and 'SADD' or 'SREM', key('f', room), peer)
    redis.call('HDEL', key('x', room), 'h' .. peer)
    local doubts = redis.call('HGET', key('x', room), 'd' .. peer)
    if doubts then
        redis.call('HSET', key('x', room), 'd' .. peer, math.floor(tonumber(doubts) / 2))
    end
    redis.call('HSET', where, peer .. site, room)
    redis.call('ZADD', rooms, 0, room)
    for _, kind in ipairs({'m', 'e', 'f', 'x'}) do keep_for(key(kind, room), ttl * 2) end
    keep_for(where, ttl * 4)
    keep_for(rooms, ttl * 4)
end

local told = {}
local function some_of(of, budget, is_near)
    sweep(of)
    local ids, seen = {}, {}
    local function take(list)
        for _, id in ipairs(list) do
            if not seen[id] then
                seen[id] = true
                ids[#ids + 1] = id
            end
        end
    end
    -- Others have their part, however many are preferred.
    take(redis.call('SRANDMEMBER', key('f', of), math.max(1, budget - math.floor(budget / 4))))
    take(redis.call('HRANDFIELD', key('m', of), budget))
    if #ids == 0 then return end
    local load = {}
    for _, id in ipairs(ids) do
        load[#load + 1] = 'h' .. id
        load[#load + 1] = 'd' .. id
    end
    local members = redis.call('HMGET', key('m', of), unpack(ids))
    local ends = redis.call('ZMSCORE', key('e', of), unpack(ids))
    local counts = redis.call('HMGET', key('x', of), unpack(load))
    for at = 1, #ids do
        if members[at] and ends[at] and tonumber(ends[at]) > now then
            told[#told + 1] = members[at]
            told[#told + 1] = counts[2 * at - 1] or '0'
            told[#told + 1] = counts[2 * at] or '0'
            told[#told + 1] = of
            told[#told + 1] = is_near and '1' or '0'
        end
    end
end

-- Where a peer that could not be reached is, at most a few sites know it; those of the own room count.
for at = 12, #ARGV do
    if redis.call('HEXISTS', key('m', own), ARGV[at]) == 1 then
        redis.call('HINCRBY', key('x', own), 'd' .. ARGV[at], 1)
    elseif prefix ~= '' then
        for _, of in ipairs(redis.call('ZRANGEBYLEX', rooms, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 64)) do
            if redis.call('HEXISTS', key('m', of), ARGV[at]) == 1 then
                redis.call('HINCRBY', key('x', of), 'd' .. ARGV[at], 1)
            end
        end
    end
end

if near > 0 then
    some_of(own, near, true)
    if prefix ~= '' then
        local from, to = '[' .. prefix, '(' .. prefix .. '\255'
        local count = redis.call('ZLEXCOUNT', rooms, from, to)
        local most = math.min(count, 64)
        if most > 0 then
            local each = math.max(8, math.floor(far / count))
            local first = chance % count
            local list = redis.call('ZRANGEBYLEX', rooms, from, to, 'LIMIT', first, most)
            if #list < most then
                for _, of in ipairs(redis.call('ZRANGEBYLEX', rooms, from, to, 'LIMIT', 0, most - #list)) do
                    list[#list + 1] = of
                end
            end
            for _, of in ipairs(list) do
                if of ~= own then some_of(of, each, false) end
            end
        end
    end
end
return told
