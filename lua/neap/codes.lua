-- Says what each code of a problem means and what helps: one text a code, for `neap check` and README.
--
-- N10x the folder and its files, N11x warnings of it, N15x reloads (engine/), N2xx the data files'
-- contents, N22x warnings of them. A code keeps its meaning for ever.

return {
  N101 = "The folder of the policy set can't be read whole: it is missing, closed to neap, or keeps changing.",
  N102 = "A file can't be read: closed to neap, larger than 1 MiB, no plain file, or a link out of the folder.",
  N103 = "No file of a policy set has this name, so nothing would ever run it. Shared code goes to lib/ "
    .. "(letters, digits, _ and -), tests end in _test.lua.",
  N104 = "The file is not Lua: the compiler says what it met instead.",
  N105 = "The file failed while it was run: an error, a global name, or more steps or memory than it may take.",
  N106 = "The file returns the wrong thing: data files return a table, hooks' files one function.",
  N107 = "A file is missing: providers.lua, models.lua and endpoints.lua are in every set.",
  N108 = "Others than neap's own user may write this file, and so decide where requests and keys go.",
  N109 = "The set is too large: at most 10,000 files and 64 MiB in all.",
  N110 = "Something in the folder is no part of a policy set and is passed over.",
  N150 = "Without tenants anybody may call: then neap listens on loopback alone.",
  N151 = "This version was rolled back; it is not tried again until a file changes.",
  N152 = "There is no earlier generation to go back to.",
  N153 = "Too many reloads wait already.",
  N154 = "The instance is shutting down and takes no new set.",
  N155 = "A test of the set fails; a set whose tests fail does not go live.",
  N156 = "The tests of the set take longer than a reload waits for them.",
  N199 = "neap itself failed to load the set, for want of memory or by a fault of its own.",
  N201 = "A key that is not known here, or a field without a name.",
  N202 = "A value of the wrong kind.",
  N203 = "A value of the right kind that can't be: out of range, misspelt, too many.",
  N204 = "A field is missing.",
  N205 = "A name that leads nowhere: the file that it points into has nothing of this name.",
  N206 = "A key is not set: the environment has no such variable, or the file can't be read or is empty.",
  N207 = "Something is there twice.",
  N208 = "An address or a header that must not be used.",
  N209 = "A path that is not served yet.",
  N210 = "More names than a process can hold over its life.",
  N220 = "A model without a price: its calls count as free, so no budget and no cost cap holds them.",
  N221 = "Prices that were last looked at more than 180 days ago.",
  N222 = "A cost cap below what the cheapest call (100 tokens in, 16 out) costs: no model could be called.",
  N223 = "A deadline that is over before a connection that fails has failed.",
  N224 = "A setting that is accepted but has no effect yet.",
  N225 = "A provider that is called without TLS, off this machine.",
}
