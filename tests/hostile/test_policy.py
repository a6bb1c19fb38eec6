"""Policies that do their worst (T25): the default decides, the process lives, and other requests hardly
notice.

ctest: serial"""

import threading
import time

import case
import stub
import wire

# Each runs in a hook, as a function of req. What it returns is not important: it must be stopped, err
# or do no harm. Texts from the client stand in req.messages[1].content.
ATTACKS = {
    "loop": "while true do end",
    "loop in pcall": "while true do pcall(function() while true do end end) end",
    "tree of pcalls": "local function f(n) if n > 0 then pcall(f, n - 1) pcall(f, n - 1) end end f(200)",
    "loop in xpcall's handler": "xpcall(error, function() while true do end end)",
    "xpcall in xpcall": "local function h() return xpcall(error, h) end while true do xpcall(error, h) end",
    "recursion": "local function f() return 1 + f() end f()",
    "tail calls": "local function f() return f() end f()",
    "goto": "::a:: goto a",
    "repeat": "repeat until false",
    "numeric for": "for i = 1, math.huge do end",
    "iterator": "for _ in function() return 1 end do end",
    "trim": 'return ((" "):rep(40000) .. "x"):match("^%s*(.-)%s*$")',
    "blanks at the end": '(" "):rep(200000):find("%s+$" .. "y")',
    "three lazies": '("a"):rep(3000):find(".-.-.-b")',
    "many optionals": '("a"):rep(30):find(("a?"):rep(30) .. ("a"):rep(30))',
    "balance": '("("):rep(100000):find("%b()")',
    "back reference": '("a"):rep(20000):find("(.*)%1b")',
    "frontier": '("a "):rep(100000):gsub("%f[%w]%w+", "%0%0%0%0")',
    "gsub that calls": '("x"):rep(1000000):gsub(".", type)',
    "gsub that grows": 'local s = ("x"):rep(100000) while true do s = s:gsub("x", "xxxx") end',
    "plain find": '("a"):rep(2000000):find(("a"):rep(1000000) .. "b", 1, true)',
    "rep of nothing": '(""):rep(10 ^ 15 // 1 | 0)',
    "rep of much": 'return ("x"):rep(10 ^ 12 // 1 | 0)',
    "rep in a loop": 'while true do local _ = ("x"):rep(50000000) end',
    "concat in a loop": 'local s = "x" while true do s = s .. s end',
    "a table that grows": "local t = {} for i = 1, math.huge do t[i] = i end",
    "tables in tables": "local t = {} while true do t = { t } end",
    "a closure each time": "local f = print while true do local g = f f = function() return g end end",
    "a global cache": "cache = cache or {} for i = 1, 1e7 do cache[#cache + 1] = {} end",
    "table.move": "table.move({}, 1, 10 ^ 12 // 1 | 0, 2)",
    "table.concat of a liar": "table.concat(setmetatable({}, { __len = function() return 1 << 60 end }))",
    "table.insert of a liar": "table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)",
    "unpack": "return table.unpack({}, 1, 10000000)",
    "sort": "local t = {} for i = 1, 60000 do t[i] = -i end table.sort(t, function() return true end)",
    "sort by loop": "table.sort({ 3, 2, 1 }, function() while true do end end)",
    "format": 'return ("%99999999d"):format(1)',
    "format in a loop": 'while true do local _ = ("%.99f"):format(1e308) end',
    "pack": 'return string.pack(("i16"):rep(100000), 1)',
    "utf8": "while true do for _ in utf8.codes(('x'):rep(100000)) do end end",
    "tostring of a liar": "error(setmetatable({}, { __tostring = function() while true do end end }))",
    "index of a liar": "return setmetatable({}, { __index = function(t, k) return t[k .. 'x'] end }).x",
    "newindex": "setmetatable(_ENV, { __index = function() while true do end end }) return nothing_there",
    "close": "local x <close> = setmetatable({}, { __close = function() while true do end end })",
    "gc": "setmetatable({}, { __gc = function() while true do end end })",
    "concat metamethod": 'return setmetatable({}, { __concat = function() return "x" end }) .. "y"',
    "coroutines": "coroutine.wrap(function() while true do end end)()",
    "load": 'load("while true do end")()',
    "io": 'io.open("/etc/passwd")',
    "os": 'os.execute("kill " .. 1)',
    "require elsewhere": 'require "os"',
    "require up": 'require "lib...os"',
    "string methods changed": "string.rep = nil string.upper = function() while true do end end",
    "string's metatable": 'getmetatable("").__index = function() while true do end end',
    "rawset": "rawset(_G, 'type', nil)",
    "json that shares": "local t = { 1 } for _ = 1, 40 do t = { t, t } end json.encode(t)",
    "json that is deep": "local t = {} for _ = 1, 100000 do t = { t } end json.encode(t)",
    "json that is a ring": "local t = {} t.t = t json.encode(t)",
    "json of a long text": 'json.encode(("\\1"):rep(4000000))',
    "json decoded": 'json.decode("[" .. ("1,"):rep(2000000) .. "1]")',
    "json decoded deep": 'json.decode(("["):rep(100000))',
    "log in a loop": 'while true do log.info(("x"):rep(1000)) end',
    "shared in a loop": 'local i = 0 while true do i = i + 1 shared.set("k" .. i, ("x"):rep(1000), 60) end',
    "stats in a loop": 'while true do stats.p95("m") end',
    "tokens of a long text": 'while true do tokens(("x"):rep(1000000), "m") end',
    "template in a loop": "while true do template('budget', {}) end",
    "a number that is none as a wait": "return { status = 0 / 0 }",
    "an answer that is a ring": "local t = {} t.status = t return t",
    "an answer that lies": "return setmetatable({}, { __index = function() while true do end end })",
    "a why that is huge": 'return nil, ("x"):rep(4000000)',
    "an error that is huge": 'error(("x"):rep(4000000))',
    "an error that is nil": "error(nil)",
    "an error that is a table": "error({ code = 1 })",
    "the prompt as a pattern": 'return ("x"):find(req.messages[1].content)',
    "messages that are huge": 'req.messages = { { role = "user", content = ("x"):rep(3000000) } }',
    "messages that are a ring": "local m = {} m[1] = m req.messages = m",
    "tokens that are none": "req.max_tokens = 0 / 0",
    "context from nowhere": 'req.context = { { id = "x" } }',
}

ADMIT = (
    "local attacks = {\n"
    + "".join(f"  [{i}] = function(req) {body} end,\n" for i, body in enumerate(ATTACKS.values()))
    + "}\nreturn function(req)\n  local i = req.metadata and req.metadata.attack\n"
    "  if i then return attacks[math.tointeger(i)](req) end\nend\n"
)


class Hostile(case.Case):
    scenario = False
    workers = 1

    @classmethod
    def prepare(cls, policies):
        cls.stub = cls.own(stub.Stub(lambda call: stub.reply(stub.openai("served"))))
        policies.url = cls.stub.url
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        policies.hook("admit", ADMIT)

    def attack(self, i):
        body = {"prompt": "%b" + "x" * 50, "metadata": {"attack": i}}
        return self.server.ask(body, timeout=30)

    def hook_ms(self, reply):
        return self.server.decision(reply)["hooks"][0]["us"] / 1000

    def test_every_attack_is_stopped_and_the_default_decides(self):
        slowest = (0.0, "")
        for i, name in enumerate(ATTACKS):
            with self.subTest(name=name):
                reply = self.attack(i)
                self.assertIn(reply.status, (200, 400), reply)
                self.assertTrue(self.server.running)
                took = self.hook_ms(reply)
                for _ in range(2):
                    # What the machine's other work makes of it is not the hook's.
                    took = took if took < 40 else min(took, self.hook_ms(self.attack(i)))
                slowest = max(slowest, (took, name))
                if reply.status == 200 and "messages" not in name:
                    self.assertGood(reply, text="served")
        case.say(f"{len(ATTACKS)} attacks: the longest hook took {slowest[0]:.1f} ms ({slowest[1]})")
        self.assertLess(slowest[0], 60)
        self.assertGood(self.server.ask("still there"), text="served")

    def test_other_requests_hardly_wait(self):
        stop, waits = threading.Event(), []

        def ping():
            with self.server.conn() as conn:
                while not stop.is_set():
                    waits.append(conn.ask("GET", "/nothing").ms)
                    time.sleep(0.002)

        thread = threading.Thread(target=ping)
        thread.start()
        for i in range(len(ATTACKS)):
            self.attack(i)
        stop.set()
        thread.join()
        waits.sort()
        case.say(f"{len(waits)} other requests waited {waits[-1]:.1f} ms at most, "
                 f"p50 {waits[len(waits) // 2]:.2f} ms")
        # Twice what is promised without sanitizers, whose memory and calls are dearer.
        self.assertLess(waits[-1], 60)

    def test_attacks_at_once_leave_the_process_alive(self):
        names = list(ATTACKS)
        picked = [names.index(n) for n in ("loop", "rep in a loop", "gsub that calls", "a global cache")]
        replies = case.at_once(24, lambda i: self.attack(picked[i % 4]))
        self.assertEqual({reply.status for reply in replies}, {200})
        errors = self.server.metrics().get("neap_hook_errors_total", hook="admit")
        self.assertGreater(errors, 20)


class Load(case.Case):
    """Sets that do harm while they are loaded."""

    scenario = False

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])

    def test_a_file_that_never_ends_is_refused_and_the_old_set_goes_on(self):
        bodies = {
            "route.lua": "while true do end",
            "lib/x.lua": "while true do end",
            "models.lua": "while true do end",
            "endpoints.lua": 'local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end return t',
            "budgets.lua": "\x1bLua",
            "tenants.lua": "return " + "{" * 100000,
            "admit.lua": "return function() " + "x = 1 " * 100000 + " end",
        }
        for name, body in bodies.items():
            with self.subTest(name=name):
                old = self.policies.data().get(name)
                self.policies.put(name, body)
                if name.startswith("lib/"):
                    self.policies.put("route.lua", 'require "lib.x" return function() end')
                began = time.monotonic()
                reply = self.server.reload()
                took = time.monotonic() - began
                self.assertIn(reply.status, (200, 422) if name == "admit.lua" else (422,), reply)
                self.assertLess(took, 5)
                for changed in (name, "route.lua" if name.startswith("lib/") else None):
                    if changed and old is None:
                        self.policies.remove(changed)
                if old is not None:
                    self.policies.put(name, old)
                self.assertEqual(self.server.reload().status, 200)
        self.assertEqual(wire.ask(self.server.port, body={"prompt": "a"}).status, 200)


if __name__ == "__main__":
    case.main()
