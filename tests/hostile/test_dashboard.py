"""The dashboard under attack and under a magnifying glass: markup as tenant, model, provider, error and everything
else stays text; the headers hold a browser to that; contrast, names and sizes are as WCAG 2.2 AA wants them."""

# ctest: timeout 400

import hashlib
import http.server
import json
import threading
import urllib.request

import board
import browser
import case
import procs
import wire

MARKUP = '<img src=x onerror="window.pwned=1"><script>window.pwned=2</script><svg onload=pwned=3>"\'`${7*7}&lt;'
KEY = "key-of-whoever"
# Of what the page reads as times and sums the kind stays.
KEPT = {"at", "since", "startedAt", "resetsAt", "loadedAt", "resolvedAt", "from", "until", "day"}
POLICY = {
    "default-src": {"'none'"},
    "script-src": {"'self'"},
    "style-src": {"'self'"},
    "img-src": {"'self'"},
    "connect-src": {"'self'"},
    "frame-ancestors": {"'none'"},
    "base-uri": {"'none'"},
    "form-action": {"'none'"},
    "require-trusted-types-for": {"'script'"},
    "trusted-types": {"'none'"},
}

# Every text that can be seen, with its contrast to what is behind it; worst first.
CONTRAST = """
(() => {
  const parse = (text) => {
    const m = text.match(/[\\d.]+/g).map(Number);
    return { rgb: m.slice(0, 3), a: m.length > 3 ? m[3] : 1 };
  };
  const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2]);
  const over = (top, a, below) => top.map((v, i) => v * a + below[i] * (1 - a));
  const behind = (e) => {
    const layers = [];
    for (let n = e; n && (layers.length === 0 || layers[layers.length - 1].a < 1); n = n.parentElement) {
      layers.push(parse(getComputedStyle(n).backgroundColor));
    }
    return layers.reverse().reduce((below, c) => over(c.rgb, c.a, below), [255, 255, 255]);
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const out = [];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.checkVisibility() || e.closest('.unseen, .skip, [disabled], noscript')) continue;
    const style = getComputedStyle(e);
    const svg = e.namespaceURI.endsWith('svg');
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (own && style.color !== 'rgba(0, 0, 0, 0)') {
      const color = parse(svg ? style.fill : style.color);
      if (color.a === 0) continue;
      const size = parseFloat(style.fontSize);
      const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
      const ground = behind(svg ? e.ownerSVGElement.parentElement : e);
      out.push({ what: e.textContent.slice(0, 30), ratio: ratio(over(color.rgb, color.a, ground), ground), least });
    }
    const line = svg && /\\bline\\b/.test(e.getAttribute('class') || '');
    if (line || e.matches('input, select, .bar > span:not(.held), .track > span:not(.wait)')) {
      const ground = behind(e.parentElement.closest('.panel, main, body') || document.body);
      const edge = e.matches('input, select') ? style.borderTopColor : style.backgroundColor;
      const color = parse(svg ? style.stroke : edge);
      const what = e.className.baseVal || e.className || e.tagName;
      if (color.a > 0) out.push({ what, ratio: ratio(color.rgb, ground), least: 3 });
    }
  }
  return out.sort((a, b) => a.ratio / a.least - b.ratio / b.least);
})()
"""

SIZES = """
[...document.querySelectorAll('button, select, input, summary, nav a, .tools a')].filter((e) => e.checkVisibility())
  .map((e) => [e.textContent.slice(0, 20) || e.name, e.getBoundingClientRect()])
  .filter(([, r]) => r.width < 24 || r.height < 24)
  .map(([name, r]) => `${name} ${r.width}x${r.height}`)
"""


def marked(value, key=None):
    """The same with markup before every text."""
    if isinstance(value, dict):
        return {(MARKUP + name if key == "hooks" else name): marked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [marked(item, key if key != "hooks" else None) for item in value]
    return MARKUP + value if isinstance(value, str) and key not in KEPT else value


def described(node):
    """Role, name and properties of a node of the accessibility tree."""
    properties = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
    return node["role"]["value"], node.get("name", {}).get("value", ""), properties


class Liar(http.server.BaseHTTPRequestHandler):
    """Passes on what a neap says, with markup in every text of it."""

    admin_port = 0

    def do_GET(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{self.path}") as reply:
            body, headers = reply.read(), reply.getheaders()
        if self.path.startswith("/api/"):
            text = self.path.endswith("/explain")
            body = MARKUP.encode() + body if text else json.dumps(marked(json.loads(body))).encode()
        self.send_response(200)
        for name, value in headers:
            if name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Scan(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p", breaker={"failures": 2, "rate": 0, "open_ms": 600000})
        policies.provider("q")
        policies.model("broken", "p")
        policies.model("m", "q", usd_per_million={"input": 1000, "output": 1000})
        slo = {"p95_ms": 1, "error_rate": 0.01, "degraded_rate": 0.05, "cost_usd": 0.01}
        policies.endpoint("assistant", ["m"], slo=slo)
        policies.endpoint("falls", ["broken", "m"])
        policies.endpoint("gone", ["broken"], slo={"p95_ms": 5000, "degraded_rate": 0.01})
        policies.hook("route", f"(req) return nil, {json.dumps(MARKUP)}")
        said = MARKUP.replace('"', "'")
        policies.hook("admit", f'(req) if req.metadata and req.metadata.err then error("{said}") end')
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        policies.tenants = {"acme": {"keys": [f"sha256:{digest}"], "requests_per_minute": 1000}}
        policies.budgets = [
            {"account": "global", "window": "day", "limit_usd": 50},
            {"account": "tenant", "window": "day", "limit_usd": 0.3},
            {"account": "model:m", "window": "hour", "limit_usd": 1},
        ]
        policies.alerts = {"budget": [0.1, 1.0], "breaker": True, "burn": True, "reload": True}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mock.control(broken={"status": 500, "error": {"message": MARKUP}, "first_ms": 1, "total_ms": 1})
        for path in ("/api/falls/reply", "/api/gone/reply", "/api/gone/reply", wire.REPLY, wire.REPLY):
            cls.last = cls.ask(path)
            cls.first = getattr(cls, "first", cls.last)
        cls.ask(wire.REPLY, metadata={"err": True})
        cls.ask(wire.REPLY, prompt=MARKUP * 30, model=MARKUP)
        cls.server.decision(cls.last)
        Liar.admin_port = cls.server.admin_port
        cls.liar = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
        threading.Thread(target=cls.liar.serve_forever, daemon=True).start()
        cls.browser = browser.Browser()
        # A set that is rejected, so that there is an error to be shown.
        good = cls.policies.files["route.lua"]
        cls.policies.hook("route", "(req) return nil end end")
        cls.policies.write()
        cls.server.reload()
        cls.policies.files["route.lua"] = good
        procs.wait_for(lambda: cls.server.admin("GET", "/api/alerts").json()["alerts"], 15)

    @classmethod
    def tearDownClass(cls):
        cls.browser.stop()
        cls.liar.shutdown()
        cls.liar.server_close()
        super().tearDownClass()

    @classmethod
    def ask(cls, path, prompt="hi", **fields):
        return cls.server.ask({"prompt": prompt, **fields}, path, {"Authorization": f"Bearer {KEY}"})

    def open(self, where="", port=None, **look):
        shown = board.Board(self.browser, port or self.server.admin_port, where, **look)
        self.addCleanup(shown.close)
        return shown

    def pages(self):
        return ("", "#/requests", f"#/requests/{self.first.get('X-Request-Id')}")

    def drawn(self, shown):
        """Waits until the whole page is there."""
        charts = "document.querySelectorAll('svg.plot').length === 4 && document.querySelector('.tiles') && "
        overview = "#" not in shown.page.run("location.href")
        ready = charts + "document.querySelectorAll('tbody tr').length > 15" if overview else (
            "document.querySelector('pre, tbody tr') &&"
            " !document.querySelector('main').innerText.includes('Asking')"
        )
        shown.page.until(f"Boolean({ready})", "all of the page")

    # -- markup

    def assertInert(self, shown):
        self.assertEqual(shown.page.run("window.pwned || 0"), 0)
        strange = shown.page.run(
            "[...document.querySelectorAll('body script, iframe, object, embed, body style, base, body link, body img,"
            " main form[action], [onerror], [onload], [onclick]')].map(e => e.outerHTML.slice(0, 80))"
        )
        self.assertEqual([e for e in strange if 'src="/dashboard/favicon.svg"' not in e], [])
        links = shown.page.run("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
        self.assertEqual([link for link in links if not link.startswith("#")], [])
        self.assertEqual(shown.page.console, [])
        foreign = [url for url in shown.page.requests if not url.startswith(shown.url)]
        self.assertEqual(foreign, [])

    def test_markup_in_every_text_that_the_api_says_stays_text(self):
        texts = 0
        for where in self.pages():
            shown = self.open(where, self.liar.server_address[1])
            self.drawn(shown)
            self.assertInert(shown)
            seen = shown.page.run("document.querySelector('main').textContent").count(MARKUP)
            self.assertGreater(seen, 5, where)
            texts += seen
        case.say(f"texts with markup on 3 pages: {texts}, scripts run: 0")

    def test_markup_from_providers_hooks_and_clients_stays_text(self):
        shown = self.open(f"#/requests/{self.first.get('X-Request-Id')}")
        self.drawn(shown)
        shown.page.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
        self.assertIn(MARKUP, shown.page.run("document.querySelector('.hooks').textContent"))
        self.assertInert(shown)

    def test_an_address_with_markup_is_text_too(self):
        query = f"#/requests?tenant={MARKUP}&before={MARKUP}"
        for where in (f"#/requests/{MARKUP}", query, f"#/{MARKUP}", "#/requests/%E0%A4%A"):
            shown = self.open()
            self.drawn(shown)
            shown.page.run(f"location.hash = {json.dumps(where)}")
            shown.page.until("document.querySelector('h1')", "the page")
            shown.page.until("!document.querySelector('main').innerText.includes('Asking')", "the answer")
            self.assertEqual(shown.page.run("window.pwned || 0"), 0)
            self.assertEqual([line for line in shown.page.console if "status of 40" not in line], [])

    # -- headers

    def test_every_answer_carries_the_policy_that_lets_nothing_in(self):
        files = [f"/dashboard/{name}" for name in ("app.js", "style.css", "favicon.svg", "settings")]
        told = f"/api/requests/{self.first.get('X-Request-Id')}/explain"
        paths = ["/", *files, "/api/status", "/api/requests", told, "/metrics"]
        for path in paths:
            reply = self.server.admin("GET", path)
            self.assertEqual(reply.status, 200, path)
            given = {}
            for directive in reply.get("Content-Security-Policy").split(";"):
                name, *values = directive.split()
                self.assertNotIn(name, given, "given twice")
                given[name] = set(values)
            self.assertEqual(given, POLICY, path)
            self.assertEqual(reply.get("X-Content-Type-Options"), "nosniff", path)
            self.assertEqual(reply.get("Referrer-Policy"), "no-referrer", path)
            self.assertEqual(reply.get("Cross-Origin-Resource-Policy"), "same-origin", path)
            self.assertEqual(reply.get("Cache-Control"), "no-store", path)
            self.assertIsNone(reply.get("Set-Cookie"), path)
            self.assertIsNone(reply.get("Access-Control-Allow-Origin"), path)

    def test_the_browser_stops_code_that_is_written_into_the_page(self):
        shown = self.open()
        self.drawn(shown)
        stopped = shown.page.run(
            "[() => { document.body.innerHTML = '<b>x</b>' }, () => { eval('window.pwned = 1') },"
            " () => { document.createElement('script').text = 'window.pwned = 1' },"
            " () => { setTimeout('window.pwned = 1', 0) }, () => { new Function('window.pwned = 1')() },"
            " () => { document.write('<b>x</b>') }].map(f => { try { f(); return 'ran' } catch (e) { return e.name } })"
        )
        self.assertNotIn("ran", stopped)
        self.assertEqual(shown.page.run("window.pwned || 0"), 0)

    # -- for everybody

    def test_texts_and_lines_stand_out_from_their_ground_in_light_and_dark(self):
        for dark in (False, True):
            worst = []
            for where in self.pages():
                shown = self.open(where, dark=dark)
                self.drawn(shown)
                shown.page.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
                found = shown.page.run(CONTRAST)
                self.assertGreater(len(found), 30, where)
                worst += found[:3]
                self.assertEqual([row for row in found if row["ratio"] < row["least"]], [], (where, dark))
            least = min(worst, key=lambda row: row["ratio"] / row["least"])
            case.say(f"{'dark' if dark else 'light'}: least contrast {least['ratio']:.2f} of {least['least']}: {least['what']!r}")

    def test_everything_has_a_name_and_headings_are_in_order(self):
        named = {"button", "link", "textbox", "combobox", "slider", "image", "dialog", "region", "table", "navigation"}
        for where in self.pages():
            shown = self.open(where)
            self.drawn(shown)
            nodes = shown.page.call("Accessibility.getFullAXTree")["nodes"]
            seen = [described(node) for node in nodes if not node["ignored"]]
            nameless = [(role, props) for role, name, props in seen if role in named and not name.strip()]
            self.assertEqual(nameless, [], where)
            levels = [props["level"] for role, _, props in seen if role == "heading"]
            self.assertEqual(levels.count(1), 1, where)
            self.assertTrue(all(b - a <= 1 for a, b in zip(levels, levels[1:])), levels)
            roles = {role for role, _, _ in seen}
            self.assertLessEqual({"main", "banner", "navigation"}, roles)
            self.assertEqual(shown.page.run("document.documentElement.lang"), "en")
            twice = shown.page.run(
                "[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)"
            )
            self.assertEqual(twice, [], where)
            case.say(f"{where[:12] or '#/'}: {len(seen)} nodes of the accessibility tree, {len(levels)} headings")

    def test_what_is_pressed_is_large_enough(self):
        for width in (1440, 360):
            for where in self.pages():
                shown = self.open(where, width=width, height=800)
                self.drawn(shown)
                self.assertEqual(shown.page.run(SIZES), [], (where, width))


if __name__ == "__main__":
    case.main()
