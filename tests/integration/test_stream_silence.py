"""A stream that is silent for long: comments keep its connection open, and a reader that takes nothing
for 30 s is ended.
ctest: labels long
"""

import json
import time

import case
import procs
import stub
import wire

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def delta(text, finish=None):
    event = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    data = b"data: " + json.dumps(event).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def silent(call):
    call.conn.send(HEAD + delta("a"))
    time.sleep(18)
    call.conn.send(delta("b", "stop") + b"0\r\n\r\n")


def endless(call):
    call.conn.send(HEAD)
    while True:
        call.conn.send(delta("x" * 1000) * 20)


class Silence(case.Case):
    scenario = False
    workers = 1

    @classmethod
    def prepare(cls, policies):
        cls.stubs = {"silent": stub.Stub(silent), "endless": stub.Stub(endless)}
        for name, each in cls.stubs.items():
            policies.provider(name, base_url=each.url + "/v1", idle_timeout_ms=60000,
                              timeout_ms=120000)
            policies.model(f"m-{name}", name)
            policies.endpoint(name, [f"m-{name}"], deadline_ms=120000)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for each in cls.stubs.values():
            each.stop()

    def test_a_silent_stream_gets_a_comment(self):
        with self.server.conn(timeout=40.0) as conn:
            stream = self.server.stream("hello", path="/api/silent/reply", conn=conn).follow(1)
            began = time.monotonic()
            name, text = next(stream.source)
            case.say(f"{text!r} after {time.monotonic() - began:.1f} s of silence")
            self.assertIsNone(name)
            self.assertLess(time.monotonic() - began, 17)
            self.assertEqual(stream.follow().text, "ab")
            self.assertEqual(stream.order, ["delta", "delta", "done"])

    def test_a_reader_that_takes_nothing_is_ended(self):
        began = time.monotonic()
        with self.server.conn(timeout=60.0) as conn:
            conn.send(wire.request(path="/api/endless/reply", body={"prompt": "x", "stream": True}))
            ended = procs.wait_for(lambda: self.server.metrics().get(
                "neap_http_refused_total", cause="slow_reader") == 1, 45, 0.2)
            self.assertTrue(ended)
            case.say(f"ended after {time.monotonic() - began:.0f} s")
            self.assertGreater(time.monotonic() - began, 29)
        self.assertTrue(procs.wait_for(
            lambda: self.server.metrics().get("llm_inflight") == 0, 5))


if __name__ == "__main__":
    case.main()
