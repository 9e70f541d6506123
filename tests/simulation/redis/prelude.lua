-- Make what a script sees of Redis. Returns two functions: run(script, keys, arguments), which returns whether it ended
-- well and its result or its error {err, source, line}; and compile(code), which returns the script or nil and why not.
local call, pcall_command, failed_text, sha1, pack = ...

local globals = {
    KEYS = false, ARGV = false,
    assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, rawequal = rawequal, rawget = rawget,
    select = select, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
    string = string, table = table, math = math, os = {},
    cmsgpack = {pack = function(value) return pack(value) end},
    redis = {
        call = call, pcall = pcall_command,
        sha1hex = function(text) return sha1(text) end,
        status_reply = function(text) return {ok = text} end,
        error_reply = function(text)
            if text:sub(1, 1) == '-' then return {err = text:sub(2)} end
            return {err = text:find(' ', 1, true) and text or 'ERR ' .. text}
        end,
    },
}
math.random, math.randomseed = nil, nil  -- Redis has its own; nothing here may be random

-- A script reads its globals through an empty table, so that every assignment to one is noticed.
setmetatable(globals, {__index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end})
local sandbox = setmetatable({}, {__index = globals, __newindex = function()
    error('Attempt to modify a readonly table', 2)
end})

local getinfo = debug.getinfo

local function on_error(problem)
    local level = 2
    local info = getinfo(level, 'Sl')
    while info and (info.what == 'C' or info.source == '=prelude') do
        level = level + 1
        info = getinfo(level, 'Sl')
    end
    if type(problem) == 'userdata' then problem = {err = failed_text(problem)} end
    if type(problem) ~= 'table' then problem = {err = 'ERR ' .. tostring(problem)} end
    if info then problem.source, problem.line = info.source, info.currentline end
    return problem
end

local function run(script, keys, arguments)
    globals.KEYS, globals.ARGV = keys, arguments
    local is_done, result = xpcall(script, on_error)
    return is_done, result
end

local function compile(code)
    local script, problem = loadstring(code, '@user_script')
    return script and setfenv(script, sandbox), problem
end

return run, compile
