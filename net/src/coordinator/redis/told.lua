-- Others were told of these members. KEYS[1]: what all keys of the content begin with. ARGV: room, peer, room, peer..
for at = 1, #ARGV, 2 do
    redis.call('HINCRBY', KEYS[1] .. ':x:' .. ARGV[at], 'h' .. ARGV[at + 1], 1)
end
return 0
