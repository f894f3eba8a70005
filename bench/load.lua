-- What wrk sends, for `cargo xtask bench`, which says by the environment what that is:
-- LOAD_METHOD, LOAD_PATHS (sent in turn, parted by blanks), LOAD_BEARER, LOAD_HEADERS (a line for each), LOAD_BODY; or LOAD_FORMS (forms
-- that are sent in turn to one path).
-- At the end it prints one line, "FIGURES " and JSON.

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(_)
  local headers = {}
  local bearer, body = os.getenv("LOAD_BEARER"), os.getenv("LOAD_BODY")
  if bearer and bearer ~= "" then
    headers["authorization"] = "Bearer " .. bearer
  end
  for name, value in (os.getenv("LOAD_HEADERS") or ""):gmatch("([^:\n]+): ([^\n]+)") do
    headers[name] = value
  end
  if body == "" then
    body = nil
  else
    headers["content-type"] = "application/json"
  end
  local bodies = { body }
  for form in (os.getenv("LOAD_FORMS") or ""):gmatch("%S+") do
    headers["content-type"] = "application/x-www-form-urlencoded"
    bodies[#bodies + 1] = form
  end
  requests = {}
  for path in os.getenv("LOAD_PATHS"):gmatch("%S+") do
    for i = 1, math.max(#bodies, 1) do
      requests[#requests + 1] = wrk.format(os.getenv("LOAD_METHOD"), path, headers, bodies[i])
    end
  end
  -- Threads begin at different paths.
  at = number * 17
end

function request()
  at = at + 1
  return requests[at % #requests + 1]
end

function done(summary, latency, _)
  local errors = summary.errors
  print(string.format(
    'FIGURES {"requests": %d, "refused": %d, "broken": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d}',
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)))
end
