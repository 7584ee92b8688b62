-- For wrk: the given path again and again, or ids of which none comes twice.
--
--   wrk … -s requests.lua URL                            the path of URL
--   wrk … -s requests.lua URL -- FIRST STRIDE TOTAL      the ids (n * STRIDE) mod TOTAL for n = FIRST, FIRST + 1, …
--   wrk … -s requests.lua URL -- FIRST STRIDE TOTAL MANY the same, so many in the body of each request
--
-- STRIDE has no factor in common with TOTAL, so the ids are distinct for TOTAL values of n, and not in order.

local next_number, stride, total, prefix, many

function init(args)
    wrk.headers["Host"] = wrk.host
    if #args >= 3 then
        next_number, stride, total = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
        prefix, many = wrk.path, tonumber(args[4])
    else
        fixed = wrk.format("GET")
    end
end

function next_id()
    local id = string.format("%026.0f", (next_number * stride) % total)
    next_number = next_number + 1
    return id
end

function request()
    if fixed then return fixed end
    if not many then return wrk.format("GET", prefix .. next_id()) end
    local ids = {}
    for place = 1, many do ids[place] = '"' .. next_id() .. '"' end
    local body = '{"bulk_object_ids":[' .. table.concat(ids, ",") .. "]}"
    return wrk.format("POST", prefix, {["Host"] = wrk.host, ["Content-Type"] = "application/json"}, body)
end

function done(summary, latency, _)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format(
        "RESULT %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50), failed))
end
