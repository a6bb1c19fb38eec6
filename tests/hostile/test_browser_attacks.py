"""What a web page can do to whoever runs neap on their desk, without tenants and without a token: read nothing,
change nothing, spend nothing. From another port, another name, and from a name that was rebound to this machine."""

# ctest: timeout 400

import http.server
import json
import threading

import browser
import case
import wire

EVIL = "evil.example"
MAPS = {EVIL: "127.0.0.1"}
READ = ("/", "/metrics", "/api/status", "/api/budgets", "/api/policies", "/api/requests", "/api/series", "/api/alerts")
WRITE = ("/api/policies/reload", "/api/policies/rollback")

# Each try gives what could be read: {what, status, bytes}. Nothing of it throws.
ATTACK = """
(async (admin, client, read, write, reply) => {
  const out = [];
  const patience = (promise) => Promise.race([promise, new Promise((r) => setTimeout(() => r(null), 5000))]);
  const ask = async (what, url, init) => {
    try {
      const got = await patience(fetch(url, init));
      const text = got ? await got.text() : '';
      out.push({ what, status: got ? got.status : 0, bytes: text.length });
    } catch { out.push({ what, status: 0, bytes: 0 }); }
  };
  const prompt = JSON.stringify({ prompt: 'spend' });
  for (const path of read) {
    await ask('read ' + path, admin + path, {});
    await ask('opaque ' + path, admin + path, { mode: 'no-cors', credentials: 'include' });
  }
  for (const path of write) {
    await ask('simple post ' + path, admin + path, { method: 'POST', mode: 'no-cors', body: '' });
    await ask('post ' + path, admin + path, { method: 'POST', headers: { 'X-Neap-Admin': '1' } });
  }
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
    await ask('spend as ' + type, client + reply,
      { method: 'POST', mode: 'no-cors', headers: { 'Content-Type': type }, body: prompt });
  }
  await ask('spend as json', client + reply, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: prompt });
  await ask('spend, kept alive', client + reply, { method: 'POST', mode: 'no-cors', keepalive: true, body: prompt });
  navigator.sendBeacon(client + reply, prompt);
  navigator.sendBeacon(admin + write[0], '');
  const element = (tag, props) => patience(new Promise((done) => {
    try {
      const e = Object.assign(document.createElement(tag), props);
      e.onload = () => done(true);
      e.onerror = () => done(false);
      document.body.append(e);
    } catch { done(false); }
  }));
  const loaded = async (what, tag, props) => out.push({ what, status: 0, bytes: 0, loaded: Boolean(await element(tag, props)) });
  await loaded('script', 'script', { src: admin + '/dashboard/app.js' });
  await loaded('script of data', 'script', { src: admin + '/api/status' });
  await loaded('style', 'link', { rel: 'stylesheet', href: admin + '/dashboard/style.css' });
  await loaded('image', 'img', { src: admin + '/dashboard/favicon.svg' });
  for (const path of ['/', '/api/status']) {
    const frame = document.createElement('iframe');
    frame.src = admin + path;
    document.body.append(frame);
    await new Promise((r) => setTimeout(r, 300));
    let text = '';
    try { text = frame.contentDocument ? frame.contentDocument.body.innerText : ''; } catch { }
    out.push({ what: 'frame ' + path, status: 0, bytes: text.length });
  }
  for (const [url, fields] of [[admin + write[0], { a: '' }], [client + reply, { '{"prompt":"spend","x":"': '"}' }]]) {
    const name = 'f' + Math.random();
    const frame = Object.assign(document.createElement('iframe'), { name });
    const form = Object.assign(document.createElement('form'), { action: url, method: 'POST', target: name, enctype: 'text/plain' });
    for (const [key, value] of Object.entries(fields)) form.append(Object.assign(document.createElement('input'), { name: key, value }));
    document.body.append(frame, form);
    form.submit();
    await new Promise((r) => setTimeout(r, 300));
  }
  for (const url of [admin, client]) {
    await patience(new Promise((done) => {
      const socket = new WebSocket(url.replace('http', 'ws') + '/api/status');
      socket.onopen = () => { out.push({ what: 'websocket', status: 101, bytes: 1 }); done(); };
      socket.onerror = () => done();
    }));
    await patience(new Promise((done) => {
      const events = new EventSource(url + '/api/status');
      events.onopen = () => { out.push({ what: 'events', status: 200, bytes: 1 }); done(); };
      events.onerror = () => { events.close(); done(); };
    }));
  }
  return out;
})(%s, %s, %s, %s, %s)
"""


class Evil(http.server.BaseHTTPRequestHandler):
    """A page of somebody else's."""

    def do_GET(self):
        body = b"<!doctype html><title>evil</title><body>evil</body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Attacks(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p", usd_per_million={"input": 1000, "output": 1000})
        policies.endpoint("assistant", ["m"])
        policies.budgets = [{"account": "global", "window": "day", "limit_usd": 50}]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.policies.hook("route", '(req) return nil, "the second"')
        cls.policies.write()
        assert cls.server.reload().json()["result"] in ("ok", "unchanged")
        cls.evil = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
        threading.Thread(target=cls.evil.serve_forever, daemon=True).start()
        cls.evil_port = cls.evil.server_address[1]
        cls.browser = browser.Browser(MAPS)

    @classmethod
    def tearDownClass(cls):
        cls.browser.stop()
        cls.evil.shutdown()
        cls.evil.server_close()
        super().tearDownClass()

    def attack(self, page, admin, client):
        values = (admin, client, READ, WRITE, wire.REPLY)
        return page.run(ATTACK % tuple(json.dumps(value) for value in values))

    def state(self):
        """What no page may change."""
        metrics = self.server.metrics()
        generations = self.server.admin("GET", "/api/policies").json()["generations"]
        return {
            "versions": [(g["version"], g["state"]) for g in generations],
            "reloads": metrics.get("neap_policy_reloads_total"),
            "requests": metrics.get("neap_requests_total"),
            "calls": self.mock.calls()["calls"],
            "spent": metrics.get("neap_budget_spent_usd"),
        }

    def refused(self):
        metrics = self.server.metrics()
        return sum(metrics.get("neap_http_refused_total", cause=cause) for cause in ("origin", "host"))

    def check(self, name, page, admin, client):
        before, refused = self.state(), self.refused()
        tried = self.attack(page, admin, client)
        got = [t for t in tried if (t["status"] in (200, 101) and t["bytes"] > 0) or t.get("loaded")]
        after = self.state()
        refused = self.refused() - refused
        case.say(f"{name}: {len(tried)} tries, refused by Host or Origin {refused:.0f}, things read {len(got)}, "
                 f"spent ${after['spent'] - before['spent']:.9f}, states changed {sum(before[k] != after[k] for k in before)}")
        self.assertEqual(got, [])
        self.assertEqual(before, after)
        self.assertGreater(refused, 20)

    def open(self, url):
        page = self.browser.page(url)
        self.addCleanup(page.close)
        return page

    def targets(self, host="127.0.0.1"):
        return f"http://{host}:{self.server.admin_port}", f"http://{host}:{self.server.port}"

    def test_a_page_of_another_port_can_do_nothing(self):
        self.check("another port", self.open(f"http://127.0.0.1:{self.evil_port}/"), *self.targets())

    def test_a_page_of_another_name_can_do_nothing(self):
        self.check("another name", self.open(f"http://{EVIL}:{self.evil_port}/"), *self.targets())

    def test_a_page_that_calls_the_machine_localhost_can_do_nothing(self):
        self.check("localhost", self.open(f"http://localhost:{self.evil_port}/"), *self.targets("localhost"))

    def rebound(self, port):
        """A page whose name led elsewhere when it was loaded, and leads to neap now."""
        url = f"http://{EVIL}:{port}/"
        page = self.browser.page()
        self.addCleanup(page.close)
        page.fulfil[url] = b"<!doctype html><title>evil</title><body>evil</body>"
        page.call("Fetch.enable", patterns=[{"urlPattern": url, "requestStage": "Request"}])
        page.go(url)
        page.call("Fetch.disable")
        self.assertEqual(page.run("document.title + ' ' + location.origin"), f"evil {url[:-1]}")
        return page

    def test_a_name_that_was_rebound_to_the_operators_socket_reads_and_changes_nothing(self):
        self.check("rebound to --admin", self.rebound(self.server.admin_port), *self.targets(EVIL))

    def test_a_name_that_was_rebound_to_the_clients_socket_spends_nothing(self):
        self.check("rebound to --listen", self.rebound(self.server.port), *self.targets(EVIL))

    def test_a_visit_by_a_name_that_was_rebound_shows_nothing(self):
        page = self.open(f"http://{EVIL}:{self.server.admin_port}/")
        self.assertIn("forbidden", page.text())
        self.assertEqual(page.run("document.scripts.length"), 0)

    def test_the_same_tries_from_the_dashboard_itself_succeed(self):
        page = self.open(f"http://127.0.0.1:{self.server.admin_port}/")
        admin, client = self.targets()
        tried = {t["what"]: t for t in self.attack(page, admin, client)}
        for path in READ:
            self.assertEqual(tried[f"read {path}"]["status"], 200, path)
            self.assertGreater(tried[f"read {path}"]["bytes"], 0, path)
        self.assertEqual(tried[f"post {WRITE[0]}"]["status"], 200)
        self.assertTrue(tried["image"]["loaded"])
        # But no page may be framed, and the clients' socket is another origin for the dashboard, too.
        self.assertEqual(tried["frame /"]["bytes"], 0)
        self.assertEqual(tried["spend as json"]["status"], 0)


if __name__ == "__main__":
    case.main()
