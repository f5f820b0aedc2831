-- What wrk asks, and what it tells in the end.
--
--   wrk [options] URL -- PAUSE          GETs it
--   wrk [options] URL -- PAUSE FORMS    POSTs one of the lines of the file FORMS, each time another one, at random
--
-- PAUSE is how many milliseconds a connection rests before it asks.
-- The last line of the output is one JSON object; latencies are in microseconds.

local requests = {}

function init(args)
  math.randomseed(os.time())
  local pause, forms = tonumber(args[1]), args[2]
  if pause > 0 then
    function delay()
      return pause
    end
  end
  if forms then
    wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
    for form in io.lines(forms) do
      requests[#requests + 1] = wrk.format("POST", nil, nil, form)
    end
  else
    requests[1] = wrk.format("GET")
  end
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"answers": %d, "microseconds": %d, "refused": %d, "broken": %d, "p50": %d, "p90": %d, "p99": %d, "p999": %d}\n',
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9)
  ))
end
