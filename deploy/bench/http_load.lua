-- What wrk does for `isogloss bench http`: sends prepared bodies in turn, says what came back.
--
--   wrk -t1 -cN -dSECONDSs -s http_load.lua URL -- PATH BODIES FIRST
--
-- PATH: of the URL; BODIES: a file with one JSON body a line, or "hex:LENGTH:DIGITS" for a body
-- whose JSON has that length and has binary tensors behind it (KServe v2); FIRST: replies that are no part of
-- the rate, one for each connection, for nothing was on its way when they were asked for.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long microseconds; } isogloss_time;
  int gettimeofday(isogloss_time *now, void *zone);
]]

local now = ffi.new("isogloss_time")
local threads, bodies, place = {}, {}, 0

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  for body in io.lines(args[2]) do
    local headers = { ["content-type"] = "application/json" }
    local length, digits = body:match("^hex:(%d+):(%x+)$")
    if length then
      headers["content-type"] = "application/octet-stream"
      headers["inference-header-content-length"] = length
      body = digits:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
    end
    table.insert(bodies, wrk.format("POST", args[1], headers, body))
  end
  first = tonumber(args[3])
  replies, refused, since_s, until_s = 0, 0, 0, 0
end

function request()
  place = place % #bodies + 1
  return bodies[place]
end

function response(status)
  ffi.C.gettimeofday(now, nil)
  until_s = tonumber(now.seconds) + tonumber(now.microseconds) / 1e6
  replies = replies + 1
  if status ~= 200 then refused = refused + 1 end
  if replies == first then since_s = until_s end
end

function done(summary, latency)
  local thread, errors = threads[1], summary.errors
  io.write(string.format(
    'LOAD {"replies": %d, "refused": %d, "broken": %d, "first": %d, "seconds": %.6f, '
      .. '"p50_ms": %.3f, "p95_ms": %.3f, "p99_ms": %.3f}\n',
    thread:get("replies"), thread:get("refused"),
    errors.connect + errors.read + errors.write + errors.timeout,
    thread:get("first"), thread:get("until_s") - thread:get("since_s"),
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
