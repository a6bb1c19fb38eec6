"""An OpenTelemetry collector for tests: takes OTLP over HTTP in both encodings and keeps what came.

The protobuf reader knows the messages of opentelemetry-proto by the tables below, and fails on fields
that are not in them: what neap sends must be what the protocol has."""

import json
import struct
import threading

import procs
import stub

# A message by its fields: number -> (name, kind). Kinds: s text, b bytes, v varint, i signed varint,
# 8 fixed64, d double, 4 fixed32, a message's name; a list of one: repeated; ("packed", kind).
MESSAGES = {
    "traces": {1: ("resourceSpans", ["ResourceSpans"])},
    "ResourceSpans": {1: ("resource", "Resource"), 2: ("scopeSpans", ["ScopeSpans"])},
    "ScopeSpans": {1: ("scope", "Scope"), 2: ("spans", ["Span"])},
    "Span": {
        1: ("traceId", "b"),
        2: ("spanId", "b"),
        3: ("traceState", "s"),
        4: ("parentSpanId", "b"),
        5: ("name", "s"),
        6: ("kind", "v"),
        7: ("startTimeUnixNano", "8"),
        8: ("endTimeUnixNano", "8"),
        9: ("attributes", ["KeyValue"]),
        15: ("status", "Status"),
        16: ("flags", "4"),
    },
    "Status": {2: ("message", "s"), 3: ("code", "v")},
    "Resource": {1: ("attributes", ["KeyValue"])},
    "Scope": {1: ("name", "s"), 2: ("version", "s")},
    "KeyValue": {1: ("key", "s"), 2: ("value", "AnyValue")},
    "AnyValue": {
        1: ("stringValue", "s"),
        2: ("boolValue", "v"),
        3: ("intValue", "i"),
        4: ("doubleValue", "d"),
        5: ("arrayValue", "ArrayValue"),
    },
    "ArrayValue": {1: ("values", ["AnyValue"])},
    "metrics": {1: ("resourceMetrics", ["ResourceMetrics"])},
    "ResourceMetrics": {1: ("resource", "Resource"), 2: ("scopeMetrics", ["ScopeMetrics"])},
    "ScopeMetrics": {1: ("scope", "Scope"), 2: ("metrics", ["Metric"])},
    "Metric": {
        1: ("name", "s"),
        2: ("description", "s"),
        3: ("unit", "s"),
        5: ("gauge", "Data"),
        7: ("sum", "Data"),
        9: ("histogram", "HistData"),
    },
    "Data": {
        1: ("dataPoints", ["Point"]),
        2: ("aggregationTemporality", "v"),
        3: ("isMonotonic", "v"),
    },
    "HistData": {1: ("dataPoints", ["HistPoint"]), 2: ("aggregationTemporality", "v")},
    "Point": {
        2: ("startTimeUnixNano", "8"),
        3: ("timeUnixNano", "8"),
        4: ("asDouble", "d"),
        6: ("asInt", "8"),
        7: ("attributes", ["KeyValue"]),
    },
    "HistPoint": {
        2: ("startTimeUnixNano", "8"),
        3: ("timeUnixNano", "8"),
        4: ("count", "8"),
        5: ("sum", "d"),
        6: ("bucketCounts", ("packed", "8")),
        7: ("explicitBounds", ("packed", "d")),
        9: ("attributes", ["KeyValue"]),
    },
}
WIRE = {"v": 0, "i": 0, "8": 1, "d": 1, "4": 5}
FORMATS = {"8": "<Q", "d": "<d", "4": "<I"}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def scalar(kind, raw):
    if kind == "s":
        return raw.decode()
    if kind == "b":
        return raw.hex()
    if kind in ("v", "i"):
        return raw - (1 << 64) if kind == "i" and raw >= 1 << 63 else raw
    return struct.unpack(FORMATS[kind], raw)[0]


def take(data, at, wire):
    if wire == 0:
        return varint(data, at)
    n, at = varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
    if at + n > len(data):
        raise ValueError("a field is longer than its message")
    return data[at : at + n], at + n


def message(kind, data):
    out, at = {}, 0
    while at < len(data):
        head, at = varint(data, at)
        name, want = MESSAGES[kind][head >> 3]
        raw, at = take(data, at, head & 7)
        many, one = isinstance(want, list), want[0] if isinstance(want, list) else want
        packed = isinstance(want, tuple)
        expected = 2 if packed else WIRE.get(one, 2)
        if head & 7 != expected:
            raise ValueError(f"{kind}.{name} has the wrong wire type")
        if packed:
            out[name] = [scalar(want[1], raw[i : i + 8]) for i in range(0, len(raw), 8)]
            continue
        value = message(one, raw) if one in MESSAGES else scalar(one, raw)
        if many:
            out.setdefault(name, []).append(value)
        elif name in out:
            raise ValueError(f"{kind}.{name} stands twice")
        else:
            out[name] = value
    return out


NUMBERS = ("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano", "asInt", "intValue", "count")


def from_json(value, name=None):
    """JSON's 64-bit numbers, which must be texts, as numbers."""
    if isinstance(value, dict):
        return {key: from_json(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item, name) for item in value]
    if name in NUMBERS or name == "bucketCounts":
        if not isinstance(value, str):
            raise ValueError(f"{name} is not a text: {value!r}")
        return int(value)
    return value


def plain(value):
    if "arrayValue" in value:
        return [plain(item) for item in value["arrayValue"].get("values", [])]
    ((kind, inner),) = value.items()
    return bool(inner) if kind == "boolValue" else inner


def attributes(of):
    """{key: value}; no key may stand twice."""
    pairs = [(item["key"], plain(item["value"])) for item in of.get("attributes", [])]
    if len(dict(pairs)) != len(pairs):
        raise ValueError(f"an attribute stands twice: {pairs}")
    return dict(pairs)


class Span:
    def __init__(self, given, resource):
        self.raw = given
        self.resource = resource
        self.trace, self.id = given["traceId"], given["spanId"]
        self.parent = given.get("parentSpanId")
        self.name, self.kind = given["name"], given["kind"]
        self.start, self.end = given["startTimeUnixNano"], given["endTimeUnixNano"]
        self.failed = given.get("status", {}).get("code", 0) == 2
        self.attrs = attributes(given)


class Collector(stub.Stub):
    """answers(call) may say what comes back; by default all is taken."""

    def __init__(self, answers=None, **kw):
        self.answers = answers
        self.spans = []
        self.metrics = []  # messages, as {name: metric}
        self.broken = []
        self.seen = threading.Lock()
        super().__init__(self.receive, **kw)

    def receive(self, call):
        answer = self.answers(call) if self.answers else None
        if answer is not None:
            return answer
        try:
            self.read(call)
        except Exception as fault:  # pylint: disable=broad-except
            self.broken.append(f"{call.path}: {fault!r}")
        return self.taken(call)

    def taken(self, call, partial=None):
        """A 200 in the encoding of the call; partial: what it says of what was not taken."""
        kind = call.get("Content-Type")
        if kind == "application/json":
            return stub.reply({"partialSuccess": partial} if partial else {}, content_type=kind)
        body = b""
        if partial:
            (n,) = (int(v) for k, v in partial.items() if k.startswith("rejected"))
            words = partial["errorMessage"].encode()
            inner = b"\x08" + bytes([n]) + b"\x12" + bytes([len(words)]) + words
            body = b"\x0a" + bytes([len(inner)]) + inner
        return stub.reply(body, content_type=kind)

    def read(self, call):
        signal = call.path.rsplit("/", 1)[1]
        kind = call.get("Content-Type")
        if kind == "application/json":
            got = from_json(json.loads(call.body))
        elif kind == "application/x-protobuf":
            got = message(signal, call.body)
        else:
            raise ValueError(f"content type {kind}")
        with self.seen:
            if signal == "traces":
                self.spans += [
                    Span(span, attributes(group["resource"]))
                    for group in got["resourceSpans"]
                    for scope in group["scopeSpans"]
                    for span in scope["spans"]
                ]
            else:
                (group,) = got["resourceMetrics"]
                (scope,) = group["scopeMetrics"]
                self.metrics.append({metric["name"]: metric for metric in scope["metrics"]})

    def of(self, request_id, attempts=1, seconds=10.0):
        """The spans of a request, its own first and then its attempts' in order."""

        def found():
            with self.seen:
                own = [s for s in self.spans if s.attrs.get("neap.request.id") == request_id]
                if not own:
                    return None
                calls = [s for s in self.spans if s.parent == own[0].id]
                calls.sort(key=lambda s: s.start)
                return own + calls if len(calls) >= attempts else None

        spans = procs.wait_for(found, seconds)
        if not spans:
            raise procs.Failed(f"no spans of {request_id}, {len(self.spans)} others; {self.broken[:3]}")
        return spans

    def measured(self, wanted, seconds=10.0):
        """What wanted makes of the newest message of metrics, once that is true."""
        return procs.wait_for(lambda: self.metrics and wanted(self.metrics[-1]), seconds)


def points(metric):
    """[(attributes, point)] of a metric, whatever its kind."""
    (data,) = (metric[kind] for kind in ("gauge", "sum", "histogram") if kind in metric)
    return [(attributes(point), point) for point in data["dataPoints"]]
