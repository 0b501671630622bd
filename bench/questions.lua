-- What wrk sends: a template of one whole request, filled from records that are each used once.
--
-- wrk -s questions.lua URL -- TEMPLATE [RECORDS FIRST LAST]
--
-- The template's {id}, {signature} and {number} are replaced by the fields of a record (see pool.py for
-- their widths); without records the template is sent as it is. The records lie in one string, since a
-- table of some hundred thousand strings would cost wrk more than the subject.

local ID, SIGNATURE, NUMBER = 26, 64, 8
local WIDTH = ID + SIGNATURE + NUMBER

local threads = {}
local template, records, last
local part_1, part_2, part_3, part_4
used = 0       -- global, so that done() can ask the thread for it
wrapped = 0
next_record = 0

local function read(path)
  local file = assert(io.open(path, "rb"))
  local content = file:read("*a")
  file:close()
  return content
end

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  template = read(args[1])
  if args[2] then
    records = read(args[2])
    next_record = tonumber(args[3])
    last = tonumber(args[4])
    part_1, part_2, part_3, part_4 = template:match("^(.-){id}(.-){signature}(.-){number}(.*)$")
    if not part_1 then
      -- The same question under ever new ids: there is no number to fill in.
      part_1, part_2, part_3 = template:match("^(.-){id}(.-){signature}(.*)$")
    end
  end
end

function request()
  used = used + 1
  if not records then
    return template
  end
  if next_record >= last then
    wrapped = 1
    next_record = 0
  end
  local at = next_record * WIDTH
  next_record = next_record + 1
  local id = records:sub(at + 1, at + ID)
  local signature = records:sub(at + ID + 1, at + ID + SIGNATURE)
  if not part_4 then
    return part_1 .. id .. part_2 .. signature .. part_3
  end
  return part_1 .. id .. part_2 .. signature .. part_3 .. records:sub(at + ID + SIGNATURE + 1, at + WIDTH) .. part_4
end

function done(summary, latency, requests)
  local all_used, any_wrapped = 0, 0
  for _, thread in ipairs(threads) do
    all_used = all_used + thread:get("used")
    any_wrapped = any_wrapped + thread:get("wrapped")
  end
  local errors = summary.errors
  local fields = {
    { "requests", summary.requests },
    { "duration_us", summary.duration },
    { "used", all_used },
    { "wrapped", any_wrapped },
    { "status_errors", errors.status },
    { "socket_errors", errors.connect + errors.read + errors.write + errors.timeout },
    { "p50_us", latency:percentile(50) },
    { "p99_us", latency:percentile(99) },
  }
  local parts = {}
  for _, field in ipairs(fields) do
    table.insert(parts, string.format('"%s":%d', field[1], field[2]))
  end
  io.write("{" .. table.concat(parts, ",") .. "}\n")
end
