"""Workers, reloads, scrapes, clients that leave and providers that fail, all at once, for the
ThreadSanitizer: it must find no race.

ctest: timeout 120"""

import random
import signal
import threading
import time

import case
import policies as sets
import procs
import stub
import wire

SECONDS = 12


class Races(case.Case):
    scenario = False

    def test_workers_and_reloads_under_load_have_no_race(self):
        provider = stub.Stub(self.handle)
        self.addCleanup(provider.stop)
        files = self.policies_of(provider)
        server = procs.Serve(files, env={"KEY_A": "a", "KEY_B": "b"}, workers=3)
        self.addCleanup(server.stop)
        self.started = [server, provider]
        self.server, self.files = server, files
        self.counts, self.faults, self.stop = {}, [], threading.Event()
        jobs = [self.ask] * 4 + [self.leave, self.reload, self.scrape, self.hang_up]
        threads = [threading.Thread(target=self.repeat, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        self.stop.set()
        for thread in threads:
            thread.join()
        case.say(", ".join(f"{name} {n}" for name, n in sorted(self.counts.items())))
        self.assertEqual(self.faults, [])
        self.assertGreater(self.counts["ask"], 20)
        self.assertGreater(self.counts["reload"], 5)
        budgets = server.admin("GET", "/api/budgets").json()["budgets"]
        left = procs.wait_for(lambda: server.status()["inflight"] == 0, 5)
        self.assertTrue(left)
        self.assertTrue(budgets)

    @staticmethod
    def handle(call):
        chance = random.random()
        if chance < 0.05:
            return stub.reply({"error": {"message": "x", "type": "y"}}, 500)
        if chance < 0.08:
            return stub.reply({"error": {"message": "x", "type": "y"}}, 429, [("Retry-After", "1")])
        if chance < 0.10:
            return stub.Stub.RESET
        if chance < 0.12:
            time.sleep(0.3)
        return stub.reply(stub.openai("answer"))

    @staticmethod
    def policies_of(provider):
        files = sets.Policies(provider.url)
        breaker = {"failures": 5, "rate": 0.5, "min_calls": 10, "open_ms": 200}
        files.provider("p", breaker=breaker, max_inflight=50,
                       api_keys=[sets.env("KEY_A"), sets.env("KEY_B")])
        files.provider("q", breaker=breaker)
        files.model("m", "p")
        files.model("n", "q")
        files.endpoint("assistant", ["m", "n"], deadline_ms=3000)
        files.budgets = [{"account": a, "window": "minute", "limit_usd": 100}
                         for a in ("global", "tenant", "model:m")]
        files.hook("admit", '(req) shared.incr("n", 1) req.tags = { n = shared.get("n") }')
        files.hook("route", '(req) local _ = stats.p95("m"), breaker.state("m") return { "m", "n" }')
        return files

    # -- what goes on at once

    def repeat(self, job):
        while not self.stop.is_set():
            try:
                job()
                self.counts[job.__name__] = self.counts.get(job.__name__, 0) + 1
            except (OSError, wire.Cut, AssertionError, ValueError) as fault:
                self.faults.append(f"{job.__name__}: {fault!r}")
                time.sleep(0.1)

    def ask(self):
        with self.server.conn() as conn:
            for _ in range(10):
                self.assertEqual(conn.ask(body={"prompt": "hello"}).status, 200)

    def leave(self):
        conn = self.server.conn()
        conn.send(wire.request(body={"prompt": "hello"}))
        time.sleep(random.random() * 0.01)
        conn.close()

    def hang_up(self):
        conn = self.server.conn()
        conn.send(wire.request(body={"prompt": "hello"})[: random.randrange(1, 150)])
        conn.reset()
        time.sleep(0.01)

    def reload(self):
        word = random.randrange(10**6)
        bad = word % 4 == 0
        self.files.put("respond.lua", "return function(" if bad else
                       f'return function() return {{ text = "{word}" }} end\n')
        self.assertEqual(self.server.reload().status, 422 if bad else 200)
        if word % 5 == 0:
            self.server.admin("POST", "/api/policies/rollback")
        if word % 7 == 0:
            self.server.signal(signal.SIGHUP)
        if word % 11 == 0:
            self.server.signal(signal.SIGUSR1)

    def scrape(self):
        for path in ("/metrics", "/api/status", "/api/breakers", "/api/budgets", "/api/policies"):
            self.assertEqual(self.server.admin("GET", path).status, 200)
        time.sleep(0.05)


if __name__ == "__main__":
    case.main()
