"""The Grafana dashboard and Prometheus' rules of examples/monitoring, against a running neap: each name and
label in them is one that neap has, and a real Prometheus finds something for every panel."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.parse

import case
import procs
import wire

FOLDER = os.path.join(procs.SOURCE, "examples", "monitoring")
WORDS = set(
    "by on without ignoring group_left group_right and or unless bool offset inf nan le "
    "sum max min avg count quantile rate increase changes histogram_quantile label_replace".split()
)
# The labels that a scrape adds, and those of alerts about scraping.
SCRAPED = {"job", "instance"}
QUICK = {"first_ms": 1, "total_ms": 2}


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return f.read()


def dashboard():
    return json.loads(read("neap-dashboard.json"))


def panels():
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def rules():
    """[(name of what is recorded or None, expression)] of the rules' file, which has one style."""
    found, record = [], None
    for match in re.finditer(r"^ +- (record|alert): (\S+)$|^ +expr: (?:\|\n((?: {10}.*\n)+)|(.*)$)", read("neap.rules.yml"), re.M):
        if match.group(1):
            record = match.group(2) if match.group(1) == "record" else None
        else:
            found.append((record, match.group(3) or match.group(4)))
    return found


def expressions():
    """(where, expression) of everything that is asked of Prometheus."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for note in dashboard()["annotations"]["list"]:
        yield note["name"], note["expr"]
    for record, expr in rules():
        yield record or "an alert", expr


def names(expr):
    """[(metric, {label: (operator, value)})] of an expression."""
    expr = re.sub(r"\b(by|on|without|ignoring|group_left|group_right) *\([^)]*\)", " ", expr)
    text = re.compile(r'"(?:[^"\\]|\\.)*"')
    out = []
    for match in re.finditer(r'([a-zA-Z_:][\w:]*)(\s*\()?(?:\{([^}]*)\})?|"(?:[^"\\]|\\.)*"|\[[^]]*\]|[\d.]+\w*', expr):
        word, call, labels = match.group(1), match.group(2), match.group(3)
        if not word or call or word in WORDS:
            continue
        pairs = re.findall(r'(\w+)(=~|!~|!=|=)("(?:[^"\\]|\\.)*")', labels or "")
        out.append((word, {key: (op, text.match(value).group()[1:-1]) for key, op, value in pairs}))
    return out


class Prometheus(procs.Process):
    """A real one, that scrapes a server every second with the rules loaded."""

    name = "prometheus"

    def __init__(self, target):
        super().__init__()
        self.port = wire.free_port()
        with open(self.path("rules.yml"), "w", encoding="utf-8") as f:
            f.write(re.sub(r"^    interval: .*\n", "", read("neap.rules.yml"), flags=re.M))
        with open(self.path("prometheus.yml"), "w", encoding="utf-8") as f:
            f.write(
                "global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }\n"
                "rule_files: [rules.yml]\n"
                "scrape_configs:\n  - job_name: neap\n"
                f"    static_configs: [{{ targets: ['127.0.0.1:{target}'] }}]\n"
            )
        with open(self.path("stderr"), "wb") as out:
            self.process = subprocess.Popen(
                [shutil.which("prometheus"), f"--config.file={self.path('prometheus.yml')}"]
                + [f"--storage.tsdb.path={self.path('data')}", f"--web.listen-address=127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        if not procs.wait_for(self.ready, 60, 0.1):
            self.process.kill()
            self.process.wait()
            raise procs.Failed(f"prometheus did not start\n{self.tail()}")

    def ready(self):
        try:
            return wire.ask(self.port, "GET", "/-/ready").status == 200
        except (OSError, wire.Cut):
            return False

    def get(self, path, **query):
        text = "?" + urllib.parse.urlencode(query) if query else ""
        reply = wire.ask(self.port, "GET", f"/api/v1/{path}{text}", timeout=30)
        got = reply.json()
        if got["status"] != "success":
            raise procs.Failed(f"prometheus refuses {query}: {got.get('error')}")
        return got["data"]

    def query(self, expr):
        return self.get("query", query=expr)["result"]

    def stop(self):
        if self.running:
            self.signal(signal.SIGTERM)
        self.wait(30)
        self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)


class Monitoring(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p", breaker={"failures": 4, "open_ms": 600000})
        policies.provider("q")
        policies.model("m", "p")
        policies.model("free", "q", usd_per_million=None)
        policies.model("n", "q", usd_per_million={"input": 1000, "output": 2000})
        slo = {"p95_ms": 2500, "error_rate": 0.01, "degraded_rate": 0.05, "cost_usd": 0.01}
        policies.endpoint("assistant", ["n"], slo=slo)
        policies.endpoint("broken", ["m"], slo=slo, deadline_ms=20000)
        policies.endpoint("free", ["free"], slo=slo)
        policies.budgets = [{"account": "global", "window": "day", "limit_usd": 50}]
        policies.alerts = {"reload": True, "breaker": True}
        policies.hook("admit", "(req)\n  if req.metadata and req.metadata.bad then error('bad') end")

    def test_the_dashboard_can_be_imported(self):
        given = dashboard()
        self.assertEqual(given["templating"]["list"][0]["type"], "datasource")
        self.assertEqual(given["templating"]["list"][0]["name"], "DS_PROMETHEUS")
        self.assertGreaterEqual(given["schemaVersion"], 36)
        ids = [panel["id"] for panel in given["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        taken = set()
        for panel in given["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, f"{panel['title']} lies on another")
            taken |= cells

    def test_every_panel_says_what_it_shows_in_which_unit_and_asks_the_chosen_source(self):
        titles = [panel["title"] for panel in panels()]
        self.assertEqual(len(titles), len(set(titles)))
        for panel in panels():
            self.assertGreater(len(panel["description"]), 10, panel["title"])
            self.assertRegex(panel["description"], r"[.)]$", panel["title"])
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            self.assertEqual(panel["datasource"]["uid"], "${DS_PROMETHEUS}", panel["title"])
            self.assertTrue(panel["targets"], panel["title"])
            refs = [target["refId"] for target in panel["targets"]]
            self.assertEqual(len(refs), len(set(refs)), panel["title"])
            for target in panel["targets"]:
                self.assertEqual(target["datasource"]["uid"], "${DS_PROMETHEUS}", panel["title"])

    def test_promtool_finds_the_rules_good_and_they_do_what_they_promise(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed")
        for args in (["check", "rules", "neap.rules.yml"], ["test", "rules", "neap.rules.test.yml", "neap.days.test.yml"]):
            done = subprocess.run(["promtool", *args], cwd=FOLDER, capture_output=True, text=True, timeout=100, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_alert_is_tested_to_fire_and_not_to_fire(self):
        tests = read("neap.rules.test.yml") + read("neap.days.test.yml")
        alerts = re.findall(r"- alert: (\w+)", read("neap.rules.yml"))
        self.assertGreater(len(alerts), 15)
        for name in alerts:
            self.assertRegex(tests, rf"alertname: {name}\n +eval_time: \S+\n +exp_alerts:\n")
            self.assertRegex(tests, rf"alertname: {name}, eval_time: \w+, exp_alerts: \[\]")

    # -- against what neap says

    def work(self):
        """Traffic of each kind, so that every family has something to show."""
        ask = self.server.ask
        for _ in range(3):
            self.assertEqual(ask("hello").status, 200)
        with self.server.conn() as conn:
            self.assertEqual(self.server.stream("hello", conn=conn).follow().status, 200)
        ask("hello", "/api/free/reply")
        ask({"prompt": "x", "metadata": {"bad": True}})
        ask("hello", "/nowhere")
        self.mock.control(m={"status": 503, **QUICK})
        for _ in range(3):
            ask("hello", "/api/broken/reply")
        self.mock.control()

    def reject_a_set(self):
        path = os.path.join(self.server.policies.path, "respond.lua")
        with open(path, "w", encoding="utf-8") as f:
            f.write("return function(")
        self.assertEqual(self.server.reload().status, 422)

    def known(self):
        """{metric: [labels of each series]} of a scrape and of what the rules record."""
        out = {"up": [{}]}
        for name, labels, _ in self.server.metrics().samples:
            out.setdefault(name, []).append(labels)
        return out

    def test_every_name_and_label_is_one_that_neap_has(self):
        self.work()
        self.reject_a_set()
        self.assertTrue(procs.wait_for(lambda: self.server.metrics().has("neap_alert_firing"), 25, 0.2))
        self.assertEqual(len(rules()), read("neap.rules.yml").count(" expr: "))
        known, recorded = self.known(), {record for record, _ in rules() if record}
        checked = 0
        for where, expr in expressions():
            for metric, labels in names(expr):
                if metric in recorded:
                    continue
                self.assertTrue(metric in known, f"{where}: there is no {metric}")
                for label, (operator, value) in labels.items():
                    if label in SCRAPED:
                        continue
                    have = {series.get(label) for series in known[metric]}
                    self.assertNotIn(None, have, f"{where}: {metric} has no label {label}")
                    if operator == "=" and metric != "neap_requests_total":
                        self.assertIn(value, have, f"{where}: {metric} has no {label}={value}")
                    checked += 1
        self.assertGreater(checked, 40)
        self.assertGreater(len({m for _, e in expressions() for m, _ in names(e)} - recorded), 40)

    def test_a_prometheus_evaluates_every_rule_and_finds_something_for_every_panel(self):
        if not shutil.which("prometheus"):
            self.skipTest("prometheus is not installed")
        prometheus = self.own(Prometheus(self.server.admin_port))
        self.assertTrue(procs.wait_for(lambda: prometheus.query("neap_build_info"), 20, 0.1))
        self.work()
        self.reject_a_set()
        known = {"$__rate_interval": "30s", "$job": "neap", "$instance": ".+", "$endpoint": ".+"}

        def empty():
            out = []
            for panel in panels():
                for target in panel["targets"]:
                    expr = target["expr"]
                    for name, value in known.items():
                        expr = expr.replace(name, value)
                    if not prometheus.query(expr):
                        out.append((panel["title"], expr))
            return out

        began = time.monotonic()
        left = procs.wait_for(lambda: not empty(), 40, 1) or empty()
        self.assertTrue(left is True, left)
        groups = procs.wait_for(lambda: self.evaluated(prometheus), 20, 0.5)
        self.assertTrue(groups, "not every rule was evaluated")
        for rule in groups:
            self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""), rule["name"])
        case.say(f"{len(panels())} panels, {len(groups)} rules: all there after {time.monotonic() - began:.1f} s")
        firing = {alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"]}
        self.assertIn("NeapReloadRejected", firing)
        self.assertNotIn("NeapDown", firing)

    def evaluated(self, prometheus):
        every = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        return every if all(rule["health"] != "unknown" for rule in every) else None


if __name__ == "__main__":
    case.main()
