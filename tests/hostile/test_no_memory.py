"""A live server whose allocations fail by chance (T28): it lives, loses no money that was held, gives each
request one reply or closes its connection, and serves as ever once there is memory again. What the sanitizer
finds, leaks too, is told as the server ends."""

import os
import random
import struct
import subprocess
import tempfile
import threading
import time

import case
import procs
import wire

HERE = os.path.dirname(os.path.abspath(__file__))
PER_MILLION = 1000
SEEDS = (1, 2, 3)
ASKERS = 4
REQUESTS = 150  # of each asker, for each seed
CUT_MOST = 0.05
RSS_MAY_GROW_KB = 16384


class Plan:
    """The file that both sides map: how many of a million fail, the seed, how many failed."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(bytes(24))

    def write(self, per_million, seed):
        with open(self.path, "r+b") as f:
            f.write(struct.pack("<QQ", per_million, seed))

    def failed(self):
        with open(self.path, "rb") as f:
            return struct.unpack("<QQQ", f.read(24))[2]


class NoMemory(case.Case):
    workers = 2

    @classmethod
    def prepare(cls, policies):
        tools = tempfile.TemporaryDirectory(prefix="neap-no-memory-")
        cls.addClassCleanup(tools.cleanup)
        library = os.path.join(tools.name, "fail_malloc.so")
        subprocess.run(["gcc", "-std=c17", "-O2", "-shared", "-fPIC", "-o", library,
                        os.path.join(HERE, "fail_malloc.c"), "-ldl"], check=True)
        cls.plan = Plan(os.path.join(tools.name, "plan"))
        asan = os.environ.get("ASAN_OPTIONS", "")
        cls.env = {"LD_PRELOAD": library, "FAIL_MALLOC": cls.plan.path,
                   "ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0"}
        for name in ("p", "q"):
            policies.provider(name)
        policies.model("m", "p")
        policies.model("n", "q")
        policies.model("bad", "p")
        policies.endpoint("assistant", ["m", "n"])
        policies.endpoint("falls", ["bad", "n"])
        policies.budgets = [{"account": a, "window": "day", "limit_usd": 1000} for a in ("global", "tenant")]
        policies.hook("admit", '(req) req.tags = { n = #req.messages } return nil, "x"')
        policies.hook("respond", "(req, reply) return { text = reply.text:upper() }")
        cls.mock.control(m={"first_ms": 1, "total_ms": 2, "text": "yes"},
                         n={"first_ms": 1, "total_ms": 2, "text": "no"},
                         bad={"status": 500, "first_ms": 1, "total_ms": 1})

    def rss_kb(self):
        with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

    def asker(self, seed, out):
        chance = random.Random(seed)
        for _ in range(REQUESTS):
            body = {"prompt": "a" * chance.randrange(1, 3000)}
            if chance.random() < 0.3:
                body["context"] = [{"id": str(i), "text": "b" * 100} for i in range(5)]
            kind = chance.choice(["assistant", "assistant", "falls"])
            how = chance.choice(["whole", "whole", "stream", "leave"])
            try:
                out.append(self.one(f"/api/{kind}/reply", body, how))
            except (OSError, wire.Cut, ValueError) as fault:
                out.append(f"cut {type(fault).__name__}")

    def one(self, path, body, how):
        with self.server.conn() as conn:
            if how == "leave":
                conn.send(wire.request(path=path, body=body))
                return "left"
            if how == "stream":
                conn.send(wire.request(path=path, body={**body, "stream": True}))
                return f"stream {conn.reply().status}"
            return conn.ask(path=path, body=body).status

    def reloads(self, stop, out):
        """Reads the policies again and again, a new version each time."""
        n = 0
        while not stop.is_set():
            n += 1
            self.policies.put("respond.lua", f"return function() return {{ text = '{n}' }} end\n")
            try:
                out.append(self.server.reload().status)
            except (OSError, wire.Cut, ValueError):
                out.append("cut")
            time.sleep(0.3)

    def storm(self, seed):
        replies, reloads, stop = [], [], threading.Event()
        self.plan.write(PER_MILLION, seed)
        reloader = threading.Thread(target=self.reloads, args=(stop, reloads))
        askers = [threading.Thread(target=self.asker, args=(seed * 100 + i, replies)) for i in range(ASKERS)]
        for thread in [*askers, reloader]:
            thread.start()
        for thread in askers:
            thread.join()
        stop.set()
        reloader.join()
        self.plan.write(0, 0)
        self.assertTrue(self.server.running, "the process ended")
        return replies, reloads

    def test_a_server_whose_allocations_fail_lives_and_loses_nothing(self):
        for seed in SEEDS:
            replies, reloads = self.storm(seed)
            counts = {}
            for reply in replies:
                counts[reply] = counts.get(reply, 0) + 1
            case.say(f"seed {seed}: {self.plan.failed()} allocations failed so far; replies "
                     + ", ".join(f"{what}: {n}" for what, n in sorted(counts.items(), key=str))
                     + f"; reloads {sorted(map(str, set(reloads)))}")
            cut = sum(n for what, n in counts.items() if str(what).startswith("cut"))
            self.assertLess(cut, CUT_MOST * len(replies))
            self.assertEqual(len(replies), ASKERS * REQUESTS)
            self.assertTrue(procs.wait_for(lambda: self.server.status()["inflight"] == 0, 10))
            self.assertTrue(procs.wait_for(
                lambda: self.server.metrics().get("neap_budget_reserved_usd") == 0, 10))
            rss = self.rss_kb() if seed == SEEDS[0] else rss
        self.recovers()
        case.say(f"RSS {self.rss_kb() - rss:+} kB between the first seed and the last")
        if not self.sanitized():  # the sanitizer keeps what was freed
            self.assertLess(self.rss_kb() - rss, RSS_MAY_GROW_KB)

    @staticmethod
    def sanitized():
        with open(procs.NEAP, "rb") as f:
            return b"__asan_init" in f.read()

    def recovers(self):
        """With memory again everything goes as ever."""
        self.policies.put("respond.lua", "return function() return { text = 'again' } end\n")
        self.assertTrue(procs.wait_for(lambda: self.server.reload().status in (200, 304), 10))
        for _ in range(20):
            reply = self.server.ask("hello")
            self.assertEqual((reply.status, reply.json()["text"]), (200, "again"))
        self.assertGreater(self.plan.failed(), 100)


if __name__ == "__main__":
    case.main()
