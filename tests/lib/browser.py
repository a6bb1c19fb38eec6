"""A headless Chromium, told what to do by the DevTools protocol over a pair of pipes. It reaches nothing
but loopback addresses: every name fails to resolve unless a test maps it."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

import procs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_S = 60

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-default-apps", "--disable-extensions", "--disable-breakpad", "--mute-audio"),
    "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider,"
    "LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
    *("--force-color-profile=srgb", "--hide-scrollbars", "--no-pings", "--remote-debugging-pipe"),
)


class Failed(Exception):
    """The browser did not do what it was told."""


def high(fd):
    """A copy of a descriptor that is out of the way of 3 and 4; the descriptor is closed."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return copy


class Browser:
    """maps: {"evil.example": "127.0.0.1"}, names that resolve."""

    def __init__(self, maps=()):
        if CHROMIUM is None:
            raise Failed("chromium is not installed: src/install-deps.sh test")
        self.folder = tempfile.mkdtemp(prefix="neap-browser-")
        self.number = 0
        self.buffer = b""
        self.replies = {}
        self.pages = {}
        rules = [f"MAP {name} {to}" for name, to in dict(maps).items()]
        rules += ["MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1", "EXCLUDE [::1]", "EXCLUDE localhost"]
        # The first rule that fits counts, but for exclusions.
        args = [CHROMIUM, *FLAGS, f"--user-data-dir={self.folder}"]
        args += [f"--host-resolver-rules={','.join(rules)}", "about:blank"]
        theirs_in, self.out = (high(fd) for fd in os.pipe())
        self.inp, theirs_out = (high(fd) for fd in os.pipe())
        log = os.open(os.path.join(self.folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        actions = [(os.POSIX_SPAWN_DUP2, a, b) for a, b in ((null, 0), (log, 1), (log, 2))]
        actions += [(os.POSIX_SPAWN_DUP2, theirs_in, 3), (os.POSIX_SPAWN_DUP2, theirs_out, 4)]
        env = {**procs.environment(), "HOME": self.folder}
        self.pid = os.posix_spawn(CHROMIUM, args, env, file_actions=actions, setpgroup=0)
        for fd in (theirs_in, theirs_out, log, null):
            os.close(fd)
        try:
            self.call("Browser.getVersion")
        except BaseException:
            self.stop()
            raise

    # -- the pipe

    def send(self, method, params, session=None):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data) :]
        return self.number

    def receive(self, seconds):
        """Takes what comes within the time; False when nothing did."""
        if not select.select([self.inp], [], [], max(0, seconds))[0]:
            return False
        piece = os.read(self.inp, 1 << 20)
        if not piece:
            with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
                raise Failed(f"chromium ended:\n{f.read()[-2000:]}")
        self.buffer += piece
        *whole, self.buffer = self.buffer.split(b"\0")
        for text in whole:
            message = json.loads(text)
            if "id" in message:
                self.replies[message["id"]] = message
            elif message.get("sessionId") in self.pages:
                self.pages[message["sessionId"]].event(message["method"], message["params"])
        return True

    def call(self, method, params=None, session=None, seconds=PATIENCE_S):
        number = self.send(method, params or {}, session)
        end = time.monotonic() + seconds
        while number not in self.replies:
            if not self.receive(end - time.monotonic()) and time.monotonic() > end:
                raise Failed(f"chromium does not answer to {method}")
        reply = self.replies.pop(number)
        if "error" in reply:
            raise Failed(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def page(self, url=None, width=1440, height=1000, dark=False):
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = Page(self, target, session["sessionId"])
        page.look(width, height, dark)
        if url:
            page.go(url)
        return page

    def stop(self):
        for fd in (self.out, self.inp):
            os.close(fd)
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def tail(self):
        return f"--- browser: {[page.console for page in self.pages.values()]}"


class Page:
    """A tab. What its console says is in console, what it asked for in requests. fulfil: bodies of addresses
    that the browser answers itself while Fetch is enabled."""

    def __init__(self, browser, target, session):
        self.browser = browser
        self.target = target
        self.session = session
        self.console = []
        self.requests = []
        self.loaded = 0
        self.fulfil = {}
        browser.pages[session] = self
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        return self.browser.call(method, params, self.session)

    def event(self, method, params):
        if method == "Runtime.consoleAPICalled":
            said = [str(a.get("value", a.get("description"))) for a in params["args"]]
            self.console.append(f"{params['type']}: {' '.join(said)}")
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(f"exception: {details.get('exception', {}).get('description', details['text'])}")
        elif method == "Log.entryAdded":
            entry = params["entry"]
            self.console.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded += 1
        elif method == "Fetch.requestPaused":
            self.paused(params["requestId"], params["request"]["url"])

    def paused(self, number, url):
        """Answers, without waiting for what the browser says of that."""
        if url not in self.fulfil:
            self.browser.send("Fetch.continueRequest", {"requestId": number}, self.session)
            return
        body = base64.b64encode(self.fulfil[url]).decode()
        headers = [{"name": "Content-Type", "value": "text/html"}]
        answer = {"requestId": number, "responseCode": 200, "responseHeaders": headers, "body": body}
        self.browser.send("Fetch.fulfillRequest", answer, self.session)

    def look(self, width=1440, height=1000, dark=False):
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, still])

    def go(self, url):
        """Loads a page; what it said was wrong with that, if anything."""
        before = self.loaded
        said = self.call("Page.navigate", url=url)
        wrong = said.get("errorText")
        if not wrong and "loaderId" in said:  # else it is another part of the same page
            self.until(lambda: self.loaded > before, f"{url} to load")
        return wrong

    def run(self, script):
        """The value of an expression; promises are waited for."""
        got = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True,
                        allowUnsafeEvalBlockedByCSP=False)
        if "exceptionDetails" in got:
            details = got["exceptionDetails"]
            raise Failed(f"{script}: {details.get('exception', {}).get('description', details['text'])}")
        return got["result"].get("value")

    def until(self, what, name="it", seconds=PATIENCE_S):
        """Waits until a function gives something true, or an expression of the page does; that."""
        end = time.monotonic() + seconds
        while True:
            got = self.run(what) if isinstance(what, str) else what()
            if got:
                return got
            if time.monotonic() > end:
                text = self.text()
                raise Failed(f"waited in vain for {name}: {what}\n{self.console}\n{text[:3000]}")
            self.browser.receive(0.05)

    def text(self):
        return self.run("document.body ? document.body.innerText : ''")

    def key(self, key, code=None, text=None, shift=False):
        fields = {"key": key, "code": code or key, "modifiers": 8 if shift else 0}
        fields["windowsVirtualKeyCode"] = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}.get(key, 0)
        if text or key == "Enter":
            fields["text"] = text or "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", **fields)
        self.call("Input.dispatchKeyEvent", type="keyUp", **{**fields, "text": ""})

    def type(self, text):
        self.call("Input.insertText", text=text)

    def shot(self, path, top=0, height=None, scale=1):
        """Writes a picture of the whole page, or of a part of its height, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "height": height or size["height"], "scale": scale}
        params = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        data = self.call("Page.captureScreenshot", **params)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def close(self):
        self.browser.call("Target.closeTarget", {"targetId": self.target})
        self.browser.pages.pop(self.session, None)


def version():
    """What chromium says of itself."""
    return subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, check=False).stdout.strip()
