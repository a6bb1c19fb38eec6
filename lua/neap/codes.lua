-- Says what each code of a problem means and what helps: one text a code, for `neap check` and README.
--
-- N10x and N11x the folder and its files, N15x reloads (engine/), N2xx the data files' contents, N22x warnings
-- of them, N3xx code that was looked into, N4xx hooks that were tried. A code keeps its meaning for ever.
-- examples.lua shows each.

return {
  N101 = "The folder of the policy set can't be read whole: it is missing, closed to neap, or keeps changing.",
  N102 = "A file can't be read: closed to neap, larger than 4 MiB, no plain file, or a link out of the folder.",
  N103 = "No file of a policy set has this name, so nothing would ever run it. Shared code goes to lib/ "
    .. "(letters, digits, _ and -), tests end in _test.lua.",
  N104 = "The file is not Lua: the compiler says what it met instead.",
  N105 = "The file failed while it was run: an error, a global name, or more steps or memory than it may take.",
  N106 = "The file returns the wrong thing: data files return a table, hooks' files one function.",
  N107 = "A file is missing: providers.lua, models.lua and endpoints.lua are in every set.",
  N108 = "Others than neap's own user may write this file, and so decide where requests and keys go.",
  N109 = "The set is too large: at most 10,000 files and 64 MiB in all.",
  N110 = "Something in the folder is no part of a policy set and is passed over.",
  N111 = "Libraries require each other in a circle: none can be loaded first. What both need goes into a third one.",
  N112 = "A function that belongs to a request is called while the file is loaded: loading has no effects.",
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
  N223 = "A deadline that is over before a connection that fails has failed, or before the timeouts for the first "
    .. "token that its providers were given.",
  N224 = "A setting that is accepted but has no effect yet.",
  N225 = "A provider that is called without TLS, off this machine.",
  N226 = "A timeout of a provider that never comes, because timeout_ms is over before.",
  N227 = "A hedge that is never made: its time is not before the deadline, there is no second attempt, or no second "
    .. "provider.",
  N228 = "A tenant whose date of expiry is over: its keys are refused.",
  N229 = "Prices that were looked at in the future, by more than a year.",
  N230 = "A budget of nothing: no call that has a price is made by it. A tenant is stopped by disabled = true.",
  N231 = "A model that could write more than its context holds, in which the prompt has its place, too.",
  N232 = "Prices above a number of tokens that are none: nothing is different there.",
  N233 = "A model called auto, which clients write to leave the choice to route.",
  N301 = "A name that is nowhere: no global and no function of a library is called so.",
  N302 = "A global is written: policies have none. What all requests share is in shared.set(key, value, ttl_s).",
  N303 = "A function of Lua's that policies have not: it reads as nil.",
  N304 = "A field that the object has not: of req, candidate, attempt and reply that is an error each time it is "
    .. "read; elsewhere it reads as nil.",
  N305 = "Something is written that is read-only, here or altogether: it is an error each time.",
  N306 = "A function is given fewer arguments than it needs, or more than it takes.",
  N307 = "A library that is not there: require takes \"lib.NAME\" and finds lib/NAME.lua.",
  N309 = "A function is given, or route returns, the name of a model, endpoint or template that the set does not have.",
  N310 = "A comparison that always comes out the same, because both sides can never be equal, or that is an error.",
  N311 = "A pattern with two unbounded repetitions: on a text of n bytes it can take n squared steps, and callers "
    .. "choose the texts. Anchored ones with a sign between that the first repetition can't take are good.",
  N312 = "A table that lives as long as the file gets new keys in a function and never loses any: it grows with each "
    .. "request until the memory of the state is full.",
  N313 = "A local variable that nothing reads. A name that begins with _ says that this is meant.",
  N314 = "A local variable hides another one of the same name, which is easy to take one for the other.",
  N315 = "A function gives a value in some branches of its last statement and nothing in others.",
  N318 = "A file is too large or nested too deeply to be looked into; it was loaded and tried all the same.",
  N319 = "A comment `-- neap: allow CODE reason` that allows nothing: no reason, or no such warning at its line.",
  N320 = "A place of a template that nobody fills: callers read it as it stands, with its brackets.",
  N321 = "A template that nobody uses: no hook names it, and no reason of a degraded reply is called so.",
  N401 = "A hook gave something of the wrong kind, or a function or req was given it, when it was tried on a built-in "
    .. "request.",
  N402 = "A hook failed when it was tried on a built-in request: an error, too many steps, too much memory. Then its "
    .. "default decides.",
}
