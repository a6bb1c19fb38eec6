"""The class that tests derive from, and how a file of tests is run."""

import re
import sys
import threading
import unittest

import procs
from policies import Policies


# How the imitation models answer unless a test says otherwise.
QUICK = """
return { seed = 7, models = { ["*"] = function(call)
  return { text = "this is " .. call.model, first_ms = 1, total_ms = 2 }
end } }
"""


def skips(record):
    """What a record says of the candidates that were passed over: model and why."""
    return [{"model": s["model"], "why": s["why"]} for s in record["skipped"]]


class Case(unittest.TestCase):
    """Tests that share one mock and one server, made by prepare() before the first of them. When a
    test fails, what the processes said is shown; after the last one they must end well."""

    maxDiff = 4000
    longMessage = True

    env = {"NEAP_TEST_KEY": "sk-test-0123456789"}
    flags = ()
    workers = 2
    scenario = QUICK  # a file's text; False: no mock

    mock = None
    server = None

    @classmethod
    def prepare(cls, policies):
        """Fills the policies; the mock is there already."""

    @classmethod
    def setUpClass(cls):
        cls.started = []
        try:
            cls.policies = Policies()
            if cls.scenario is not False:
                cls.mock = cls.own(procs.Mock(cls.scenario))
                cls.policies.url = cls.mock.url
            cls.prepare(cls.policies)
            if cls.policies.providers:
                cls.server = cls.own(cls.serve(cls.policies))
        except BaseException:
            cls.stop_all()
            raise

    @classmethod
    def serve(cls, policies, **kw):
        """A server as this class wants it."""
        kw = {"env": cls.env, "flags": cls.flags, "workers": cls.workers, **kw}
        return procs.Serve(policies, **kw)

    @classmethod
    def own(cls, process):
        cls.started.append(process)
        return process

    @classmethod
    def stop_all(cls):
        faults = []
        for process in reversed(cls.started):
            try:
                process.stop()
            except procs.Failed as fault:
                faults.append(str(fault))
        cls.started = []
        if faults:
            raise procs.Failed("\n".join(faults))

    @classmethod
    def tearDownClass(cls):
        cls.stop_all()

    def run(self, result=None):
        before = len(result.failures), len(result.errors)
        super().run(result)
        fresh = result.failures[before[0] :] + result.errors[before[1] :]
        if fresh:
            print(f"\n=== {self.id()}", file=sys.stderr)
            for _, told in fresh:
                print(told[-1500:], file=sys.stderr)
            for process in self.started:
                print(process.tail(), file=sys.stderr)

    # -- what many tests say

    def classes(self, record):
        return [attempt["class"] for attempt in record["attempts"]]

    def assertLogged(self, pattern):
        """The log has, or soon gets, a line that matches; that."""

        def found():
            return re.search(f"^.*(?:{pattern}).*$", self.server.log(), re.MULTILINE)

        line = procs.wait_for(found, 3)
        self.assertTrue(line, f"not logged: {pattern}\n{self.server.tail()}")
        return line.group()

    def assertError(self, reply, status, kind, param=None):
        """The contract's error object, with its request id in the header too."""
        self.assertEqual(reply.status, status, reply)
        self.assertEqual(reply.get("Content-Type"), "application/json", reply)
        error = reply.error
        self.assertEqual(sorted(error), ["message", "param", "requestId", "type"], reply)
        self.assertEqual(error["type"], kind, reply)
        self.assertEqual(error["param"], param, reply)
        self.assertTrue(error["message"], reply)
        self.assertTrue(error["requestId"], reply)
        self.assertEqual(error["requestId"], reply.get("X-Request-Id"), reply)
        return error

    def assertGood(self, reply, **fields):
        self.assertEqual(reply.status, 200, reply)
        got = reply.json()
        self.assertFalse(got["degraded"], reply)
        for name, value in fields.items():
            self.assertEqual(got[name], value, reply)
        return got

    def assertStreamed(self, stream, text=None):
        """A stream that ended well: deltas, then done and nothing else."""
        self.assertEqual(stream.status, 200, stream.head)
        names = [name for name in stream.order if name is not None]
        self.assertEqual(names[-1:], ["done"], stream.order)
        self.assertEqual(set(names[:-1]), {"delta"}, stream.order)
        self.assertNotIn("text", stream.done)
        if text is not None:
            self.assertEqual(stream.text, text)
        return stream.done

    def assertBroken(self, stream, kind="upstream_failed"):
        """A stream that broke off after text: deltas, error, done."""
        self.assertEqual(stream.status, 200, stream.head)
        names = [name for name in stream.order if name is not None]
        self.assertEqual(names[-2:], ["error", "done"], stream.order)
        self.assertEqual(set(names[:-2]), {"delta"}, stream.order)
        self.assertEqual(stream.done["finishReason"], "error", stream.done)
        self.assertEqual(stream.error["error"]["type"], kind, stream.error)
        return stream.done

    def assertDegraded(self, reply, reason):
        self.assertEqual(reply.status, 200, reply)
        got = reply.json()
        self.assertTrue(got["degraded"], reply)
        self.assertEqual(got["reason"], reason, reply)
        self.assertTrue(got["text"], reply)
        return got


def at_once(n, ask):
    """Calls ask(i) for each i in a thread of its own; what they gave, in order."""
    got = [None] * n

    def one(i):
        got[i] = ask(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def say(text):
    """A figure that a test measured."""
    print(f"  {text}", flush=True)


def main():
    unittest.main(module="__main__", verbosity=1)
