"""T4: four instances on one Redis keep one wall while they are stopped, killed and cut off, and while Redis
goes back to an old snapshot. The truth is the provider's own bill; what Redis and the journals said meanwhile is
held against the rules of money.

In a network of its own packets to Redis are dropped; where that is not allowed, a proxy loses what is sent.

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
import netns
import procs
import wire
from history import History
from policies import Policies
from test_redis import ONE_CENT, Redis

LIMIT = 100  # cents
CENT = 10_000_000
ROUNDS = int(os.environ.get("NEAP_FLEET_ROUNDS", "1"))
OWN_NETWORK = bool(os.environ.get(netns.MARK))


def own_network():
    """To be called before anything begins: the script runs anew where it has a network of its own."""
    if netns.possible():
        netns.enter()
    case.say(f"packets are dropped by {'the kernel' if OWN_NETWORK else 'a proxy'}")


class Way:
    """A way to Redis through the kernel, with an address of its own."""

    def __init__(self, port, i, firewall):
        self.address, self.port = f"127.0.0.{11 + i}", port
        self.firewall = firewall

    def cut(self):
        self.firewall.add("ip", "daddr", self.address, "tcp", "dport", self.port, "drop")
        self.firewall.add("ip", "saddr", self.address, "tcp", "sport", self.port, "drop")

    def mend(self):
        self.firewall.clear()  # one is cut off at a time

    def close(self):
        self.mend()


class Pipe:
    """A way to Redis that can be cut: what is sent into it is then taken and never arrives."""

    address = "127.0.0.1"

    def __init__(self, port):
        self.to, self.loses = port, False
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
                if not self.loses:
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
                end.close()

    def cut(self):
        self.loses = True

    def mend(self):
        self.loses = False

    def close(self):
        self.listener.close()


class Fleet(case.Case):
    def setUp(self):
        self.mock.control(m={"first_ms": 1, "total_ms": 2, "usd_per_request": 0.01})
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
            store=f"redis://{self.ways[i].address}:{self.ways[i].port}/0",
            flags=("--state", self.states[i], "--decisions", self.states[i] + "/decisions"),
        )
        self.servers[i] = server
        return server

    def begin(self):
        self.redis = Redis("--bind", *[f"127.0.0.{at}" for at in (1, 11, 12, 13, 14)])
        self.addCleanup(self.redis.close)
        firewall = OWN_NETWORK and netns.Firewall()
        self.ways = [
            Way(self.redis.port, i, firewall) if OWN_NETWORK else Pipe(self.redis.port) for i in range(4)
        ]
        self.states = [tempfile.mkdtemp(prefix="neap-fleet-") for _ in range(4)]
        for way, state in zip(self.ways, self.states):
            self.addCleanup(way.close)
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
            self.ways[i].cut()
            time.sleep(0.5 + 3 * rng.random())
            self.ways[i].mend()
        elif what == "snapshot":
            self.redis.cli("save")
            time.sleep(0.7)
            self.redis.kill()
            self.redis.start()

    def books(self):
        """Every instance's own books agree, the server's with them."""
        for state in self.states:
            code, said, err = procs.run(
                *("ledger", "check", "--store", f"redis://127.0.0.1:{self.redis.port}/0"),
                *("--state", state, "--decisions", state + "/decisions"),
            )
            self.assertEqual(code, 0, said + err)

    def one_round(self, seed):
        rng = random.Random(seed)
        faults = ["stop", "kill", "drop", "snapshot"]
        rng.shuffle(faults)
        self.stop.clear()
        self.begin()
        # Who is killed while everybody has to tell the server again is the one whose chunk nobody can.
        dies_unseen = faults.index("kill") == faults.index("snapshot") + 1
        unseen = LIMIT * CENT // 20 if dies_unseen else 0
        history = History(self.redis.port, self.states, LIMIT * CENT, unseen)
        before = self.mock.bill("m")
        clients = [threading.Thread(target=self.client, args=(random.Random(i),)) for i in range(6)]
        for thread in clients:
            thread.start()
        for what in faults:
            time.sleep(0.3)
            self.hurt(rng, what)
        time.sleep(2)
        self.stop.set()
        for thread in clients:
            thread.join()
        for server in self.servers:
            server.stop()
        faults_of_history = history.end()
        calls = (self.mock.bill("m") - before) // CENT
        held, settled = self.redis.sums()
        case.say(
            f"seed {seed}, {' '.join(faults)}: {calls} calls of {LIMIT}, over-spend"
            f" {max(0, calls - LIMIT)} cents, stranded {(held - settled) / 1e7:.0f}; {history.samples} looks at"
            f" {len(history.epochs)} epochs, {max(0, history.most - LIMIT * CENT)} nusd lent above it"
        )
        self.assertLessEqual(calls, LIMIT)
        self.assertEqual(faults_of_history, [])
        self.assertGreater(history.samples, 20)
        self.books()
        self.redis.close()
        return calls

    def test_four_instances_spend_at_most_one_limit_whatever_happens_to_them(self):
        for seed in range(ROUNDS):
            self.one_round(seed)


if __name__ == "__main__":
    own_network()
    case.main()
