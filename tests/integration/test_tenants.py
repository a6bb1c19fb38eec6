"""Tenants: who a key is, what it may use, and how much of it: requests and tokens a minute, calls at
once, over all workers."""

import hashlib
import threading
import time

import case
import procs
import wire

HOURS_AGO, IN_YEARS = "2020-01-01", "2090-01-01"


def key(name):
    return f"key-of-{name}"


def hashed(name):
    return "sha256:" + hashlib.sha256(key(name).encode()).hexdigest()


def room_in_the_minute(seconds=12):
    """Waits for the next minute of the clock when this one is nearly over."""
    left = 60 - time.time() % 60
    if left < seconds:
        time.sleep(left + 0.05)


SLOW = """
return { seed = 7, models = {
  ["*"] = function(call)
    return { text = "this is " .. call.model, first_ms = 1, total_ms = 2,
             usage = { prompt = 100, completion = 50 } }
  end,
  slow = function(call) return { text = "late", first_ms = 1500, total_ms = 1500 } end,
} }
"""


class Tenants(case.Case):
    scenario = SLOW

    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p", context=10000)
        policies.model("slow", "p", context=10000)
        policies.endpoint("assistant", ["m"], max_tokens=200)
        policies.endpoint("late", ["slow"], max_tokens=200)
        names = "open past future off one_path one_model few busy wordy tight seen"
        policies.tenants = {name: {"keys": [hashed(name)]} for name in names.split()}
        policies.tenants["past"]["expires"] = HOURS_AGO
        policies.tenants["future"]["expires"] = IN_YEARS
        policies.tenants["off"]["disabled"] = True
        policies.tenants["one_path"]["endpoints"] = ["/api/late/reply"]
        policies.tenants["one_model"]["models"] = ["slow"]
        policies.tenants["few"]["requests_per_minute"] = 5
        policies.tenants["busy"]["concurrency"] = 3
        policies.tenants["wordy"]["tokens_per_minute"] = 1000
        policies.tenants["tight"]["tokens_per_minute"] = 150
        policies.tenants["seen"].update(requests_per_minute=90, tokens_per_minute=9000)

    def ask(self, name, path=wire.REPLY, body=None, **headers):
        headers = {"Authorization": f"Bearer {key(name)}", **headers}
        return self.server.ask(body or "hello there", path, headers)

    def test_a_key_opens_and_every_other_is_refused_alike(self):
        self.assertEqual(self.ask("open").status, 200)
        self.assertEqual(self.ask("future").status, 200)
        refused = {}
        for name in ("unknown", "past", "off"):
            reply = self.ask(name)
            self.assertError(reply, 401, "unauthorized")
            error = dict(reply.error)
            del error["requestId"]
            refused[name] = error
        self.assertEqual(refused["unknown"], refused["past"])
        self.assertEqual(refused["unknown"], refused["off"])

    def test_paths_and_models_are_only_those_allowed(self):
        refused = self.ask("one_path")
        self.assertError(refused, 403, "forbidden")
        self.assertEqual(self.server.decision(refused)["tenant"], "one_path")
        self.assertError(self.ask("one_model"), 403, "forbidden")

    def test_requests_a_minute_end_with_what_was_exceeded_and_when_it_ends(self):
        room_in_the_minute()
        statuses = [self.ask("few") for _ in range(8)]
        self.assertEqual([r.status for r in statuses], [200] * 5 + [429] * 3)
        error = self.assertError(statuses[-1], 429, "rate_limited")
        self.assertIn("requests_per_minute", error["message"])
        self.assertIn("5", error["message"])
        wait = int(statuses[-1].get("Retry-After"))
        self.assertTrue(1 <= wait <= 60, wait)
        self.assertAlmostEqual(wait, 60 - time.time() % 60, delta=2)
        record = self.server.decision(statuses[-1])
        self.assertEqual(record["outcome"], "rate_limited")
        self.assertEqual(self.ask("open").status, 200)

    def test_operators_see_what_is_used_of_each_limit(self):
        room_in_the_minute()
        for _ in range(2):
            self.assertEqual(self.ask("open").status, 200)
            self.assertEqual(self.ask("seen").status, 200)
        rows = self.server.admin("GET", "/api/budgets").json()["tenants"]
        rows = {row.pop("tenant"): row for row in rows}
        self.assertEqual(set(rows), {"few", "busy", "wordy", "tight", "seen"})
        self.assertEqual(rows["busy"], {"concurrency": {"limit": 3, "used": 0}})
        self.assertEqual(rows["few"]["requestsPerMinute"]["limit"], 5)
        self.assertEqual(rows["seen"]["requestsPerMinute"], {"limit": 90, "used": 2})
        tokens = rows["seen"]["tokensPerMinute"]
        self.assertEqual(tokens["limit"], 9000)
        self.assertGreater(tokens["used"], 0)

    def test_calls_at_once_are_bounded_and_a_place_is_free_again_at_its_end(self):
        replies = []
        threads = [
            threading.Thread(target=lambda: replies.append(self.ask("busy", "/api/late/reply")))
            for _ in range(9)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(sorted(r.status for r in replies), [200] * 3 + [429] * 6)
        refused = next(r for r in replies if r.status == 429)
        error = self.assertError(refused, 429, "rate_limited")
        self.assertIn("concurrency", error["message"])
        self.assertEqual(refused.get("Retry-After"), "1")
        self.assertEqual(self.ask("busy").status, 200)

    def test_a_place_is_free_again_when_a_client_leaves(self):
        for _ in range(3):
            conn = self.server.conn()
            conn.send(
                wire.request(
                    path="/api/late/reply",
                    body={"prompt": "x"},
                    headers={"Authorization": f"Bearer {key('busy')}"},
                )
            )
            time.sleep(0.1)
            conn.reset()
        self.assertTrue(procs.wait_for(lambda: self.ask("busy").status == 200))

    def test_tokens_a_minute_count_what_was_used(self):
        room_in_the_minute()
        # Each takes 150 as reported, and may take about 210: the fifth still finds room.
        replies = [self.ask("wordy") for _ in range(8)]
        good = [r.status for r in replies].count(200)
        self.assertEqual([r.status for r in replies], [200] * good + [429] * (8 - good))
        self.assertTrue(5 <= good <= 6, good)
        error = self.assertError(replies[-1], 429, "rate_limited")
        self.assertIn("tokens_per_minute", error["message"])
        self.assertTrue(1 <= int(replies[-1].get("Retry-After")) <= 60)

    def test_an_answer_is_shortened_to_what_a_minute_holds(self):
        room_in_the_minute()
        reply = self.ask("tight")
        self.assertEqual(reply.status, 200, reply)
        error = self.assertError(
            self.ask("tight", body={"prompt": "word " * 500}), 429, "rate_limited"
        )
        self.assertIn("more than the 150 of a whole minute", error["message"])

    def test_limits_change_with_a_reload_and_nobody_is_dropped(self):
        room_in_the_minute(20)
        results, stop = [], threading.Event()

        def client():
            while not stop.is_set():
                results.append(self.ask("open").status)

        thread = threading.Thread(target=client)
        thread.start()
        try:
            self.policies.tenants["fresh"] = {"keys": [hashed("fresh")]}
            self.policies.tenants["future"]["requests_per_minute"] = 1
            self.policies.write()
            self.assertEqual(self.server.reload().status, 200)
            self.assertEqual(self.ask("fresh").status, 200)
            self.assertIn(429, [self.ask("future").status for _ in range(2)])
        finally:
            del self.policies.tenants["fresh"]
            self.policies.tenants["future"].pop("requests_per_minute", None)
            self.policies.write()
            self.assertEqual(self.server.reload().status, 200)
            self.assertError(self.ask("fresh"), 401, "unauthorized")
            stop.set()
            thread.join()
        self.assertGreater(len(results), 5)
        self.assertEqual(set(results), {200})


if __name__ == "__main__":
    case.main()
