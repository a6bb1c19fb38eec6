"""neap mock: what a scenario can say, the same answers each time, and how it starts and ends."""

import json
import os
import re
import signal
import socket
import tempfile
import time
import unittest

import case
import procs
import wire

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"

EACH_KEY = """
return { seed = 5, models = {
  plain = { text = "It is 世界." },
  ["dated"] = { text = "any date" },
  ["openai/*"] = { text = "one of OpenAI's" },
  ["anthropic/*"] = { text = "one of Anthropic's" },
  turns = { { status = 503 }, { text = "second" }, { text = "for good" } },
  failing = { status = 429, retry_after_s = 7, error = { type = "t", code = "c", message = "m" } },
  busy = { status = 529 },
  slow = { first_ms = 60, total_ms = 120 },
  stalls = { stall_at = 25 },
  resets = { reset_at = 30 },
  resets_at_once = { reset_at = 0 },
  ends = { fin_at = 40 },
  malformed = { malformed = true },
  empty = { empty = true },
  no_usage = { no_usage = true },
  lies = { usage = { prompt = -1, completion = 2.5, cached = 3 } },
  slowly = { text = "a", byte_by_byte = true },
  filtered = { finish = "content_filter" },
  typed = { content_type = "text/html", content_encoding = "gzip" },
  raw = { raw = "HTTP/1.1 200 OK\\r\\n\\0" },
  asks = function(call)
    return { text = ("%s/%s #%d %q max %s stream %s"):format(call.provider, call.model, call.number,
      call.prompt, call.max_tokens, call.stream) }
  end,
  fails = function(call) error("no idea") end,
  always = { text = "good", faults = { { rate = 1, status = 500 } } },
} }
"""

CHANCE = """
return { seed = 11, models = {
  ["*"] = { text = "good", first_ms = { p50 = 1, p95 = 3 }, total_ms = { p50 = 2, p95 = 6 },
            faults = { { rate = 0.2, status = 500, burst = 2 }, { rate = 0.2, status = 429 } } },
  drawn = function(call) return { text = tostring(call.random()) } end,
} }
"""


def body(model, stream=False, **more):
    return {
        "model": model,
        "messages": [{"role": "user", "content": "What now?"}],
        "stream": stream,
        **more,
    }


def call(mock, model, path=CHAT, **more):
    return wire.ask(mock.port, "POST", path, body(model, **more))


def text_of(reply):
    got = reply.json()
    return (got["choices"][0]["message"]["content"] if "choices" in got
            else got["content"][0]["text"])


def events(reply):
    """(name or None, data) of each event of a stream."""
    out = []
    for block in reply.body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line)
        if fields:
            data = fields["data"]
            out.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
    return out


class EachKey(case.Case):
    scenario = EACH_KEY

    def call(self, model, path=CHAT, **more):
        return call(self.mock, model, path, **more)

    def bytes_of(self, model, seconds=2.0):
        """What comes on the wire for a call, and how it ends: closed, reset or open."""
        with wire.Conn(self.mock.port, timeout=seconds) as conn:
            conn.send(wire.request("POST", CHAT, body(model)))
            data = b""
            while True:
                try:
                    piece = conn.socket.recv(65536)
                except TimeoutError:
                    return data, "open"
                except ConnectionResetError:
                    return data, "reset"
                if not piece:
                    return data, "closed"
                data += piece

    def test_names_are_found_exactly_then_without_their_date_then_by_provider(self):
        self.assertEqual(text_of(self.call("plain")), "It is 世界.")
        self.assertEqual(text_of(self.call("dated-2026-11-24")), "any date")
        self.assertEqual(text_of(self.call("dated-20261124", MESSAGES)), "any date")
        self.assertEqual(text_of(self.call("gpt-x")), "one of OpenAI's")
        self.assertEqual(text_of(self.call("claude-x", MESSAGES)), "one of Anthropic's")
        none = self.call("gpt-x", "/groq/v1/chat/completions")
        self.assertEqual(none.status, 404)
        self.assertEqual(none.error["type"], "not_found_error")

    def test_answers_of_a_list_come_in_turn_and_the_last_stays(self):
        got = [self.call("turns") for _ in range(4)]
        self.assertEqual(got[0].status, 503)
        self.assertEqual([text_of(g) for g in got[1:]], ["second", "for good", "for good"])

    def test_errors_are_in_the_callers_dialect(self):
        reply = self.call("failing")
        self.assertEqual((reply.status, reply.get("Retry-After")), (429, "7"))
        self.assertEqual(reply.error, {"message": "m", "type": "t", "param": None, "code": "c"})
        reply = self.call("busy", MESSAGES, stream=True)
        self.assertEqual(reply.status, 529)
        self.assertEqual(reply.json()["request_id"], reply.get("request-id"))
        self.assertEqual(reply.error["type"], "overloaded_error")

    def test_a_slow_answer_takes_its_time(self):
        reply = self.call("slow")
        case.say(f"a reply of 120 ms took {reply.ms:.0f} ms")
        self.assertGreaterEqual(reply.ms, 119)
        with wire.Conn(self.mock.port) as conn:
            began = time.monotonic()
            conn.send(wire.request("POST", CHAT, body("slow", stream=True)))
            conn.until(b"\r\n\r\n")
            first = time.monotonic() - began
            conn.until(b"[DONE]")
            last = time.monotonic() - began
        self.assertGreaterEqual(first, 0.059)
        self.assertGreater(last, first + 0.02)

    def test_faults_of_the_connection(self):
        self.assertEqual([len(self.bytes_of("stalls", 0.3)[0]), self.bytes_of("stalls", 0.1)[1]], [25, "open"])
        data, end = self.bytes_of("resets")
        self.assertEqual((len(data), end), (30, "reset"))
        self.assertEqual(self.bytes_of("resets_at_once"), (b"", "reset"))
        data, end = self.bytes_of("ends")
        self.assertEqual((len(data), end), (40, "closed"))
        self.assertEqual(self.bytes_of("raw"), (b"HTTP/1.1 200 OK\r\n\0", "closed"))

    def test_faults_of_the_body(self):
        for path in (CHAT, MESSAGES):
            with self.assertRaises(ValueError):
                self.call("malformed", path).json()
        self.assertEqual(self.call("empty").json()["choices"], [])
        self.assertEqual(self.call("empty", MESSAGES).json()["content"], [])
        self.assertNotIn("usage", self.call("no_usage").json())
        usage = self.call("lies").json()["usage"]
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (-1, 2.5))
        self.assertEqual(usage["prompt_tokens_details"]["cached_tokens"], 3)
        self.assertEqual(self.call("filtered").json()["choices"][0]["finish_reason"], "content_filter")
        self.assertEqual(self.call("filtered", MESSAGES).json()["stop_reason"], "refusal")
        typed = self.call("typed")
        self.assertEqual((typed.get("Content-Type"), typed.get("Content-Encoding")), ("text/html", "gzip"))
        self.assertEqual(text_of(self.call("slowly")), "a")

    def test_a_rate_of_1_hits_every_call(self):
        self.assertEqual({self.call("always").status for _ in range(5)}, {500})

    def test_a_function_sees_the_call_and_its_failure_is_the_answer(self):
        self.assertEqual(
            text_of(self.call("asks", max_tokens=90)), 'openai/asks #1 "What now?" max 90 stream false'
        )
        reply = self.call("fails")
        self.assertEqual((reply.status, reply.error["type"]), (500, "scenario_failed"))
        self.assertRegex(reply.error["message"], r"scenario\.lua:\d+: no idea")

    def test_openai_streams(self):
        got = events(self.call("plain", stream=True))
        self.assertEqual(got[-1], (None, "[DONE]"))
        chunks = [data for _, data in got[:-1]]
        self.assertTrue(all(len(c["choices"]) == 1 and "usage" not in c for c in chunks))
        self.assertEqual(chunks[0]["choices"][0]["delta"]["role"], "assistant")
        said = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
        self.assertEqual(said, "It is 世界.")
        ends = [c["choices"][0]["finish_reason"] for c in chunks]
        self.assertEqual(ends, [None] * (len(chunks) - 1) + ["stop"])
        got = events(self.call("plain", stream=True, stream_options={"include_usage": True}))
        self.assertEqual(got[-2][1]["choices"], [])
        self.assertGreater(got[-2][1]["usage"]["completion_tokens"], 0)

    def test_anthropic_streams(self):
        got = events(self.call("plain", MESSAGES, stream=True, max_tokens=2))
        names = [name for name, _ in got]
        self.assertEqual(names[:3], ["message_start", "content_block_start", "ping"])
        self.assertEqual(names[-3:], ["content_block_stop", "message_delta", "message_stop"])
        self.assertEqual(set(names[3:-3]), {"content_block_delta"})
        self.assertTrue(all(data["type"] == name for name, data in got))
        self.assertEqual(got[-2][1]["delta"]["stop_reason"], "max_tokens")
        self.assertEqual(got[-2][1]["usage"], {"output_tokens": 2})

    def test_control_overrides_and_puts_right_and_refuses(self):
        self.mock.control(plain=[{"status": 500}, {"text": "then this"}])
        self.assertEqual(self.call("plain").status, 500)
        self.assertEqual(text_of(self.call("plain")), "then this")
        self.mock.control()
        self.assertEqual(text_of(self.call("plain")), "It is 世界.")
        for wrong, says in (
            ({"models": {"plain": {"stauts": 500}}}, "stauts"),
            ({"models": {"plain": {"status": 42}}}, "status"),
            ("{", "line 1"),
            ([], "models"),
        ):
            reply = wire.ask(self.mock.port, "POST", "/control", wrong)
            self.assertEqual(reply.status, 400, reply)
            self.assertIn(says, reply.error)

    def test_counters(self):
        before = self.mock.calls()
        self.call("plain")
        with wire.Conn(self.mock.port) as conn:
            conn.send(wire.request("POST", CHAT, body("stalls")))
            conn.take(25)
            self.assertEqual(self.mock.calls()["open"], before["open"] + 1)
        gone = procs.wait_for(lambda: self.mock.calls()["aborted"] > before["aborted"])
        self.assertTrue(gone)
        after = self.mock.calls()
        self.assertEqual(after["calls"] - before["calls"], 2)
        self.assertGreater(after["billed"]["prompt"], before["billed"]["prompt"])


class Repeats(unittest.TestCase):
    def answers(self):
        mock = procs.Mock(CHANCE)
        try:
            got = []
            for i in range(60):
                reply = call(mock, ("a", "b", "drawn")[i % 3], (CHAT, MESSAGES)[i % 2])
                got.append((reply.status, reply.headers, reply.body))
            return got
        finally:
            mock.stop()

    def test_the_same_scenario_gives_the_same_answers(self):
        first = self.answers()
        self.assertEqual(first, self.answers())
        statuses = [status for status, _, _ in first]
        self.assertEqual(set(statuses), {200, 429, 500})


class StartAndEnd(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="neap-test-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def refuse(self, text):
        """Standard error of a mock that does not start with this scenario."""
        path = os.path.join(self.folder, "s.lua")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        status, out, err = procs.run("mock", "--listen", "127.0.0.1:0", "--scenario", path)
        self.assertEqual((status, out), (1, ""), err)
        self.assertEqual(len(err.splitlines()), 1, err)
        return err.replace(path, "s.lua")

    def test_a_broken_scenario_is_one_line_with_its_place(self):
        for text, place in (
            ("return {\n  models = {\n", r"s\.lua:\d+"),
            ("return {\n  models = { m = { stauts = 500 } } }\n", r"s\.lua:2:\d+: .*stauts"),
            ("return { models = {\n  m = { status = 42 },\n} }\n", r"s\.lua:2:\d+: .*status"),
            ("return { models = {\n\n  m = { text = 7 } } }\n", r"s\.lua:3:\d+: .*text"),
            ("return {\n  seed = -1, models = {} }\n", r"s\.lua:2:\d+: .*seed"),
            ("\nerror('by hand')\n", r"s\.lua:2: by hand"),
            ("while true do end\n", r"s\.lua:1"),
            ("return 7\n", r"s\.lua"),
            ("return {}\n", r"s\.lua.*models"),
            ("local x = io.open('a')\nreturn { models = {} }\n", r"s\.lua:1"),
        ):
            with self.subTest(text):
                self.assertRegex(self.refuse(text), place)

    def test_two_problems_are_both_told(self):
        path = os.path.join(self.folder, "s.lua")
        with open(path, "w", encoding="utf-8") as f:
            f.write("return { models = {\n  a = { status = 42 },\n  b = { text = 7 } } }\n")
        status, _, err = procs.run("mock", "--listen", "127.0.0.1:0", "--scenario", path)
        self.assertEqual(status, 1)
        self.assertEqual(re.findall(r"s\.lua:(\d+):", err), ["2", "3"], err)

    def test_a_scenario_that_is_not_there_is_told(self):
        path = os.path.join(self.folder, "none.lua")
        status, _, err = procs.run("mock", "--listen", "127.0.0.1:0", "--scenario", path)
        self.assertEqual(status, 3)
        self.assertRegex(err, r"none\.lua: No such file")

    def test_a_port_in_use_is_3(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            status, out, err = procs.run("mock", "--listen", f"127.0.0.1:{port}")
        self.assertEqual((status, out), (3, ""), err)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertIn(str(port), err)

    def test_wrong_flags_are_2(self):
        for args in (("--listen", "nowhere"), ("--scenari", "a"), ("--scenario",), ("more",)):
            status, _, err = procs.run("mock", *args)
            self.assertEqual(status, 2, (args, err))

    def test_without_a_scenario_it_answers_helpfully(self):
        mock = procs.Mock()
        reply = call(mock, "gpt-4.1-mini")
        self.assertIn('You said: "What now?"', text_of(reply))
        mock.stop()

    def test_signals_end_it_with_0_also_while_it_answers(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            mock = procs.Mock('return { models = { m = { stall_at = 9 } } }')
            with wire.Conn(mock.port) as conn:
                conn.send(wire.request("POST", CHAT, body("m")))
                conn.take(9)
                mock.signal(number)
                self.assertEqual(mock.wait(5), 0)
                self.assertTrue(conn.closes())
            mock.stop()


if __name__ == "__main__":
    case.main()
