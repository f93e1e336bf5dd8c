-- Run `luacheck src/redis/lua` at the root of the repository.
--
-- A script is sent behind prelude.lua, a doctor's script behind prelude.lua and doctor.lua, and one of the
-- compact layout behind compact.lua. So the locals of these files are names that the scripts know, and are
-- in use if a script uses them.
local lfs = require("lfs")

local directory = "src/redis/lua/"

local function read(name)
  local file = assert(io.open(directory .. name))
  local text = file:read("*a")
  file:close()
  return text
end

-- The names that a file declares outside of functions.
local function names_of(text)
  local names = {}
  for line in text:gmatch("[^\n]+") do
    local declared = line:match("^local function ([%w_]+)") or line:match("^local ([%w_, ]+) =")
    for name in (declared or ""):gmatch("[%w_]+") do
      names[#names + 1] = name
    end
  end
  return names
end

-- What the scripts say, without their comments.
local function code(text)
  return (text:gsub("%-%-[^\n]*", ""))
end

local scripts = ""
for name in lfs.dir(directory) do
  if name:match("%.lua$") and name ~= "prelude.lua" and name ~= "doctor.lua" and name ~= "compact.lua" then
    scripts = scripts .. code(read(name))
  end
end

-- Patterns of warnings that are none: 211 is a local that its own file does not use.
local function used(names, text)
  local patterns = {}
  for _, name in ipairs(names) do
    if text:find("%f[%w_]" .. name .. "%f[^%w_]") then
      patterns[#patterns + 1] = "211/" .. name
    end
  end
  return patterns
end

local prelude, doctor, compact = read("prelude.lua"), read("doctor.lua"), read("compact.lua")

max_line_length = 120

-- What Redis gives a script, as far as the scripts use it.
stds.redis = {
  read_globals = {
    "ARGV", "KEYS",
    redis = { fields = { "call", "error_reply", "pcall" } },
    cjson = { fields = { "decode", "encode" } },
    math = { fields = { "ceil", "floor", "huge", "max", "min" } },
    string = { fields = { "byte", "char", "find", "format", "gsub", "match", "sub" } },
    table = { fields = { "concat", "insert", "remove", "sort" } },
    "ipairs", "next", "pairs", "select", "tonumber", "tostring", "type", "unpack",
  },
}
std = "redis"

-- What a script may set of the prelude's is the error that it has dealt with.
files[directory .. "*.lua"] = { read_globals = names_of(prelude), globals = { "wrong" } }
files[directory .. "doctor_*.lua"] = { read_globals = names_of(doctor) }
files[directory .. "prelude.lua"] = { ignore = used(names_of(prelude), code(doctor) .. scripts) }
files[directory .. "doctor.lua"] = { ignore = used(names_of(doctor), scripts) }
files[directory .. "compact_*.lua"] = { read_globals = names_of(compact) }
files[directory .. "compact.lua"] = { ignore = used(names_of(compact), scripts) }
