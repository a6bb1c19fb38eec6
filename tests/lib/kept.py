"""What tests of alerts and days share: servers whose memory outlives them, and receivers of webhooks."""

import json
import os
import tempfile

import case
import policies as sets
import procs
import stub

LOOK_S = 25  # the monitor looks every ten seconds


class Kept(case.Case):
    """Each test has a set and a state folder of its own, and servers as it likes."""

    def setUp(self):
        self.mock.control()
        self.files = sets.Policies(self.mock.url)
        self.files.provider("p", breaker={"failures": 2, "open_ms": 600000})
        self.files.model("m", "p", usd_per_million={"input": 1000, "output": 2000})
        self.files.endpoint("assistant", ["m"], max_attempts=1)
        self.files.alerts = {}
        self.state = tempfile.mkdtemp(prefix="neap-days-")
        self.started = []

    def begin(self):
        server = self.serve(
            self.files,
            env={"NEAP_TEST_KEY": "k", "HOOK": getattr(self, "hook_url", "http://127.0.0.1:9")},
            flags=("--state", self.state),
            store="sqlite:neap.db",
        )
        self.started = [server]
        self.addCleanup(server.stop)
        return server

    def remember(self, *lines):
        """What an earlier life left behind."""
        with open(os.path.join(self.state, "neap.days"), "w", encoding="utf-8") as f:
            f.write("\n".join(("neap-days 1", *lines)) + "\n")

    def receiver(self, status=200):
        """A webhook; its answers may be changed by self.answer."""
        self.answer = status

        def handle(_):
            return b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % self.answer

        got = stub.Stub(handle)
        self.addCleanup(got.stop)
        self.hook_url = got.url + "/hook"
        self.files.alerts["sinks"] = [{"webhook": sets.env("HOOK")}]
        return got

    @staticmethod
    def bodies(receiver):
        return [json.loads(call.body) for call in receiver.calls]

    def looks(self, server, n=2):
        """Waits until the monitor has looked n times."""
        self.assertTrue(
            procs.wait_for(lambda: server.log().count("alert=alive") >= n, LOOK_S), server.tail()
        )

    def show_looks(self):
        """A hook that shows each look in the log."""
        self.files.hook(
            "alert",
            "()\n  return { { alert = 'alive', subject = tostring(random()), severity = 'info',"
            " text = 'a look' } }",
        )
