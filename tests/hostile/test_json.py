"""JSON that readers disagree about (T24), from clients and from providers: what is taken reaches the
other side with the same meaning, and every reply is well formed."""

import json

import case
import stub

DEEP = 100000

# A body's text, and whether it must be refused; None: either, but then with the same meaning.
BODIES = {
    "arrays 10^5 deep": (b'{"prompt":"a","metadata":{"x":' + b"[" * DEEP + b"]" * DEEP + b"}}", True),
    "objects 10^5 deep": (
        b'{"prompt":"a","metadata":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
        True,
    ),
    "arrays that never end": (b"[" * DEEP, True),
    "a field twice": (b'{"prompt":"a","prompt":"b"}', True),
    "a field twice, once escaped": (b'{"prompt":"a","\\u0070rompt":"b"}', True),
    "an escaped field alone": (b'{"\\u0070rompt":"a"}', True),
    "a field of metadata twice": (b'{"prompt":"a","metadata":{"a":1,"a":2}}', True),
    "a field of a message twice": (
        b'{"messages":[{"role":"user","content":"a","content":"b"}]}',
        True,
    ),
    "text behind the end": (b'{"prompt":"a"}{"prompt":"b"}', True),
    "a NUL behind the end": (b'{"prompt":"a"}\x00', True),
    "a NUL inside": (b'{"prompt":\x00"a"}', True),
    "a byte order mark": (b'\xef\xbb\xbf{"prompt":"a"}', True),
    "UTF-16": ('{"prompt":"a"}'.encode("utf-16"), True),
    "a comment": (b'{"prompt":"a"/*b*/}', True),
    "a comma at the end": (b'{"prompt":"a",}', True),
    "quotes that are single": (b"{'prompt':'a'}", True),
    "a tab in a string": (b'{"prompt":"a\tb"}', True),
    "an escape that is none": (b'{"prompt":"\\x41"}', True),
    "half an escape": (b'{"prompt":"\\u12"}', True),
    "an overlong byte sequence": (b'{"prompt":"\xc0\xaf"}', True),
    "a surrogate as bytes": (b'{"prompt":"\xed\xa0\x80"}', True),
    "a code point past the last": (b'{"prompt":"\xf4\x90\x80\x80"}', True),
    "a sequence that is cut": (b'{"prompt":"\xe2\x82"}', True),
    "a number that is NaN": (b'{"prompt":"a","temperature":NaN}', True),
    "a number in hex": (b'{"prompt":"a","maxTokens":0x10}', True),
    "a number with a plus": (b'{"prompt":"a","maxTokens":+1}', True),
    "a number with a zero before it": (b'{"prompt":"a","maxTokens":01}', True),
    "a number past all": (b'{"prompt":"a","temperature":1e999}', True),
    "a number past 2^63": (b'{"prompt":"a","maxTokens":9223372036854775808}', True),
    "a whole number in another form": (b'{"prompt":"a","maxTokens":1e2}', None),
    "a pair of surrogates": (b'{"prompt":"\\ud83d\\ude00"}', False),
    "half a pair": (b'{"prompt":"\\ud83d"}', None),
    "a pair the wrong way round": (b'{"prompt":"\\ude00\\ud83d"}', None),
    "an escaped NUL": (b'{"prompt":"a\\u0000b"}', None),
    "all escapes": (b'{"prompt":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"}', False),
    "line separators": ('{"prompt":"a\u2028b\u2029c"}'.encode(), False),
    "DEL and C1": (b'{"prompt":"\x7f\xc2\x80"}', False),
    "a script's end": (b'{"prompt":"</script><!--"}', False),
    "a prompt that looks like JSON": (b'{"prompt":"\\"}],\\"model\\":\\"evil\\""}', False),
    "blanks of all kinds": (b' \t\r\n{ "prompt" :\n"a" } \r\n', False),
    "40,000 blanks in a prompt": (b'{"prompt":"' + b" " * 40000 + b'x"}', False),
}


def replaced(old, new):
    """A good answer's text with a part replaced."""
    text = json.dumps(stub.openai("TEXT"))
    assert old in text
    return text.replace(old, new).encode("utf-8", "surrogatepass")


# What a provider says, and the class that it must end in (a pair: either).
ANSWERS = {
    "a good one": (replaced("TEXT", "fine"), ("ok",)),
    "10^5 deep": (b"[" * DEEP + b"]" * DEEP, ("bad_reply",)),
    "10^5 deep inside": (
        replaced('"chatcmpl-1"', "[" * DEEP + "]" * DEEP),
        ("bad_reply",),
    ),
    "text behind the end": (replaced("TEXT", "x") + b"x", ("bad_reply",)),
    "a second reply behind it": (replaced("TEXT", "x") * 2, ("bad_reply",)),
    "a NUL behind the end": (replaced("TEXT", "x") + b"\x00", ("bad_reply",)),
    "nothing": (b"", ("bad_reply",)),
    "blanks": (b"   \n", ("bad_reply",)),
    "null": (b"null", ("bad_reply",)),
    "a number": (b"7", ("bad_reply",)),
    "a list": (b"[1]", ("bad_reply",)),
    "an empty object": (b"{}", ("bad_reply",)),
    "choices of another kind": (b'{"choices":{"0":1}}', ("bad_reply",)),
    "choices that are empty": (b'{"choices":[]}', ("bad_reply",)),
    "a choice of another kind": (b'{"choices":[7]}', ("bad_reply",)),
    "a message of another kind": (b'{"choices":[{"message":"x"}]}', ("bad_reply",)),
    "a content of another kind": (b'{"choices":[{"message":{"content":7}}]}', ("bad_reply",)),
    "an error in a 200": (b'{"error":{"message":"no"}}', ("bad_reply",)),
    "an error of another kind": (b'{"error":[[[]]]}', ("bad_reply",)),
    "NaN": (replaced("1790000000", "NaN"), ("bad_reply",)),
    "a raw control byte": (replaced("TEXT", "a\x01b"), ("bad_reply",)),
    "bytes that are no UTF-8": (replaced("TEXT", "a").replace(b'"a"', b'"a\xff"'), ("bad_reply",)),
    "a surrogate as bytes": (
        replaced("TEXT", "a").replace(b'"a"', b'"\xed\xa0\x80"'),
        ("bad_reply",),
    ),
    "half a pair": (replaced("TEXT", "x\\ud83dy"), ("ok", "bad_reply")),
    "an escaped NUL": (replaced("TEXT", "x\\u0000y"), ("ok", "bad_reply")),
    "line separators": (replaced("TEXT", "x\u2028y\u2029z"), ("ok",)),
    "a field twice": (replaced('"content": "TEXT"', '"content": "a", "content": "b"'),
                      ("ok", "bad_reply")),
    "usage past 2^53": (replaced('"prompt_tokens": 10', '"prompt_tokens": 9007199254740993'),
                        ("ok",)),
    "usage past 2^63": (replaced('"prompt_tokens": 10', '"prompt_tokens": 92233720368547758070'),
                        ("ok",)),
    "usage as 1e999": (replaced('"prompt_tokens": 10', '"prompt_tokens": 1e999'),
                       ("ok", "bad_reply")),
    "a text of 1 MB": (replaced("TEXT", "long " * 200000), ("ok",)),
    "a finish of another kind": (replaced('"stop"', "[1]"), ("ok", "bad_reply")),
    "a million commas": (b"[" + b"1," * 1000000 + b"1]", ("bad_reply",)),
}


class Clients(case.Case):
    scenario = False

    @classmethod
    def prepare(cls, policies):
        cls.stub = cls.own(stub.Stub(lambda call: stub.reply(stub.openai("taken"))))
        policies.url = cls.stub.url
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], body_bytes=4194304)

    def test_a_body_is_refused_or_means_the_same_at_the_provider(self):
        for name, (body, refused) in BODIES.items():
            with self.subTest(name=name):
                calls = len(self.stub.calls)
                reply = self.server.ask(body)
                if refused:
                    self.assertError(reply, 400, "invalid_request", reply.error["param"])
                if refused is False:
                    self.assertGood(reply, text="taken")
                self.assertIn(reply.status, (200, 400))
                if reply.status == 400:
                    self.assertEqual(len(self.stub.calls), calls)
                    continue
                sent = self.stub.calls[-1].json()["messages"][-1]["content"]
                self.assertEqual(sent, json.loads(body)["prompt"])

    def test_every_reply_is_well_formed_whatever_was_sent(self):
        for name, (body, _) in BODIES.items():
            with self.subTest(name=name):
                text = self.server.ask(body).body.decode("utf-8", "strict")
                json.loads(text)


class Providers(case.Case):
    scenario = False

    @classmethod
    def prepare(cls, policies):
        cls.stub = cls.own(stub.Stub(cls.handle))
        policies.url = cls.stub.url
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"], max_attempts=1)

    @staticmethod
    def handle(call):
        name = call.json()["messages"][-1]["content"]
        return stub.reply(ANSWERS[name][0])

    def test_whatever_a_provider_answers_the_client_gets_one_well_formed_reply(self):
        for name, (_, classes) in ANSWERS.items():
            with self.subTest(name=name):
                reply = self.server.ask(name)
                self.assertEqual(reply.status, 200)
                got = json.loads(reply.body.decode("utf-8", "strict"))
                record = self.server.decision(reply)
                self.assertIn(record["attempts"][0]["class"], classes, record)
                self.assertEqual(got["degraded"], record["attempts"][0]["class"] != "ok")
                if "text of" not in name:
                    self.assertLess(len(reply.body), 2000)

    def test_a_text_arrives_as_it_was_sent(self):
        for name, text in (("line separators", "x\u2028y\u2029z"), ("a text of 1 MB", "long " * 200000)):
            self.assertGood(self.server.ask(name), text=text)


if __name__ == "__main__":
    case.main()
