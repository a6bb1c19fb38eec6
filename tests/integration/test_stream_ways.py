"""Streamed answers on other ways: over TLS, to HTTP/1.0, over a shutdown, many at once."""

import os
import signal
import ssl
import subprocess
import tempfile
import threading
import time

import case
import procs
import wire

TEXT = "a good answer, told in some parts so that it takes its time"
PATH = "/api/assistant/reply"
SCENARIO = """
return { models = { ["*"] = { text = "%s", first_ms = 20, total_ms = 200 } } }
""" % TEXT


class Ways(case.Case):
    scenario = SCENARIO

    @classmethod
    def prepare(cls, policies):
        policies.provider("mock", "openai", idle_timeout_ms=30000, timeout_ms=60000)
        policies.model("m", "mock")
        policies.endpoint("assistant", ["m"], deadline_ms=60000)


class OverTls(Ways):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.cert, key = (os.path.join(cls.folder.name, name) for name in ("cert.pem", "key.pem"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
             "-nodes", "-keyout", key, "-out", cls.cert, "-days", "3", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        cls.flags = ("--tls-cert", cls.cert, "--tls-key", key)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.folder.cleanup()

    def connect(self):
        conn = self.server.conn()
        context = ssl.create_default_context(cafile=self.cert)
        conn.socket = context.wrap_socket(conn.socket, server_hostname="127.0.0.1")
        self.addCleanup(conn.close)
        return conn

    def test_a_stream_over_tls_comes_as_it_is_made(self):
        stream = self.server.stream("hello", conn=self.connect()).follow()
        self.assertStreamed(stream, TEXT)
        self.assertGreater(len(stream.texts), 5)

    def test_a_client_over_tls_that_leaves_ends_the_call(self):
        self.mock.control(every={"text": TEXT, "total_ms": 8000})
        self.addCleanup(self.mock.control)
        conn = self.connect()
        self.server.stream("hello", conn=conn).follow(2)
        began = time.monotonic()
        conn.close()
        self.assertTrue(procs.wait_for(lambda: self.mock.calls()["open"] == 0, 5, 0.002))
        case.say(f"closed after {(time.monotonic() - began) * 1000:.0f} ms")


class Plain(Ways):
    def test_http_1_0_gets_the_stream_to_the_end_of_its_connection(self):
        conn = self.server.conn()
        self.addCleanup(conn.close)
        conn.send(wire.request(path=PATH, body={"prompt": "x", "stream": True}, version="1.0"))
        head = conn.head()
        self.assertEqual((head.status, head.get("Transfer-Encoding")), (200, None))
        self.assertTrue(conn.closes())
        events = [wire.as_event(text.decode()) for text in conn.buffer.split(b"\n\n")[:-1]]
        self.assertEqual("".join(data["text"] for name, data in events if name == "delta"), TEXT)
        self.assertEqual(events[-1][0], "done")

    def test_a_shutdown_lets_streams_end(self):
        server = self.serve(self.policies)
        self.started.append(server)
        self.mock.control(every={"text": TEXT, "total_ms": 1500})
        self.addCleanup(self.mock.control)
        with server.conn() as conn:
            stream = server.stream("hello", conn=conn).follow(1)
            server.signal(signal.SIGTERM)
            self.assertStreamed(stream.follow(), TEXT)
        self.started.remove(server)
        server.stop()

    def test_many_streams_at_once_are_each_whole(self):
        n = 100
        faults = []

        def one(i):
            try:
                with self.server.conn(timeout=30.0) as conn:
                    stream = self.server.stream(f"number {i}", conn=conn).follow()
                    self.assertStreamed(stream, TEXT)
            except Exception as fault:  # pylint: disable=broad-except
                faults.append(fault)

        threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        self.assertEqual(self.server.metrics().get("llm_inflight"), 0)
        self.assertEqual(self.mock.calls()["open"], 0)


if __name__ == "__main__":
    case.main()
