"""T4: four instances on one Redis keep one wall while they are stopped, killed and cut off, and while Redis
goes back to an old snapshot. The truth is the provider's: every call that it got costs a cent.

ctest: timeout 180"""

import contextlib
import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import time

import case
import procs
import wire
from policies import Policies
from test_redis import ONE_CENT, Redis

LIMIT = 100  # cents
ROUNDS = int(os.environ.get("NEAP_FLEET_ROUNDS", "1"))


class Pipe:
    """A way to Redis that can be cut: what is sent into it is then taken and never arrives."""

    def __init__(self, port):
        self.to, self.cut = port, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                if self.listener.fileno() < 0:
                    return
                near.close()
                continue
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=pair, daemon=True).start()

    def carry(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.cut:
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self):
        self.listener.close()


class Fleet(case.Case):
    def setUp(self):
        self.mock.control(m={"first_ms": 1, "total_ms": 2})
        self.stop = threading.Event()
        self.addCleanup(self.stop.set)

    def set_of(self):
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.model("m", "p", **ONE_CENT)
        policies.endpoint("wall", ["m"], deadline_ms=3000)
        policies.budgets = [
            {"account": "global", "window": "none", "limit_usd": LIMIT / 100, "unknown": "worst"}
        ]
        return policies

    def start(self, i):
        server = self.serve(
            self.policies,
            workers=1,
            store=f"redis://127.0.0.1:{self.pipes[i].port}/0",
            flags=("--state", self.states[i], "--decisions", self.states[i] + "/decisions"),
        )
        self.servers[i] = server
        return server

    def begin(self):
        self.redis = Redis("--enable-debug-command", "yes")
        self.addCleanup(self.redis.close)
        self.pipes = [Pipe(self.redis.port) for _ in range(4)]
        self.states = [tempfile.mkdtemp(prefix="neap-fleet-") for _ in range(4)]
        for pipe, state in zip(self.pipes, self.states):
            self.addCleanup(pipe.close)
            self.addCleanup(shutil.rmtree, state, ignore_errors=True)
        self.servers = [None] * 4
        self.policies = self.set_of()
        for i in range(4):
            self.start(i)

    def client(self, rng):
        """Asks somebody again and again; whoever does not answer is left."""
        while not self.stop.is_set():
            server = self.servers[rng.randrange(4)]
            with contextlib.suppress(OSError, ValueError, wire.Cut):
                server.ask("hello", "/api/wall/reply", timeout=4)
            time.sleep(0.12 * rng.random())

    def hurt(self, rng, what):
        i = rng.randrange(4)
        server = self.servers[i]
        if what == "stop":
            server.signal(signal.SIGSTOP)
            time.sleep(1)
            server.signal(signal.SIGCONT)
        elif what == "kill":
            server.signal(signal.SIGKILL)
            server.wait()
            self.start(i)
        elif what == "drop":
            self.pipes[i].cut = True
            time.sleep(1.5)
            self.pipes[i].cut = False
        elif what == "snapshot":
            self.redis.cli("save")
            time.sleep(0.7)
            self.redis.kill()
            self.redis.start()

    def one_round(self, seed):
        rng = random.Random(seed)
        self.stop.clear()
        self.begin()
        before = self.mock.calls("m")
        clients = [threading.Thread(target=self.client, args=(random.Random(i),)) for i in range(6)]
        for thread in clients:
            thread.start()
        faults = ["stop", "kill", "drop", "snapshot"]
        rng.shuffle(faults)
        for what in faults:
            time.sleep(0.3)
            self.hurt(rng, what)
        time.sleep(2)
        self.stop.set()
        for thread in clients:
            thread.join()
        for server in self.servers:
            server.stop()
        calls = self.mock.calls("m") - before
        held, settled = self.redis.sums()
        case.say(
            f"seed {seed}, {' '.join(faults)}: {calls} calls of {LIMIT}, over-spend"
            f" {max(0, calls - LIMIT)} cents, stranded {(held - settled) / 1e7:.0f}"
        )
        self.assertLessEqual(calls, LIMIT)
        for state in self.states:
            code, said, err = procs.run(
                *("ledger", "check", "--store", "redis://127.0.0.1:1/0", "--state", state),
                *("--decisions", state + "/decisions"),
            )
            self.assertEqual(code, 0, said + err)
        return calls

    def test_four_instances_spend_at_most_one_limit_whatever_happens_to_them(self):
        for seed in range(ROUNDS):
            self.one_round(seed)


if __name__ == "__main__":
    case.main()
