local redact = require("lib.redact").redact

local cases = {
  { "mail a@b.example now", "mail [email] now", 1 },
  { "a@b.example,c@d.example.", "[email],[email].", 2 },
  { "first.last+tag@sub.example.org!", "[email]!", 1 },
  { "no address: @here, a@b, me@", "no address: @here, a@b, me@", 0 },
  { "DE89 3704 0044 0532 0130 00 is mine", "DE[number] is mine", 1 },
  { "4111-1111-1111-1111", "[number]", 1 },
  { "room 1204, 8 to 17", "room 1204, 8 to 17", 0 },
  { "", "", 0 },
}

test.each("a_text", cases, function(case)
  local text, n = redact(case[1])
  expect({ text, n }, { case[2], case[3] })
end)
