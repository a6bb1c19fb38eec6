"""How streamed answers end: each time-out, errors in the midst, ends that are none, hooks; with a
provider of the test's own that says every byte."""

import json
import time

import case
import procs
import stub

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PING = 'event: ping\ndata: {"type":"ping"}\n\n'
DONE = "data: [DONE]\n\n"


def delta(text=None, finish=None, **fields):
    """An event of OpenAI's."""
    d = dict(fields)
    if text is not None:
        d["content"] = text
    return "data: " + json.dumps(
        {"choices": [{"index": 0, "delta": d, "finish_reason": finish}]}) + "\n\n"


def parts(*content):
    """An event whose text comes as a list of parts."""
    return delta(content=list(content))


USAGE = "data: " + json.dumps(
    {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}) + "\n\n"
GOOD = delta("good") + delta(" answer") + delta(finish="stop") + USAGE + DONE


class Script:
    """Steps of a provider: texts are sent as a chunk each, numbers are waited in seconds; END as the last ends the
    body in good order, so that the connection goes on; nothing more closes it."""

    END = object()
    STAY = object()  # stays until the other side closes

    def __init__(self, *steps):
        self.steps = steps

    def __call__(self, call):
        call.conn.send(HEAD)
        for step in self.steps:
            if step is self.END:
                call.conn.send(b"0\r\n\r\n")
            elif step is self.STAY:
                call.conn.socket.settimeout(20)
                while call.conn.socket.recv(1000):
                    pass
            elif isinstance(step, (int, float)):
                time.sleep(step)
            else:
                data = step.encode()
                call.conn.send(b"%x\r\n%s\r\n" % (len(data), data))
        return b"" if self.steps[-1:] == (self.END,) else None


END, STAY = Script.END, Script.STAY


class Ends(case.Case):
    """One server with two providers of the test's own; the test says what they do."""

    scenario = False
    workers = 1
    first = None
    second = None

    @classmethod
    def prepare(cls, policies):
        cls.stubs = [stub.Stub(lambda call: cls.first(call)), stub.Stub(lambda call: cls.second(call))]
        # Long enough for a busy machine not to be taken for a silent provider.
        times = {"first_token_timeout_ms": 800, "idle_timeout_ms": 800, "timeout_ms": 1500}
        # What one test has fail is nothing to the next.
        calm = {"failures": 1000, "rate": 0, "open_ms": 1000}
        for i, name in enumerate(("one", "two")):
            policies.provider(name, "openai", base_url=cls.stubs[i].url + "/v1", breaker=calm, **times)
            policies.model(f"m-{name}", name)
        policies.provider("an", "anthropic", base_url=cls.stubs[0].url, breaker=calm, **times)
        policies.model("m-an", "an")
        policies.provider("frail", "openai", base_url=cls.stubs[0].url + "/v1",
                          breaker={"failures": 3, "rate": 0, "open_ms": 60000}, **times)
        policies.model("m-frail", "frail")
        policies.endpoint("frail", ["m-frail"], max_attempts=1)
        policies.endpoint("one", ["m-one"], max_attempts=1)
        policies.endpoint("an", ["m-an"], max_attempts=1)
        policies.endpoint("both", ["m-one", "m-two"], max_attempts=2, deadline_ms=4000)
        policies.endpoint("short", ["m-one"], max_attempts=1, deadline_ms=600)
        policies.endpoint("brief", ["m-one"], max_attempts=1, deadline_ms=300)
        policies.hook("retry", """(req, attempt)
  if attempt.emitted then return { retry_in_ms = 0 }, "emitted " .. tostring(attempt.emitted) end
  return attempt.number == 1 and "next" or nil, "emitted " .. tostring(attempt.emitted)""")
        policies.hook("respond", """(req, reply)
  if req.stream then return { text = "changed: " .. reply.text } end""")

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for each in cls.stubs:
            each.stop()

    def stream(self, endpoint, first, second=None):
        type(self).first = staticmethod(first)
        type(self).second = staticmethod(second or Script(GOOD, END))
        stream = self.server.stream("hello", path=f"/api/{endpoint}/reply")
        self.addCleanup(stream.conn.close)
        stream.follow()
        stream.ms = (time.monotonic() - stream.began) * 1000
        return stream

    def attempt(self, stream, kind):
        """The one attempt of a stream, of this class."""
        record = self.server.decision(stream.get("X-Request-Id"))
        self.assertEqual(self.classes(record), [kind], record)
        return record["attempts"][0]

    # -- time

    def test_no_first_text_in_time_is_a_timeout_that_falls_over(self):
        stream = self.stream("both", Script(delta(role="assistant", text=""), STAY))
        self.assertStreamed(stream, "good answer")
        record = self.server.decision(stream.get("X-Request-Id"))
        self.assertEqual(self.classes(record), ["timeout", "ok"])
        attempt = record["attempts"][0]
        self.assertIn("first_token_timeout_ms", attempt["error"])
        self.assertGreaterEqual(attempt["latencyMs"], 800)
        self.assertNotIn("ttftMs", attempt)

    def test_pings_are_no_answer(self):
        stream = self.stream("an", Script(*[PING, 0.05] * 30))
        self.assertTrue(self.assertStreamed(stream)["degraded"])
        self.assertIn("first_token_timeout_ms", self.attempt(stream, "timeout")["error"])

    def test_thinking_aloud_is_life_but_no_text(self):
        steps = [delta(reasoning_content="hm "), 0.1] * 10
        stream = self.stream("one", Script(*steps, GOOD, END))
        self.assertStreamed(stream, "good answer")
        self.assertGreater(self.attempt(stream, "ok")["ttftMs"], 900)

    def test_a_pause_in_the_midst_cuts_the_stream(self):
        stream = self.stream("one", Script(delta("a"), delta("b"), STAY))
        self.assertBroken(stream)
        self.assertEqual(stream.text, "ab")
        attempt = self.attempt(stream, "cut")
        self.assertIn("idle_timeout_ms", attempt["error"])
        self.assertLess(attempt["ttftMs"] + 700, attempt["latencyMs"])

    def test_the_whole_call_has_its_time(self):
        stream = self.stream("one", Script(*[delta("a"), 0.1] * 40))
        self.assertBroken(stream)
        attempt = self.attempt(stream, "cut")
        self.assertIn("whole call", attempt["error"])
        self.assertGreaterEqual(attempt["latencyMs"], 1500)

    def test_the_deadline_ends_a_stream_in_the_midst(self):
        stream = self.stream("short", Script(*[delta("a"), 0.1] * 40))
        self.assertBroken(stream, "deadline_exceeded")
        self.assertEqual(stream.done["model"], "m-one")
        self.attempt(stream, "deadline")

    def test_the_deadline_before_the_first_text_degrades(self):
        stream = self.stream("brief", Script(STAY))
        done = self.assertStreamed(stream)
        self.assertEqual((done["degraded"], done["reason"]), (True, "deadline"))
        self.attempt(stream, "deadline")

    def test_a_stream_that_flows_is_not_cut_for_the_next_candidate(self):
        # Of a deadline of 4 s an attempt would get 2.5 s at most, and the provider's 1.5 s.
        self.server.policies.providers["one"]["timeout_ms"] = 3900
        self.server.policies.write()
        self.assertEqual(self.server.reload().status, 200)
        stream = self.stream("both", Script(*[delta("a"), 0.1] * 28, delta(finish="stop"), DONE, END))
        self.assertStreamed(stream, "a" * 28)
        self.server.policies.providers["one"]["timeout_ms"] = 1500
        self.server.policies.write()
        self.assertEqual(self.server.reload().status, 200)

    def test_the_first_delta_does_not_wait(self):
        stream = self.stream("one", Script(delta("a"), 0.3, GOOD, END))
        self.assertStreamed(stream, "agood answer")
        case.say(f"first delta after {stream.times[0] * 1000:.1f} ms, the next after "
                 f"{stream.times[1] * 1000:.0f}")
        self.assertGreater(stream.times[1] - stream.times[0], 0.2)

    # -- ends

    def test_ends_that_are_whole(self):
        ways = {
            "done": (GOOD, END),
            "done, and the connection stays": (GOOD, STAY),
            "done, and more": (GOOD + delta(" more"), END),
            "done in pieces": (GOOD[:200], GOOD[200:-5], GOOD[-5:], END),
            "a reason, no done": (delta("good answer", "stop"), END),
            "done, no reason": (delta("good answer"), DONE, END),
        }
        for name, steps in ways.items():
            with self.subTest(way=name):
                stream = self.stream("one", Script(*steps))
                done = self.assertStreamed(stream, "good answer")
                self.assertEqual(done["finishReason"], "stop")
                self.attempt(stream, "ok")
                self.assertLess(stream.ms, 1500)

    def test_a_connection_to_the_provider_is_used_again_after_a_stream(self):
        before = self.stubs[0].connections
        for _ in range(5):
            self.assertStreamed(self.stream("one", Script(GOOD, END)), "good answer")
        self.assertEqual(self.stubs[0].connections - before, 1)

    def test_ends_that_are_none(self):
        ways = {
            "an end without a reason": (delta("a"), END),
            "closed": (delta("a"),),
            "closed after a reason": (delta("a", "stop"),),
            "no JSON": (delta("a"), "data: {not JSON\n\n", STAY),
            "an error": (delta("a"), 'data: {"error":{"message":"oh no","type":"x"}}\n\n', STAY),
            "an error by name": (delta("a"), 'event: error\ndata: {"message":"oh no"}\n\n', STAY),
        }
        for name, steps in ways.items():
            with self.subTest(way=name):
                stream = self.stream("one", Script(*steps))
                self.assertBroken(stream)
                self.assertEqual(stream.text, "a")
                self.attempt(stream, "cut")

    def test_what_fails_before_its_first_text_is_bad_and_falls_over(self):
        ways = {
            "an end": (END,),
            "closed": (delta(role="assistant", text=""),),
            "done": (DONE, END),
            "an empty answer": (delta(""), delta(finish="stop"), DONE, END),
            "no JSON": ("data: {not JSON\n\n", STAY),
            "an error": ('data: {"error":{"message":"oh no","type":"x"}}\n\n', STAY),
            "events without an end": (delta(role="assistant") * 1100, STAY),
            "a line without an end": ("data: " + "x" * 1100000, STAY),
        }
        for name, steps in ways.items():
            with self.subTest(way=name):
                stream = self.stream("both", Script(*steps))
                self.assertStreamed(stream, "good answer")
                record = self.server.decision(stream.get("X-Request-Id"))
                self.assertEqual(self.classes(record), ["bad_reply", "ok"], record)

    def test_answers_that_may_be_empty(self):
        for said in ("length", "content_filter"):
            with self.subTest(finish=said):
                stream = self.stream("one", Script(delta(finish=said), DONE, END))
                self.assertStreamed(stream, "changed: ")  # nothing had reached the client
                self.assertEqual(stream.done["finishReason"], said)

    def test_an_error_in_the_stream_is_a_bad_reply_whatever_its_type(self):
        event = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        stream = self.stream("an", Script(f"event: error\ndata: {json.dumps(event)}\n\n", STAY))
        self.assertTrue(self.assertStreamed(stream)["degraded"])
        self.assertEqual(self.attempt(stream, "bad_reply")["error"], "Overloaded")

    def test_a_whole_answer_where_a_stream_was_wanted_is_one_delta(self):
        stream = self.stream("one", lambda call: stub.reply(stub.openai("all at once")))
        self.assertStreamed(stream, "changed: all at once")
        self.assertEqual(len(stream.texts), 1)
        self.attempt(stream, "ok")

    def test_raw_line_separators_and_escapes_stay_as_they_are(self):
        raw = 'data: {"choices":[{"delta":{"content":"a\u2028b\\u2029c\\n\\"\u00e9\\ud83d\\ude00"}}]}\n\n'
        stream = self.stream("one", Script(raw, delta(finish="stop"), DONE, END))
        self.assertStreamed(stream, "a\u2028b\u2029c\n\"\u00e9\U0001f600")

    def test_only_the_first_answers_text_is_the_answer(self):
        def choice(text, **more):
            return "data: " + json.dumps({"choices": [{"delta": {"content": text}, **more}]}) + "\n\n"

        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ways = {
            "another choice beside it": (choice("no", index=1), delta("good answer"), choice("no", index=2),
                                         choice("", index=1, finish_reason="length"), delta(finish="stop")),
            "nothing, by any name": (delta(content=None, role="assistant"), delta(""), delta("good answer"),
                                     delta(content=None, refusal=None), delta(finish="stop"), "data: {}\n\n"),
            "what a filter found first": (
                'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n', delta("good answer"),
                delta(finish="stop"), 'data: {"choices":null}\n\n'),
            "tools beside it": (delta(tool_calls=[call]), delta("good answer"), delta(finish="stop")),
            "parts in a list": (parts({"type": "thinking", "thinking": [{"type": "text", "text": "no"}]}),
                                parts({"type": "thinking", "thinking": []}, {"type": "text", "text": "go"}),
                                parts({"type": "text", "text": "o"}, {"type": "text", "text": ""},
                                      {"type": "reference", "text": "no"}, {"type": "text", "text": "d"}), parts(), parts({"type": "reference", "reference_ids": [1]}),
                                delta(" answer"), delta(finish="stop")),
            "a refusal": (delta(refusal="good"), delta(content=None, refusal=" answer"), delta(finish="stop")),
            "thought by two names": (delta(reasoning_content="no", reasoning="no"), delta("good answer"),
                                     delta(finish="stop")),
            "an empty reason in each event": (delta("good", ""), delta(" answer", ""), delta(finish="stop")),
            "usage in each event": tuple(event.replace("{", '{"usage":{"prompt_tokens":7,"completion_tokens":%d},' % n, 1)
                                         for n, event in enumerate((delta("good"), delta(" answer", "stop")), 2)),
        }
        for name, steps in ways.items():
            with self.subTest(way=name):
                stream = self.stream("one", Script(*steps, USAGE, DONE, END))
                done = self.assertStreamed(stream, "good answer")
                self.assertEqual(done["finishReason"], "stop")
                self.assertEqual(done["usage"]["completionTokens"], 3)

    def test_an_empty_reason_is_no_end(self):
        self.assertBroken(self.stream("one", Script(delta("a", ""), END)))

    def test_only_text_blocks_of_anthropics_are_the_answer(self):
        def event(kind, **fields):
            return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"

        def begin(i, kind, **fields):
            return event("content_block_start", index=i, content_block={"type": kind, **fields})

        def piece(i, kind, **fields):
            return event("content_block_delta", index=i, delta={"type": kind, **fields})

        start = event("message_start", message={"usage": {"input_tokens": 7, "output_tokens": 1}})
        text = begin(9, "text", text="") + piece(9, "text_delta", text="good answer")
        counted = [event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": n})
                   for n, reason in ((2, None), (3, "end_turn"))]
        ways = {
            "thinking": begin(0, "thinking", thinking="", signature="")
            + piece(0, "thinking_delta", thinking="no") + piece(0, "signature_delta", signature="no"),
            "a tool": begin(0, "tool_use", name="f", input={}) + piece(0, "input_json_delta", partial_json="{"),
            "a piece that is new": begin(0, "text", text="") + piece(0, "new_delta", text="no"),
            "a block that is new": begin(0, "new", text="no") + piece(0, "text_delta", text="no"),
            "an event that is new": event("new", index=9, delta={"type": "text_delta", "text": "no"}, usage={
                "output_tokens": 99}, content_block={"type": "text", "text": "no"}),
            "pings": PING * 3,
        }
        for name, steps in ways.items():
            with self.subTest(way=name):
                stream = self.stream("an", Script(start, steps, text, steps.replace('"no"', '" no"'), *counted,
                                                  event("message_stop"), END))
                done = self.assertStreamed(stream, "good answer")
                self.assertEqual(done["usage"]["completionTokens"], 3)

    def test_a_character_in_two_events_is_one(self):
        def raw(text):
            return 'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % text

        ways = {
            "alone": (r"a", r"\ud83d", r"\ude00", r"b"),
            "at the edges": (r"a\ud83d", r"\ude00b"),
            "in the midst of others": (r"a\uD83D", r"\uDE00b\ud83d", r"\ude00"),
        }
        for name, texts in ways.items():
            with self.subTest(way=name):
                steps = [raw(text) for text in texts]
                stream = self.stream("one", Script(*steps, delta(finish="stop"), DONE, END))
                wanted = "a\U0001f600b" + ("\U0001f600" if "others" in name else "")
                self.assertStreamed(stream, wanted)
        stream = self.stream("one", Script(raw(r"a\ud83d"), raw("b\\ud83d"), delta(finish="length"), DONE, END))
        self.assertStreamed(stream, "ab")
        self.assertBroken(self.stream("one", Script(raw("a"), raw(r"\ude00"), STAY)))

    # -- hooks

    def test_respond_hears_the_whole_text_and_comes_too_late(self):
        stream = self.stream("one", Script(GOOD, END))
        self.assertStreamed(stream, "good answer")
        record = self.server.decision(stream.get("X-Request-Id"))
        note = [hook for hook in record["hooks"] if hook["name"] == "respond"][0]
        self.assertIn("too late", note["returned"])

    def test_retry_hears_that_text_was_emitted_and_comes_too_late(self):
        stream = self.stream("both", Script(delta("a"), END))
        self.assertBroken(stream)
        record = self.server.decision(stream.get("X-Request-Id"))
        self.assertEqual(self.classes(record), ["cut"])
        note = [hook for hook in record["hooks"] if hook["name"] == "retry"][0]
        self.assertEqual(note["why"], "emitted true")
        self.assertIn("too late", note["returned"])

    # -- what it leaves

    def test_cut_streams_open_the_breaker(self):
        for _ in range(3):
            self.assertBroken(self.stream("frail", Script(delta("a"), END)))
        stream = self.stream("frail", Script(GOOD, END))
        self.assertEqual(self.assertStreamed(stream)["reason"], "breaker")

    def test_a_stream_without_usage_is_booked_by_what_was_said(self):
        words = "one two three four five six seven eight nine ten"
        stream = self.stream("one", Script(delta(words), delta(finish="stop"), DONE, END))
        self.assertStreamed(stream, words)
        attempt = self.attempt(stream, "ok")
        self.assertEqual(attempt["settled"], "estimated")
        self.assertLess(attempt["tokens"]["completion"], 20)
        self.assertGreaterEqual(attempt["tokens"]["completion"], 10)

    def test_impossible_usage_is_replaced(self):
        usage = 'data: {"choices":[],"usage":{"prompt_tokens":-5,"completion_tokens":1e30}}\n\n'
        stream = self.stream("one", Script(delta("a", "stop"), usage, DONE, END))
        self.assertStreamed(stream, "a")
        self.assertEqual(self.attempt(stream, "ok")["settled"], "estimated")

    def test_nothing_is_under_way_afterwards(self):
        self.stream("one", Script(GOOD, END))
        self.assertTrue(procs.wait_for(
            lambda: self.server.metrics().get("llm_inflight") == 0))


if __name__ == "__main__":
    case.main()
