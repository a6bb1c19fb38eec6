"""Streams of a provider that are cut in two anywhere, in both dialects, with every way in which lines may end
(T15): the text, its end and the usage are those of the whole."""

import concurrent.futures
import json
import time

import case
import faults
import stub

TEXT = "a \u00e9\u2028\U0001f600 \"b\"\\\n and so on"


def rest(dialect):
    """The events of an answer that holds what is hard to read in pieces."""
    if dialect == "openai":
        raw = json.dumps({"choices": [{"index": 0, "delta": {"content": TEXT}}]}, ensure_ascii=False)
        return [faults.delta(role="assistant", content=""), faults.event(raw), b": a comment\n\n",
                faults.delta("stop"), faults.USAGE, faults.DONE]
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}}
    start = faults.named("message_start", message={"usage": {"input_tokens": 7, "output_tokens": 1}})
    return [start, faults.event(json.dumps(event, ensure_ascii=False), "content_block_delta"),
            faults.named("ping"), faults.named("message_delta", delta={"stop_reason": "end_turn"},
                                               usage={"output_tokens": 3}), faults.named("message_stop")]


def streams():
    """Bodies: of each dialect, with LF, CRLF and CR."""
    for dialect in ("openai", "anthropic"):
        plain = b"".join(rest(dialect))
        for name, end in (("LF", b"\n"), ("CRLF", b"\r\n"), ("CR", b"\r")):
            yield dialect, name, plain.replace(b"\n", end)


class StreamBytes(case.Case):
    scenario = False

    @classmethod
    def prepare(cls, policies):
        cls.bodies = list(streams())
        url = cls.own(stub.Stub(cls.handle)).url
        for dialect in ("openai", "anthropic"):
            policies.provider(dialect, dialect, base_url=url + ("/v1" if dialect == "openai" else ""))
            policies.model(dialect, dialect)
            policies.endpoint(dialect, [dialect], max_attempts=1)

    @classmethod
    def handle(cls, call):
        """The prompt says which body, and where it is cut."""
        said = call.json()["messages"][-1]["content"]
        which, at = map(int, said.split())
        body = cls.bodies[which][2]
        call.conn.send(faults.STREAM + b"%x\r\n" % len(body) + body[:at])
        time.sleep(0.002)
        call.conn.send(body[at:] + b"\r\n0\r\n\r\n")
        return b""

    def one(self, way):
        which, at = way
        with self.server.conn() as conn:
            stream = self.server.stream(f"{which} {at}", f"/api/{self.bodies[which][0]}/reply", conn=conn)
            stream.follow()
        done = stream.done or {}
        usage = done.get("usage", {})
        return (stream.text, done.get("finishReason"), usage.get("promptTokens"), usage.get("completionTokens"))

    def test_a_stream_cut_anywhere_is_as_the_whole(self):
        ways = [(i, at) for i, (_, _, body) in enumerate(self.bodies) for at in range(len(body))]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(self.one, ways))
        wrong = [(self.bodies[i][:2], at, answer) for (i, at), answer in zip(ways, got)
                 if answer != (TEXT, "stop", 7, 3)]
        case.say(f"{len(ways)} cuts of {len(self.bodies)} streams: {len(wrong)} differ from the whole")
        self.assertEqual(wrong[:3], [])


if __name__ == "__main__":
    case.main()
