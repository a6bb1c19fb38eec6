-- Says by an example what raises a problem's code, and what is right instead, for `neap check --explain`.
--
-- By code: { file = the file of a set that is looked at, wrong =, right = its content }. Each wrong one raises
-- its code in the shipped set, and each right one does not; a test holds it.

return {
  N301 = {
    file = "route.lua",
    wrong = 'return function()\n  if stats.p59("gpt-4.1") then return { "gpt-4.1-mini" } end\nend\n',
    right = 'return function()\n  if stats.p95("gpt-4.1") then return { "gpt-4.1-mini" } end\nend\n',
  },
}
