"""Commands and scripts whose replies have details that are easily got wrong. They are run in this order."""

COMMANDS = {
    "mistakes": r"""
        FOO a b c | FOO | GET | HSET a b | HSET a b c d | XADD s * a | SET a b EX | SET a b EX 0 | SET a b EX x |
        SET a b PX -1 | XINFO FOO s | XINFO STREAM | CLIENT FOO | CLIENT | XGROUP CREATE s | XGROUP | SCRIPT FOO |
        EVALSHA abc 0 | EVAL return(1) 1 | EVAL return(1) x | EVAL return(1) -1 | EVAL rturn 0 | SCRIPT LOAD rturn |
        XREAD COUNT | XREAD STREAMS a | XREAD COUNT x STREAMS s 0 | XREAD BLOCK x STREAMS s 0 |
        XREAD BLOCK -1 STREAMS s 0 | XREAD STREAMS s x | XREAD STREAMS s > | EXEC | DISCARD
    """,
    "strings": r"""
        SET a 1 | SET a 1 NX | SET a 2 XX | SET nk 2 XX | SET b 1 NX | SET a 1 NX XX | SET a 1 EX 10 PX 5 |
        SET a 1 EX 100 | TTL a | PTTL b | TTL none | SET a 1 | TTL a | SET a 1 px 10000 | TTL a |
        SET a 1 EX 9223372036854775807 | SET a 1 EX 9223372036854775 | DEL a a b | DEL | EXISTS a | SET a 1 |
        EXISTS a a b | TYPE a | TYPE none
    """,
    "hashes": r"""
        HSET h f v | HSET h f v g w | TYPE h | HGET h f | HGET h x | HGET a f | HGET none f | HMGET h f x g |
        HMGET none a b | HMGET a b | HGETALL h | HGETALL none | HGETALL a | HLEN h | HLEN none | HLEN a |
        HEXISTS h f | HEXISTS h x | HEXISTS none f | HEXISTS a f | HSETNX h f z | HSETNX h n z | HSETNX a n z |
        HDEL h f x f | HDEL none x | HDEL a x | HDEL h g n | EXISTS h | HINCRBY h n 5 | HINCRBY h n -7 |
        HINCRBY h n x | HINCRBY a n 1 | HSET h s str | HINCRBY h s 1 | HINCRBY h n 9223372036854775807 |
        HINCRBY h n 9223372036854775807 | HINCRBY h n 01 | HINCRBY h n +1 | HSET a f v | HSET h f | HRANDFIELD none |
        HRANDFIELD none 5 | HRANDFIELD none 5 WITHVALUES | HRANDFIELD h 0 | HRANDFIELD h x | HRANDFIELD h 5 FOO |
        HRANDFIELD a 5 | HRANDFIELD a | HRANDFIELD a x | HRANDFIELD h 10 WITHVALUES | HRANDFIELD h 1 WITHVALUES x |
        DEL h | HSET h f v | HRANDFIELD h | HRANDFIELD h -3 | HRANDFIELD h -2 WITHVALUES | HRANDFIELD h 3 withvalues
    """,
    "lists": r"""
        RPUSH l a b c | LPUSH l x y z | LRANGE l 0 -1 | LLEN l | LLEN none | LLEN a | LINDEX l 0 | LINDEX l -1 |
        LINDEX l 99 | LINDEX l -99 | LINDEX l x | LINDEX none x | LINDEX none 0 | LINDEX a 0 | LRANGE l 1 2 |
        LRANGE l -2 -1 | LRANGE l 5 2 | LRANGE l -99 99 | LRANGE l -99 -50 | LRANGE none 0 1 | LRANGE a 0 1 |
        LRANGE l x 1 | LRANGE none x 1 | LRANGE l 7 99 | LPOP l | LPOP l 2 | LPOP l 0 | LPOP l -1 | LPOP l x |
        LPOP none | LPOP none 1 | LPOP none 0 | LPOP a | LPOP a 1 | LPOP l 1 2 | LPOP l 99 | EXISTS l |
        RPUSH l a b c d | LTRIM l 1 2 | LRANGE l 0 -1 | LTRIM l 5 1 | EXISTS l | LTRIM l 0 1 | LTRIM a 0 1 |
        LTRIM none x 1 | RPUSH a x | RPUSH l | RPUSH l a b | LTRIM l -1 -1 | LRANGE l 0 -1 | LTRIM l 1 0 | EXISTS l
    """,
    "sets": r"""
        SADD s a b a | SADD s a c | SMEMBERS s | SMEMBERS none | SMEMBERS a | SADD a x | SADD s | TYPE s
    """,
    "sorted sets": r"""
        ZADD z 1 a 2 b 1.5 c | ZADD z XX 5 a | ZADD z XX 5 q | ZADD z NX 9 a | ZADD z NX XX 1 a | ZADD z 1 |
        ZADD z x a | ZADD z 1 a 2 | ZADD z nan a | ZADD z inf i -inf j +inf k | ZADD none XX 1 a | EXISTS none |
        ZRANGE z 0 -1 WITHSCORES | ZRANGE z 0 -1 | ZRANGE z 0 1 REV | ZRANGE z 0 -1 REV WITHSCORES | ZRANGE z x 1 |
        ZRANGE none x 1 | ZRANGE none 0 1 | ZRANGE a 0 1 | ZRANGE z 0 -1 FOO | ZSCORE z a | ZSCORE z c | ZSCORE z i |
        ZSCORE z none | ZSCORE none a | ZSCORE a a | ZCARD z | ZCARD none | ZCARD a | ZRANGEBYSCORE z 1 2 |
        ZRANGEBYSCORE z (1 5 | ZRANGEBYSCORE z -inf +inf | ZRANGEBYSCORE z -inf (inf WITHSCORES |
        ZRANGEBYSCORE z 5 1 | ZRANGEBYSCORE z x 1 | ZRANGEBYSCORE none x 1 | ZRANGEBYSCORE z 1 2 FOO |
        ZRANGEBYSCORE z -inf inf LIMIT 1 2 | ZRANGEBYSCORE z -inf inf LIMIT 0 -1 |
        ZRANGEBYSCORE z -inf inf LIMIT -1 2 | ZRANGEBYSCORE z -inf inf LIMIT 99 2 |
        ZRANGEBYSCORE z -inf inf LIMIT x 2 | ZRANGEBYSCORE z -inf inf LIMIT 1 |
        ZRANGEBYSCORE z -inf inf LIMIT 0 1 WITHSCORES | ZRANGEBYSCORE a 1 2 | ZREMRANGEBYSCORE z -inf (2 |
        ZREMRANGEBYSCORE z x 1 | ZREMRANGEBYSCORE none 1 2 | ZREMRANGEBYSCORE a 1 2 | ZRANGE z 0 -1 WITHSCORES |
        ZREM z a x | ZREM none a | ZREM a a | ZREMRANGEBYSCORE z -inf inf | EXISTS z | ZADD a 1 x | ZADD a XX 1 x |
        ZADD z 1 m 2 m 3 m | ZRANGE z 0 -1 WITHSCORES | ZREM z m m
    """,
    "expiry": r"""
        RENAME none x | RENAME a a | RENAME a c | EXISTS a c | SET a 1 | RENAME a c | TTL c | SET a 1 EX 100 |
        RENAME a c | TTL c | RENAME a | EXPIRE c 50 | TTL c | EXPIRE c 0 | EXISTS c | EXPIRE none 5 | SET a 1 |
        EXPIRE a x | EXPIRE a -1 | EXISTS a | SET a 1 | PEXPIRE a 5000 | TTL a | PEXPIREAT a 1 | EXISTS a |
        EXPIRE a 9223372036854775807 | SET a 1 | EXPIRE a 9223372036854775807 | EXPIRE a -9223372036854775807 |
        EXPIRE a -9223372036854775 | EXPIRE a 5 FOO | PEXPIRE a 9223372036854775807
    """,
    "server and connection": r"""
        SELECT 0 | SELECT x | PING | PING hi | PING a b |
        WAIT 0 0 | WAIT x 0 | WAIT 1 x | WAIT 1 -1 | WAIT 1 5 | WAIT |
        TIME x | KEYS | FLUSHALL FOO | FLUSHALL | DUMP none |
        RESTORE x 0 garbage | RESTORE x -1 garbage | RESTORE x y garbage | AUTH | AUTH x | AUTH x y | AUTH default y |
        AUTH a b c | CLIENT SETNAME foo | CLIENT GETNAME | CLIENT SETNAME | CLIENT SETINFO LIB-NAME redis-py |
        CLIENT SETINFO LIB-VER 1.0 | CLIENT SETINFO FOO x | CLIENT SETINFO LIB-NAME | HELLO x | HELLO 9 |
        HELLO 3 FOO | HELLO 3 AUTH default | HELLO 3 AUTH foo bar | HELLO 3 SETNAME | MEMORY USAGE none |
        MEMORY USAGE | MEMORY FOO | MEMORY | MEMORY USAGE none SAMPLES x | MEMORY USAGE none SAMPLES -1 |
        MEMORY USAGE none FOO 1 | MEMORY USAGE none SAMPLES | SCAN x | SCAN 0 FOO | SCAN 0 COUNT 0 | SCAN 0 COUNT x |
        SCAN 0 MATCH | SCAN 0 | SCAN 0 COUNT 10 MATCH * | KEYS * | SET chatws:a 1 | KEYS chatws:* | KEYS x? | TYPE
    """,
    "transactions and scripts": r"""
        MULTI | SET a 1 | FOO | SET a 2 | EXEC | GET a | MULTI | SET a 1 | GET a | HGET a f |
        XREAD BLOCK 0 STREAMS q $ | EXEC | MULTI | EXEC | MULTI | SET a | EXEC | MULTI | SET a 7 | DISCARD | GET a |
        EXEC | DISCARD | MULTI x | MULTI | MULTI | EXEC | MULTI | EVAL rturn 0 | EVAL return(7) 0 | SELECT 0 | PING |
        EXEC | MULTI | UNSUBSCRIBE | EXEC | PUBLISH c m | PUBLISH c | SCRIPT LOAD return(1) | SCRIPT EXISTS |
        SCRIPT FLUSH FOO | SCRIPT FLUSH ASYNC | SCRIPT | SCRIPT LOAD | EVAL | EVAL return(1) |
        EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0 | EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db x |
        EVALSHA abc x
    """,
    "subscriptions": r"""
        SUBSCRIBE a b a | SUBSCRIBE | PING | PING x | GET a | UNSUBSCRIBE b x | GET a | FOO | GET | MULTI | DISCARD |
        UNSUBSCRIBE | UNSUBSCRIBE | GET a | UNSUBSCRIBE q r
    """,
    "XADD": r"""
        SET a 1 | XADD s 1-1 f v | XADD s 1-1 f v | XADD s 0-0 f v | XADD s 1-* f v | XADD s 2 f v | XADD s 2-* f v |
        XADD s x f v | XADD s 1-x f v | XADD s 5-5 f | XADD s 5-5 f v g | XADD s MAXLEN 2 5-5 f v | XLEN s |
        XADD s MAXLEN ~ 2 6-5 f v | XADD s MAXLEN = 2 7-5 f v | XADD s MAXLEN x 8-1 f v | XADD s MAXLEN -1 8-1 f v |
        XADD s MINID 7 8-1 f v | XADD s MINID x 9-1 f v | XADD s MAXLEN 5 LIMIT 5 9-1 f v |
        XADD s MAXLEN ~ 5 LIMIT 5 9-1 f v | XADD s MAXLEN ~ 5 LIMIT -5 9-2 f v | XADD s MAXLEN ~ 5 LIMIT x 9-2 f v |
        XADD s NOMKSTREAM 9-3 f v | XADD none NOMKSTREAM 9-3 f v | EXISTS none | XADD s MAXLEN | XADD s MAXLEN 5 f v |
        XADD s MAXLEN ~ f v | XADD s foo 1-1 f v | XADD a 1-1 f v | XADD a x f v |
        XADD s 18446744073709551615-18446744073709551615 f v | XADD s 18446744073709551616-1 f v | XADD n 0-* f v |
        XADD n 0-* f v | XADD n -1 f v | XADD n 5- f v | XADD n -5 f v | XADD n 05-01 f v
    """,
    "XRANGE": r"""
        XLEN none | XLEN a | XRANGE s - + | XRANGE n - + | XRANGE n (0-1 + | XRANGE n 0-1 0-1 | XRANGE n 0 0 |
        XRANGE n - + COUNT 1 | XRANGE n - + COUNT 0 | XRANGE n - + COUNT -1 | XRANGE n - + COUNT x |
        XRANGE n - + FOO 1 | XRANGE n - + COUNT | XRANGE none - + | XRANGE none - + COUNT 0 | XRANGE a - + |
        XRANGE n x + | XRANGE none x + | XRANGE n + - | XRANGE n (- + |
        XRANGE n (18446744073709551615-18446744073709551615 + | XRANGE n - (0-0 | XRANGE n - (0-2 | XREVRANGE n + - |
        XREVRANGE n + - COUNT 1 | XREVRANGE n - + | XREVRANGE n (0-2 - | XREVRANGE n + (0-1 | XREVRANGE a + - |
        XREVRANGE n + - COUNT 0 | XRANGE n 5 (5 | XRANGE n (5 6
    """,
    "XREAD": r"""
        XREAD STREAMS n 0 | XREAD COUNT 1 STREAMS n 0 | XREAD COUNT 0 STREAMS n 0 | XREAD COUNT -1 STREAMS n 0 |
        XREAD STREAMS n s 0 0 | XREAD STREAMS n none 0 0 | XREAD STREAMS none 0 | XREAD STREAMS a 0 |
        XREAD STREAMS none a 0 0 | XREAD STREAMS n a 0 0 | XREAD STREAMS n s 0 | XREAD STREAMS n $ |
        XREAD STREAMS n + | XREAD STREAMS none + | XREAD STREAMS n 99999 |
        XREAD STREAMS n 18446744073709551615-18446744073709551615 | XREAD FOO n 0 |
        XREAD COUNT 1 COUNT 2 STREAMS n 0 | XREAD BLOCK 1 STREAMS n 0 | XREAD BLOCK 1 STREAMS none 0 |
        XREAD STREAMS n (5 | XREAD STREAMS n - | XREAD COUNT 1 BLOCK | XREAD COUNT 5 n 0 | XREAD STREAMS a x |
        XREAD STREAMS a $ | XREAD STREAMS n 0-1 streams
    """,
    "groups": r"""
        XINFO STREAM s | XINFO STREAM none | XINFO STREAM a | XINFO GROUPS none | XINFO GROUPS a | XINFO GROUPS n |
        XINFO GROUPS | XINFO GROUPS n x | XINFO | XGROUP CREATE n g $ | XGROUP CREATE n g $ | XGROUP CREATE n g2 0 |
        XGROUP CREATE n g3 0 ENTRIESREAD 1 | XGROUP CREATE n g4 0-1 | XGROUP CREATE n g5 5 |
        XGROUP CREATE n g6 99 ENTRIESREAD 99 | XINFO GROUPS n | XGROUP CREATE none g $ |
        XGROUP CREATE none g x MKSTREAM | EXISTS none | XGROUP CREATE none g $ MKSTREAM | XINFO GROUPS none |
        XINFO STREAM none | XGROUP SETID none g 5 | XINFO GROUPS none | XGROUP SETID none g 0-0 ENTRIESREAD 0 |
        XINFO GROUPS none | XGROUP SETID nokey g 5 | XGROUP SETID n gg 5 | XGROUP SETID n gg x | XGROUP SETID n g x |
        XGROUP SETID n g 5 ENTRIESREAD x | XGROUP SETID n g 5 ENTRIESREAD -1 | XGROUP SETID n g 5 ENTRIESREAD -2 |
        XGROUP SETID n g 5 FOO 1 | XGROUP SETID n g 5 ENTRIESREAD | XGROUP SETID n g 5 MKSTREAM | XGROUP SETID a g 5 |
        XGROUP CREATE a g 5 | XGROUP CREATE a g 5 MKSTREAM | XGROUP CREATE n q - | XGROUP CREATE n q2 + |
        XGROUP CREATE n q3 5 FOO | XGROUP FOO n g | XGROUP SETID n g | XGROUP SETID n g $ | XINFO GROUPS n |
        XPENDING n g | XPENDING n none | XPENDING none g | XPENDING a g | XPENDING n | XPENDING nokey g |
        XPENDING nokey none
    """,
    "XDEL and XTRIM": r"""
        XDEL n 0-1 0-1 x | XDEL n 0-1 0-1 99 | XDEL none x | XDEL a x | XDEL a 1 | XDEL n | XINFO STREAM n |
        XINFO GROUPS n | XDEL n 0-2 | XINFO GROUPS n | XLEN n | XRANGE n - + | XDEL n 5-0 5-1 | XLEN n | EXISTS n |
        XINFO STREAM n | XINFO GROUPS n | XADD n 100-1 a b | XADD n 100-2 a b | XADD n 100-3 a b | XINFO GROUPS n |
        XDEL n 100-1 | XINFO GROUPS n | XDEL n 100-3 | XINFO GROUPS n | XINFO STREAM n | XADD n 100-3 a b |
        XTRIM n MAXLEN 0 | XTRIM n MAXLEN 1 | XTRIM none MAXLEN 1 | XTRIM a MAXLEN 1 | XTRIM n FOO 1 |
        XTRIM n MAXLEN x | XTRIM n MAXLEN -1 | XTRIM n MINID x | XTRIM n MAXLEN | XTRIM n MAXLEN 1 FOO |
        XTRIM n MAXLEN 1 2 | XTRIM n MAXLEN 5 LIMIT 1 | XTRIM n MAXLEN ~ 5 LIMIT x | XTRIM n MAXLEN ~ 5 LIMIT |
        XTRIM n MAXLEN ~ | XTRIM a FOO 1 | XTRIM none FOO 1
    """,
    "lag": r"""
        XADD q 1-1 f v | XADD q 2-1 f v | XADD q 3-1 f v | XGROUP CREATE q g 2-1 ENTRIESREAD 2 |
        XGROUP CREATE q h 1-1 ENTRIESREAD 1 | XGROUP CREATE q i 3-1 ENTRIESREAD 3 | XINFO GROUPS q | XDEL q 2-1 |
        XINFO GROUPS q | XADD q 4-1 f v | XINFO GROUPS q | XTRIM q MAXLEN 1 | XINFO GROUPS q | XTRIM q MAXLEN 0 |
        XINFO GROUPS q | XGROUP SETID q g 4-1 ENTRIESREAD 4 | XINFO GROUPS q | XINFO STREAM q | XGROUP DESTROY q g |
        XGROUP DESTROY q g | XGROUP DESTROY none g | XGROUP DESTROY a g | XGROUP DESTROY q
    """,
    "bounds of scores": r"""
        ZADD y 1 a 2 b 3 c | ZRANGEBYSCORE y (1 (3 | ZRANGEBYSCORE y 1 (3 | ZRANGEBYSCORE y (1 3 |
        ZRANGEBYSCORE y (1 (1 | ZREMRANGEBYSCORE y (1 (3 | ZRANGE y 0 -1 | ZADD y 1 aa 1 b 1 A 1.5 a |
        ZRANGE y 0 -1 WITHSCORES | ZRANGE y -2 -1
    """,
}
"""Lines of commands, with a bar between two; the words of one are separated by spaces."""

NUMBERS = (
    "0",
    "1",
    "-1",
    "1e20",
    "2^53",
    "123456789.123",
    "1764587639.123456",
    "1e15",
    "1e21",
    "1e22",
    "1e-4",
    "1e-5",
    "1e-6",
    "1e-7",
    "1.5e-7",
    "1.23456e-7",
    "1/3",
    "-1/3",
    "1e300",
    "0.1",
    "2^63",
    "-2^63",
    "1.7976931348623157e308",
    "5e-324",
    "1e7+0.5",
    "-0.0",
    "1/0",
    "-1/0",
    "0.00012345",
    "100.25",
    "1e8+0.1",
    "2^52",
    "2^52+1",
)  # fmt: skip
"""Numbers, as Lua reads them, that are passed to a command, stored as a score, returned and written as text."""

SCRIPTS = [
    "return redis.call('HGET','k','f')",
    "return redis.pcall('HGET','k','f')",
    "local x=redis.pcall('HGET','k','f') return x.err",
    "return redis.call('FOO')",
    "return redis.call('GET')",
    "return redis.call()",
    "return redis.call({})",
    "return redis.call('GET',{})",
    "return redis.call('GET',true)",
    "error('boom')",
    "error({err='ERR boom'})",
    "error({err='My boom'})",
    "error({})",
    "error()",
    "return redis.error_reply('boom')",
    "return redis.error_reply('MY boom')",
    "return {err='boom'}",
    "return {ok='fine'}",
    "return redis.status_reply('x')",
    "return {1,2,nil,3}",
    "return {1.9,-1.9,'a',true,false,{}}",
    "return nil",
    "return false",
    "return true",
    "return 3.7",
    "x=1",
    "return x",
    "return redis.call('SUBSCRIBE','a')",
    "return redis.call('MULTI')",
    "#!lua\nreturn redis.call('GET','k')",
    "#!lua flags=no-writes\nreturn redis.call('SET','k','v')",
    "#!foo\nreturn 1",
    "#!lua foo\nreturn 1",
    "#!lua flags=x\nreturn 1",
    "local t={} for i=1,9000 do t[i]='a' end return redis.call('DEL',unpack(t))",
    "local t={} for i=1,7990 do t[i]='a' end return redis.call('DEL',unpack(t))",
    "local t={} for i=1,7000 do t[i]='a' end return redis.call('DEL','a',unpack(t))",
    "return redis.call('GET','nokey')",
    "return {redis.call('GET','nokey')}",
    "return type(redis.call('GET','nokey'))",
    "return redis.call('SET','k','v')",
    "return redis.call('SET','k','v').ok",
    "return redis.call('SET','k',1.5)",
    "return redis.call('GET','k')",
    "return redis.sha1hex('a')",
    "return 2^53",
    "return 1e20",
    "return -1e20",
    "return 0/0",
    "return nil .. 'x'",
    "local t = nil; return t.x",
    "return unpack(5)",
    "\nlocal x = 5\nreturn x.y.z",
    "return redis.call('XREAD','BLOCK','0','STREAMS','nostream','0')",
    "return os.time()",
    "redis.call('SET','k','changed') error('after')",
    "\n\nlocal function f() redis.call('FOO') end\nf()",
    "local function f() error('x') end\nf()",
    "local function f() error('x') end\nreturn f()",
    "return cmsgpack.pack({'a','b'})",
    "KEYS=1",
    "redis=1",
    "local a = {} ; a.b=1; return {a.b}",
    "return string.format('%.0f', 12345678901)",
    "return '(' .. 1764587639.123456",
    "error('x',0)",
    "error('a\\nb')",
    "return {err='a\\nb'}",
    "return redis.error_reply('-ERR x')",
    "assert(false,'no')",
    "assert(false)",
    "error(5)",
    "return {ok=5}",
    "return {err=5}",
    "return redis.call('set','a','b')",
    "return redis.call('HGETALL','nokey')",
    "return redis.call('xinfo','foo','a')",
    "return redis.call('xinfo')",
    "return redis.call('xinfo','stream')",
    "return math.huge",
    "return 9223372036854775807",
    "return {1,{2,{3,'x'}}}",
    "return redis.call('GET',1)",
    "return select('#',redis.call('GET','none'))",
    "return {#KEYS, KEYS[1], #ARGV, ARGV[1], ARGV[2], ARGV[3]}",
    "return cmsgpack.pack(ARGV)",
    "local t = {} for i = 1, 300 do t[i] = string.rep('x', i) end return cmsgpack.pack(t)",
]
"""Scripts; each is run with the key ``k`` and the arguments ``a`` and ``b``."""
