"""The dashboard in a real browser: it shows what /metrics and /api say, stays up to date under load, and does
what its buttons say."""

# ctest: timeout 400

import hashlib
import threading
import time

import board
import browser
import case
import procs
import wire
from policies import Policies

KEYS = {"acme": "key-of-acme", "globex": "key-of-globex"}


class Dashboard(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.provider("q", breaker={"failures": 2, "rate": 0, "open_ms": 600000})
        policies.model("cheap", "p", usd_per_million={"input": 100, "output": 200})
        policies.model("dear", "p", usd_per_million={"input": 5000, "output": 9000})
        policies.model("broken", "q")
        policies.endpoint("assistant", ["cheap"], slo={"p95_ms": 5000, "error_rate": 0.01, "cost_usd": 1})
        policies.endpoint("falls", ["broken", "dear"])
        policies.endpoint("gone", ["broken"])
        policies.hook("route", '(req) return nil, "as it stands"')
        policies.tenants = {
            name: {"keys": ["sha256:" + hashlib.sha256(key.encode()).hexdigest()], "requests_per_minute": 100000}
            for name, key in KEYS.items()
        }
        policies.budgets = [
            {"account": "global", "window": "day", "limit_usd": 50},
            {"account": "tenant", "window": "day", "limit_usd": 7},
        ]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mock.control(broken={"status": 500, "first_ms": 1, "total_ms": 1})
        cls.browser = browser.Browser()
        case.say(browser.version())
        for _ in range(12):
            cls.last = cls.ask("acme")
        cls.fallen = cls.ask("globex", "/api/falls/reply")
        for _ in range(2):
            cls.gone = cls.ask("globex", "/api/gone/reply")
        cls.refused = cls.ask("acme", prompt=5)
        cls.server.decision(cls.gone)

    @classmethod
    def tearDownClass(cls):
        cls.browser.stop()
        super().tearDownClass()

    @classmethod
    def ask(cls, tenant, path=wire.REPLY, prompt="How do I reset my VPN token?"):
        return cls.server.ask({"prompt": prompt}, path, {"Authorization": f"Bearer {KEYS[tenant]}"})

    def open(self, where="", **look):
        shown = board.Board(self.browser, self.server.admin_port, where, **look)
        self.addCleanup(shown.close)
        return shown

    def assertQuiet(self, shown):
        self.assertEqual(shown.page.console, [])
        foreign = [url for url in shown.page.requests if not url.startswith((shown.url, "data:", "about:"))]
        self.assertEqual(foreign, [])

    # -- the figures

    def test_requests_over_time_add_up_to_the_counters(self):
        def counted():
            series = self.server.admin("GET", "/api/series").json()
            metrics = self.server.metrics()
            sums = {e["path"]: sum(e["requests"]) for e in series["endpoints"]}
            have = {path: metrics.get("neap_requests_total", endpoint=path) for path in self.policies.endpoints}
            return sums == have and sum(series["all"]["requests"]) == sum(have.values()) and (series, metrics)

        found = procs.wait_for(counted, 15, 0.5)
        self.assertTrue(found, self.server.admin("GET", "/api/series").json())
        series, metrics = found
        degraded = sum(series["all"]["degraded"])
        self.assertEqual(degraded, metrics.get("neap_requests_total", degraded="true"))
        self.assertEqual(sum(series["all"]["clientErrors"]), metrics.get("neap_requests_total", status=400))
        self.assertAlmostEqual(sum(series["all"]["costUsd"]), metrics.get("llm_cost_usd_total"), 9)
        p95 = [ms for ms in series["all"]["p95Ms"] if ms is not None]
        self.assertGreater(min(p95), 0)

    def test_the_page_shows_what_the_api_says(self):
        shown = self.open()
        metrics = self.server.metrics()
        shown.page.until(
            lambda: {row["model"]: int(row["calls"]) for row in shown.table("Spend by model") or []}
            == {m: metrics.get("llm_attempts_total", model=m) for m in ("cheap", "dear", "broken")},
            "the calls of each model",
        )
        for row in shown.table("Spend by model"):
            cost = metrics.get("llm_cost_usd_total", model=row["model"])
            self.assertAlmostEqual(float(row["spent"].strip("$")), cost, 2)
        tenants = {row["tenant"]: float(row["spent"].strip("$")) for row in shown.rows("Spend by tenant", 2)}
        self.assertEqual(set(tenants), set(KEYS))
        self.assertAlmostEqual(sum(tenants.values()), metrics.get("llm_cost_usd_total"), 1)
        budgets = {row["account"]: row for row in shown.rows("Budgets", 3)}
        for account in self.server.admin("GET", "/api/budgets").json()["budgets"]:
            row = budgets[account["account"]]
            share = account["spentUsd"] / account["limitUsd"] * 100
            self.assertAlmostEqual(float(row["spent"].split()[0].strip("<")), share, 1)
            self.assertIn(f"of ${account['limitUsd']:.2f}", row["of the limit"])
        states = {row["model"]: row["breaker"] for row in shown.rows("Providers, models and their breakers", 3)}
        self.assertEqual(states["cheap"], "● closed")
        self.assertRegex(states["broken"], r"^■ open, \d+ min")
        self.assertEqual(shown.tile("Breakers"), "■ 1 open")
        goals = shown.rows("Endpoints against their objectives", 5)
        self.assertEqual([row["objective"] for row in goals if row["endpoint"] == wire.REPLY], ["p95", "errors", "mean cost"])
        self.assertEqual(goals[0]["at most"], "5,000 ms")
        rows = shown.rows("Generations of the policy set")
        running = [row["version"] for row in rows if row["state"] == "● running"]
        self.assertEqual(running, [self.server.status()["policy"]])
        newest = shown.rows("Newest requests", 5)
        rows = self.server.admin("GET", "/api/requests?limit=10").json()["requests"]
        self.assertEqual([row["request"] for row in newest], [row["requestId"] for row in rows])
        self.assertQuiet(shown)

    # -- live, under load

    def test_under_load_it_loads_and_its_figures_follow_without_a_reload(self):
        over = threading.Event()
        asked = []

        def load(tenant):
            while not over.is_set():
                asked.append(self.ask(tenant).status)
                over.wait(0.02)

        threads = [threading.Thread(target=load, args=(tenant,)) for tenant in ("acme", "globex") for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            began = time.monotonic()
            shown = self.open()
            shown.rows("Newest requests", 10)
            case.say(f"drawn under load after {time.monotonic() - began:.1f} s")
            first = {row["request"] for row in shown.table("Newest requests")}
            shown.page.until(lambda: not first & {r["request"] for r in shown.table("Newest requests")}, "newer requests")
            before, at = len(asked), time.monotonic()
            time.sleep(11)
            rate = (len(asked) - before) / (time.monotonic() - at)
            steps = self.server.admin("GET", "/api/series").json()["all"]["requests"][-2:]
            latest = shown.page.run("document.querySelector('.chart .entry b').textContent")
            case.say(f"asked {rate:.1f}/s, the series {steps[-1] / 5:.1f}/s, the page {latest}")
            self.assertGreater(float(latest.removesuffix("/s").replace(",", "")), 0.3 * rate)
            self.assertLess(float(latest.removesuffix("/s").replace(",", "")), 3 * rate)
            self.assertEqual(shown.page.loaded, 1)
            self.assertEqual(set(asked), {200})
            self.assertQuiet(shown)
        finally:
            over.set()
            for thread in threads:
                thread.join()

    # -- requests

    def test_a_request_has_a_page_with_its_attempts_and_what_explain_says(self):
        shown = self.open(f"#/requests/{self.fallen.get('X-Request-Id')}")
        record = self.server.decision(self.fallen)
        shown.page.until("document.querySelectorAll('.step').length > 0", "the attempts")
        steps = shown.page.run("[...document.querySelectorAll('.step')].map(s => s.innerText)")
        self.assertEqual(len(steps), len(record["attempts"]))
        for step, attempt in zip(steps, record["attempts"]):
            self.assertIn(attempt["model"], step)
            self.assertIn(attempt["class"], step)
        bars = shown.page.run(
            "[...document.querySelectorAll('.step')].map(s => parseFloat(s.querySelector('.track span').style.left))"
        )
        self.assertEqual(bars, sorted(bars))
        # Each form that a bar has is told below.
        forms = "[...new Set([...document.querySelectorAll('%s')].map(e => getComputedStyle(e).backgroundImage))]"
        drawn = shown.page.run(forms % ".track span.wait")
        self.assertEqual(len(drawn), 2)  # an answer, and one that failed
        self.assertEqual(set(drawn) - set(shown.page.run(forms % ".legend-line .key")), set())
        admin = f"http://127.0.0.1:{self.server.admin_port}"
        told = procs.run("explain", "--admin", admin, record["requestId"])[1]
        shown.page.until(lambda: shown.page.run("document.querySelector('pre').textContent").strip() == told.strip(), told)
        self.assertQuiet(shown)

    def test_a_request_that_called_nobody_says_why(self):
        told = {
            self.gone.get("X-Request-Id"): "passed over: its breaker is open",
            self.refused.get("X-Request-Id"): "No provider was called",
        }
        for number, words in told.items():
            shown = self.open(f"#/requests/{number}")
            shown.until_text(words)
            self.assertQuiet(shown)

    def test_the_list_is_filtered_as_asked_and_an_id_is_found_by_its_beginning(self):
        shown = self.open("#/requests")
        shown.rows("Requests", 10)
        shown.choose("Outcome", "degraded")
        shown.page.until("location.hash === '#/requests?outcome=degraded'")
        shown.page.until(
            lambda: {row["outcome"].split(",")[0] for row in shown.table("Requests") or []} == {"▲ degraded 200"},
            "degraded ones alone",
        )
        wanted = self.fallen.get("X-Request-Id")
        shown.fill("input[name=id]", wanted[:-1])
        shown.page.key("Enter")
        shown.until_text(wanted)
        shown.page.until("document.querySelectorAll('.step').length > 0", "its attempts")
        shown.go("#/requests/req_that_is_not_there")
        shown.until_text("no such request is kept in memory")

    # -- policies

    def test_reload_and_rollback_do_what_they_say(self):
        shown = self.open()
        old = self.server.status()["policy"]
        shown.rows("Generations of the policy set")
        self.policies.hook("route", '(req) return nil, "another way"')
        self.policies.hook("admit", '(req) return nil end end')
        self.policies.write()
        shown.press("Reload")
        shown.page.until("document.querySelector('dialog').open")
        shown.page.run("document.querySelector('dialog button.main').focus()")
        shown.page.key("Enter")
        shown.until_text("was rejected; what ran before runs on")
        shown.until_text("admit.lua:1:")
        self.assertEqual(self.server.status()["policy"], old)
        self.policies.hook("admit", "(req) return nil")
        self.policies.write()
        shown.press("Reload")
        shown.page.run("document.querySelector('dialog button.main').click()")
        new = procs.wait_for(lambda: (v := self.server.status()["policy"]) != old and v, 20)
        self.assertTrue(new)
        shown.until_text(f"{new} ")
        shown.press("Roll back")
        shown.until_text(f"The set {old} replaces {new}")
        shown.page.run("document.querySelector('dialog button.main').click()")
        shown.until_text(f"{old} is running again")
        self.assertEqual(self.server.status()["policy"], old)

    def test_a_dialog_that_is_cancelled_changes_nothing(self):
        shown = self.open()
        shown.rows("Generations of the policy set")
        before = len(shown.page.requests)
        shown.press("Reload")
        shown.page.until("document.querySelector('dialog').open")
        shown.page.key("Escape")
        shown.page.until("!document.querySelector('dialog').open")
        posts = [url for url in shown.page.requests[before:] if "/policies/re" in url]
        self.assertEqual(posts, [])

    def test_long_tables_show_their_first_rows_until_all_are_wanted(self):
        many = Policies()
        many.url = self.mock.url
        many.provider("p")
        for i in range(30):
            many.model(f"m{i}", "p")
        many.endpoint("assistant", ["m0"])
        server = self.own(self.serve(many))
        shown = board.Board(self.browser, server.admin_port)
        self.addCleanup(shown.close)
        caption = "Providers, models and their breakers"
        self.assertEqual(len(shown.rows(caption, 20)), 20)
        shown.press("Show all 30")
        self.assertEqual(len(shown.rows(caption, 30)), 30)
        shown.press("Show the first 20")
        shown.page.until(lambda: len(shown.table(caption)) == 20, "20 rows again")

    def test_many_alerts_leave_room_for_the_rest_of_the_page(self):
        many = Policies()
        many.url = self.mock.url
        many.provider("p")
        many.model("m", "p")
        many.endpoint("assistant", ["m"])
        alarms = "for i = 1, 30 do list[i] = { alert = 'many', subject = 'n' .. i, severity = 'info', text = 'x' } end"
        many.hook("alert", f"(stats)\n  local list = {{}}\n  {alarms}\n  return list")
        server = self.own(self.serve(many))
        shown = board.Board(self.browser, server.admin_port)
        self.addCleanup(shown.close)
        caption = "Alerts that are firing"
        self.assertEqual(len(shown.rows(caption)), 8)
        shown.press("Show all 30")
        self.assertEqual(len(shown.rows(caption, 30)), 30)

    def test_ages_are_right_where_the_clock_of_the_browser_is_not(self):
        shown = self.open()
        late = "{ const real = Date.now; Date.now = () => real() + 7200000; }"
        shown.page.call("Page.addScriptToEvaluateOnNewDocument", source=late)
        shown.page.call("Page.reload")
        shown.page.until("document.querySelector('.facts-line')", "the head")
        shown.page.until("/up \\d/.test(document.querySelector('.facts-line').textContent)", "its age")
        self.assertRegex(shown.page.run("document.querySelector('.facts-line').textContent"), r"up \d+ (s|min)")

    # -- how it looks and is used

    def test_nothing_is_wider_than_a_phone(self):
        for where in ("", "#/requests", f"#/requests/{self.fallen.get('X-Request-Id')}"):
            shown = self.open(where, width=360, height=740)
            shown.page.until("document.querySelectorAll('.panel').length > 0", where)
            time.sleep(0.5)
            self.assertEqual(shown.page.run("document.scrollingElement.scrollWidth"), 360, where)

    def test_all_of_it_can_be_reached_by_keyboard_and_the_focus_is_seen(self):
        shown = self.open()
        shown.rows("Newest requests", 5)
        shown.page.until("document.querySelectorAll('svg.plot').length === 4", "the charts")
        shown.page.run("document.activeElement.blur(), window.focus()")
        seen, hidden = [], []
        for _ in range(120):
            shown.page.key("Tab")
            name, outline, last = shown.page.run(
                "(e => [e.tagName + ' ' + (e.getAttribute('aria-label') || e.textContent).slice(0, 40),"
                " getComputedStyle(e).outlineStyle !== 'none' || getComputedStyle(e).boxShadow !== 'none',"
                " e === document.body])(document.activeElement)"
            )
            if last:
                break
            seen.append(name)
            if not outline:
                hidden.append(name)
        case.say(f"stops of the keyboard: {len(seen)}")
        self.assertEqual(hidden, [])
        for wanted in ("A Skip to the content", "A Overview", "SELECT ", "BUTTON 24 h", "svg Requests", "BUTTON Reload"):
            self.assertTrue(any(name.startswith(wanted) for name in seen), (wanted, seen))

    def test_charts_are_read_with_the_arrow_keys(self):
        shown = self.open()
        shown.page.until("document.querySelectorAll('svg.plot').length === 4", "the charts")
        shown.page.until("Number(document.querySelector('svg.plot').getAttribute('aria-valuemax')) > 1", "some steps")
        shown.page.run("document.querySelector('svg.plot').focus()")
        value = "document.querySelector('svg.plot').getAttribute('aria-valuetext')"
        shown.page.key("ArrowLeft")
        shown.page.until("document.querySelectorAll('.cursor').length === 4", "the moment in all charts")
        first = shown.page.run(value)
        shown.page.key("ArrowLeft")
        shown.page.until(f"{value} !== {board.quoted(first)}", "the step before")
        self.assertRegex(shown.page.run(value), r"^\d\d:\d\d:\d\d: all \S+, client’s fault \S+$")

    def test_pointing_at_a_chart_shows_the_figures_of_that_moment(self):
        shown = self.open()
        shown.page.until("document.querySelectorAll('svg.plot').length === 4", "the charts")
        shown.page.until("Number(document.querySelector('svg.plot').getAttribute('aria-valuemax')) > 1", "some steps")
        x, y = shown.page.run(
            "(r => [r.right - 12, r.top + 50])(document.querySelector('svg.plot').getBoundingClientRect())"
        )
        shown.page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        shown.page.until("document.querySelectorAll('.cursor').length === 4", "the moment in all charts")
        self.assertRegex(shown.page.text(), r"by 5 s at \d\d:\d\d:\d\d")
        shown.page.call("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
        shown.page.until("document.querySelectorAll('.cursor').length === 0", "the latest again")

    # -- what may go wrong

    def test_when_neap_is_gone_it_says_so_and_comes_back_by_itself(self):
        first = self.own(self.serve(self.policies))
        shown = board.Board(self.browser, first.admin_port)
        self.addCleanup(shown.close)
        shown.rows("Generations of the policy set")
        port = first.admin_port
        first.stop()
        shown.until_text("neap does not answer at 127.0.0.1")
        self.assertIn("What is shown is of", shown.page.text())
        second = self.own(self.serve(self.policies, flags=("--admin", f"127.0.0.1:{port}")))
        self.assertEqual(second.admin_port, port)
        began = time.monotonic()
        shown.page.until(lambda: "neap does not answer" not in shown.page.text(), "neap to be seen again")
        case.say(f"seen again after {time.monotonic() - began:.1f} s")
        self.assertEqual(shown.page.loaded, 1)

    def test_the_token_is_asked_for_and_kept_in_memory_alone(self):
        env = {**self.env, "NEAP_ADMIN_TOKEN": "a-token-of-the-operators"}
        server = self.own(self.serve(self.policies, env=env))
        shown = board.Board(self.browser, server.admin_port)
        self.addCleanup(shown.close)
        shown.page.until("document.querySelector('dialog').open", "the question for the token")
        self.assertEqual([url for url in shown.page.requests if "/api/" in url], [])
        self.assertQuiet(shown)
        shown.fill("input[name=token]", "another")
        shown.page.key("Enter")
        shown.until_text("neap does not take this token")
        shown.fill("input[name=token]", "a-token-of-the-operators")
        shown.page.key("Enter")
        shown.rows("Generations of the policy set")
        self.assertFalse(shown.page.run("document.querySelector('dialog').open"))
        kept = shown.page.run(
            "(async () => JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}, location.href,"
            " document.documentElement.outerHTML, (await indexedDB.databases()).length, (await caches.keys()).length]))()"
        )
        self.assertNotIn("a-token-of-the-operators", kept)
        self.assertFalse([url for url in shown.page.requests if "a-token" in url])


if __name__ == "__main__":
    case.main()
