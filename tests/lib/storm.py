"""A storm of reloads under load (T26): good, bad, half-written and deleted sets, one after the other,
while clients ask in processes of their own. Nothing may be dropped, and no request may see two
generations: its hooks, its reply and its record all tell one number, that of their version."""

import multiprocessing
import os
import time

import case
import disk
import policies as sets
import procs
import wire

CLIENTS = 4
GOOD_TEST = 'test("answers", function() expect(play { request = { prompt = "x" } }.status, 200) end)\n'
BAD_TEST = 'test("never", function() expect(1, 2) end)\n'


def ask_until(port, stop, per_second, out):
    """One client: asks at an even rate and sends home (began, ms, policy, text) and what went wrong."""
    seen, faults = [], []
    conn, due = wire.Conn(port), time.monotonic()
    while not stop.is_set():
        due = max(due + 1 / per_second, time.monotonic() - 1)
        time.sleep(max(0, due - time.monotonic()))
        began = time.monotonic()
        try:
            reply = conn.ask(body={"prompt": "a"})
            got = reply.json()
            if reply.status != 200 or got["degraded"]:
                faults.append(repr(reply))
            else:
                seen.append((began, reply.ms, got["policy"], got["text"]))
        except (OSError, wire.Cut, ValueError) as fault:
            faults.append(repr(fault))
            conn = wire.Conn(port)
    conn.close()
    out.send((seen, faults))
    out.close()


def p99(values):
    values = sorted(values)
    return values[len(values) * 99 // 100] if values else float("nan")


class Load:
    """Clients in processes of their own, so that what the storm does costs them nothing."""

    def __init__(self, port, per_second):
        context = multiprocessing.get_context("fork")
        self.stop = context.Event()
        self.clients = []
        for _ in range(CLIENTS):
            mine, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=ask_until, args=(port, self.stop, per_second / CLIENTS, theirs)
            )
            process.start()
            theirs.close()
            self.clients.append((process, mine))

    def end(self):
        self.stop.set()
        seen, faults = [], []
        for process, pipe in self.clients:
            got = pipe.recv()
            seen += got[0]
            faults += got[1]
            process.join()
        return seen, faults


class Storm(case.Case):
    """Derived classes say how many reloads there are, and how much load."""

    reloads = 0
    per_second = 200
    calm_s = 3

    def setUp(self):
        files = sets.Policies(self.mock.url)
        files.provider("p")
        files.model("m", "p")
        files.endpoint("assistant", ["m"])
        number = 'local number = require "lib.number"\nreturn function'
        files.hook("admit", f"{number}(req) req.tags = {{ n = number.n }} return nil, tostring(number.n) end")
        files.hook("route", f'{number}(req) return {{ "m" }}, tostring(number.n) end')
        files.hook(
            "respond",
            f"{number}(req, reply) return {{ text = number.n .. '/' .. math.tointeger(req.tags.n) }},"
            " tostring(number.n) end",
        )
        self.files, self.numbers = files, {}
        self.good(0)
        self.server = self.serve(files)
        self.addCleanup(self.server.stop)
        self.started = [self.server]

    # -- what happens to the folder

    def good(self, i):
        self.files.files["lib/number.lua"] = f"return {{ n = {i} }}\n"
        self.files.files["x_test.lua"] = GOOD_TEST
        self.numbers[disk.version_of(self.files.data())] = str(i)
        # The library last: each step before it is a set that ran already, or one that is refused.
        data = self.files.data()
        number = data.pop("lib/number.lua")
        for name, content in data.items():
            self.files.put(name, content)
        self.files.put("lib/number.lua", number)

    def bad(self):
        self.files.put("route.lua", "return function(\n")

    def failing(self):
        self.files.put("x_test.lua", BAD_TEST)

    def half_written(self):
        with open(os.path.join(self.files.path, "respond.lua"), "r+", encoding="utf-8") as f:
            f.truncate(len(f.read()) // 2)

    def deleted(self):
        os.unlink(os.path.join(self.files.path, "endpoints.lua"))

    def one_reload(self, i):
        harm = {1: self.bad, 3: self.half_written, 5: self.deleted, 7: self.failing}.get(i % 8)
        if harm:
            harm()
        else:
            self.good(i)
        reply = self.server.reload()
        self.assertEqual(reply.status, 422 if harm else 200, reply)
        if not harm:
            self.assertEqual(self.numbers[reply.json()["version"]], str(i))

    def rss_kb(self):
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    # -- the storm itself

    def rage(self):
        load = Load(self.server.port, self.per_second)
        # What edits and asks for reloads must not take the processors from what is measured.
        os.setpriority(os.PRIO_PROCESS, 0, 15)
        try:
            time.sleep(1)
            calm = (time.monotonic(), time.monotonic() + self.calm_s)
            time.sleep(self.calm_s)
            for i in range(1, self.reloads // 5):
                self.one_reload(i)
            rss = self.rss_kb()
            began = time.monotonic()
            for i in range(self.reloads // 5, self.reloads + 1):
                self.one_reload(i)
            storm = (began, time.monotonic())
        finally:
            seen, faults = load.end()
        self.assertEqual(faults[:5], [])
        took = {
            name: p99([ms for at, ms, _, _ in seen if a <= at < b])
            for name, (a, b) in (("calm", calm), ("storm", storm))
        }
        replies = [(policy, text) for _, _, policy, text in seen]
        mixed = self.mixed(replies) + self.mixed_records(len(seen))
        case.say(
            f"{self.reloads} reloads, {len(seen)} replies: {len(faults)} dropped, {len(mixed)} mixed, "
            f"p99 {took['calm']:.2f} ms calm, {took['storm']:.2f} ms in the storm "
            f"({took['storm'] / took['calm']:.2f} times), RSS {rss} kB after a fifth, "
            f"{self.rss_kb()} kB at the end"
        )
        self.assertEqual(mixed, [])
        self.assertGreater(len(set(policy for policy, _ in replies)), self.reloads // 8)
        return rss

    def mixed(self, replies):
        return [
            (policy, text)
            for policy, text in replies
            if text.split("/") != [self.numbers[policy], self.numbers[policy]]
        ]

    def mixed_records(self, n):
        """Records in which a hook tells another number than that of the record's version."""
        self.assertTrue(procs.wait_for(lambda: len(self.server.read_records()) >= n, 10))
        return [
            record["requestId"]
            for record in self.server.records.values()
            if [hook.get("why") for hook in record["hooks"]] != [self.numbers[record["policy"]]] * 3
        ]


def is_sanitized():
    with open(procs.NEAP, "rb") as f:
        text = f.read()
    return b"__asan_init" in text or b"__tsan_init" in text
