"""Each fault of the catalogue (T14), streamed and not, with another candidate and without: exactly one reply
each, in time, in its class, paid by what is known; the other candidate answers where it should, and the three
books agree afterwards.

ctest: timeout 300
"""

import case
import faultcase
import faults
import stub


def spread(policies, url, adapter, places):
    """A model for each fault. A provider's retry budget grants five repeats: no more than two faults that are
    tried again share one."""
    tried = 0
    for place, fault in places:
        provider = f"{adapter}-{tried // 2}"
        if fault.kind in faultcase.AGAIN:
            tried += 1
        if provider not in policies.providers:
            end = "/v1" if adapter == "openai" else ""
            policies.provider(provider, adapter, base_url=url + end, **faultcase.TIMES)
        policies.model(f"m{place}", provider, id=str(place))


class ProviderFaults(faultcase.FaultCase):
    table = faults.FAULTS

    @classmethod
    def prepare(cls, policies):
        cls.acts = [fault.act for fault in cls.table.values()]
        cls.stub = cls.own(stub.Stub(lambda call: cls.acts[int(call.json()["model"])](call)))
        cls.begin(policies)
        for adapter in ("openai", "anthropic"):
            spread(policies, cls.stub.url, adapter, [
                row for row in enumerate(cls.table.values()) if row[1].adapter == adapter])

    def test_each_fault_ends_in_one_reply_in_time_classed_and_paid(self):
        self.run_table()


class Deadline(case.Case):
    """Providers that would take longer than the client's deadline allows."""

    scenario = False
    deadline = 700

    @classmethod
    def prepare(cls, policies):
        cls.names = [name for name, fault in faults.FAULTS.items() if fault.kind == "timeout"]
        cls.names.append("a text, and nothing")
        cls.stub = cls.own(stub.Stub(cls.handle))
        policies.provider("p", base_url=f"{cls.stub.url}/v1")
        for place in range(len(cls.names)):
            policies.model(f"m{place}", "p", id=str(place))
        policies.endpoint("one", ["m0"], max_attempts=1, deadline_ms=cls.deadline)
        policies.hook("route", "(req) return req.metadata.plan")

    @classmethod
    def handle(cls, call):
        return faults.FAULTS[cls.names[int(call.json()["model"])]].act(call)

    def ask(self, run):
        with self.server.conn() as conn:
            return faultcase.Answer(conn, run)

    def test_no_fault_holds_a_reply_beyond_its_deadline(self):
        runs = []
        for place, name in enumerate(self.names):
            fault = faults.FAULTS[name]
            runs += [faultcase.Run(place, name, fault, streamed, False)
                     for streamed in (False, True) if fault.stream in (None, streamed)]
        answers = case.at_once(len(runs), lambda i: self.ask(runs[i]))
        past = 0.0
        for run, answer in zip(runs, answers):
            with self.subTest(run=str(run)):
                record = self.server.decision(answer.head)
                self.assertEqual(self.classes(record), ["deadline"])
                self.assertEqual(record["attempts"][0]["settled"], run.fault.paid)
                self.assertEqual(answer.broken, run.fault.kind == "cut")
                past = max(past, record["latencyMs"] - self.deadline)
        case.say(f"{len(runs)} calls that take longer than {self.deadline} ms: {past:.0f} ms past it at most")
        self.assertLessEqual(past, 50)


if __name__ == "__main__":
    case.main()
