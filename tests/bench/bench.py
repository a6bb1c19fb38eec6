"""Measures what a server between client and provider costs: see README.md beside this file.

Exit status: 0 measured, 1 a peer gave wrong replies, 2 the command is wrong, 3 something did not run.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import time

import peers
import streams
from peers import Client, Direct, Failed, Missing, Provider, cpu_ns, rss_kb

MARKER = "self-service portal"
CLOSED_CONNECTIONS = 32
RATE = 1000
RATE_CONNECTIONS = 64
IN_FLIGHT = 1000
SLOW_MS = 1000
# Before counting starts: caches fill again after the other peers' windows.
SKIP_S = 0.1
# Cores that other processes may use in a window before it is taken again, and how often it may be.
FOREIGN_CORES = 0.1
TRIES = 3
# In-flight test: every connection has been opened and answered once.
SLOW_SKIP_S = 2.2

MEASURES = (
    # key, title, format
    ("cpu_us", "CPU us a request, 32 connections", "%.1f"),
    ("rps", "requests a second, one core", "%.0f"),
    ("busy", "  its core's use meanwhile, %", "%.0f"),
    ("added_p50_us", "added p50, us, at 1,000/s", "%.0f"),
    ("added_p99_us", "added p99, us, at 1,000/s", "%.0f"),
    ("rate_cpu_us", "CPU us a request at 1,000/s", "%.1f"),
    ("slow_cpu_us", "CPU us a request, 1,000 in flight", "%.1f"),
    ("slow_kb", "KB RSS a request in flight", "%.1f"),
)


class Bench:
    def __init__(self, options, temp):
        self.options = options
        self.temp = temp
        self.cpus = peers.Cpus()
        self.names = list(options.peers)
        self.missing = {}
        self.failed = {}
        self.wrong = {}
        self.rounds = {}
        self.foreign = []
        self.running = []

    # -- processes

    def own(self, thing):
        """Remembers what must be stopped when the run ends."""
        self.running.append(thing)
        return thing

    def drop(self, thing):
        thing.stop()
        self.running.remove(thing)

    def stop_all(self):
        for thing in reversed(self.running):
            thing.stop()
        self.running.clear()

    def progress(self, what, name):
        progress(what, name)

    def start_peer(self, name, provider, check=None):
        """A peer that answers right, or None and the reason noted."""
        make = peers.PEERS.get(name, Direct)
        try:
            peer = self.own(make(self.temp, self.cpus, provider, self.options.profile))
            if check:
                check(peer)
            else:
                peers.check_answer(peer, self.question())
            return peer
        except Missing as reason:
            self.missing[name] = str(reason)
        except Failed as reason:
            self.failed[name] = str(reason)
        if name in self.names:
            self.names.remove(name)
        return None

    def question(self):
        """The same bytes for every peer, whatever it makes of them."""
        file = "request.json" if self.options.profile == "reply" else "chat_request.json"
        return os.path.join(peers.HERE, "data", file)

    def client(self, peer, connections):
        return self.own(Client(self.temp, self.cpus, [
            os.path.join(self.options.tools, "load"), str(peer.port), peer.path, self.question(), MARKER,
            str(connections)]))

    # -- one window

    def note(self, name, key, value):
        self.rounds.setdefault(name, {}).setdefault(key, []).append(value)

    def window(self, peer, client, provider, order, seconds, tries=None):
        """Runs a window; again if other processes took part in it, and keeps the quietest try."""
        best = None
        for _ in range(tries or self.options.tries):
            taken = self.window_once(peer, client, provider, order, seconds)
            if best is None or taken["foreign"] < best["foreign"]:
                best = taken
            if best["foreign"] <= FOREIGN_CORES:
                break
        self.foreign.append(best["foreign"])
        return best

    def window_once(self, peer, client, provider, order, seconds):
        """What the client saw; the peer's CPU in ns, its greater RSS and the seconds between both marks;
        the cores that processes of others used."""
        known = {peer.pid, client.pid, provider.pid, os.getpid(), *(helper.pid for helper in peer.helpers)}

        def at_mark():
            return {"at": time.monotonic(), "cpu": cpu_ns(peer.pid), "all": all_cpu_ns(),
                    "known": sum(cpu_ns(pid) for pid in known), "rss": rss_kb(peer.pid)}

        first, last, seen = client.window(order, seconds, at_mark)
        if seen["errors"] or not seen["count"]:
            self.wrong.setdefault(peer.name, []).append(dict(seen, order=order, client=peers.tail(client.log)))
        cpu = last["cpu"] - first["cpu"]
        wall = last["at"] - first["at"]
        others = (last["all"] - first["all"]) - (last["known"] - first["known"])
        return dict(seen, cpu_us=cpu / 1000 / max(1, seen["count"]), busy=cpu / 1e7 / wall,
                    rss=max(first["rss"], last["rss"]), foreign=max(0.0, others / 1e9 / wall))

    # -- the measurements

    def turns(self, things, rounds):
        """Every round each takes its turn; each round another begins."""
        for number in range(rounds if things else 0):
            shift = number % len(things)
            yield from things[shift:] + things[:shift]

    def measure_fast(self):
        provider = self.own(Provider(self.options.tools, self.temp, self.cpus, 0))
        started = [self.start_peer(name, provider) for name in list(self.names)]
        running = [peer for peer in started if peer]
        if not running:
            return
        self.measure_closed(running, provider)
        direct = self.start_peer("direct", provider)
        if direct is None:
            raise Failed("the provider " + self.failed["direct"])
        self.measure_rate([direct] + running, provider)
        self.stop_all()

    def measure_closed(self, running, provider):
        clients = {peer: self.client(peer, CLOSED_CONNECTIONS) for peer in running}
        for peer in running:
            clients[peer].window("closed 0 0 0.5", 1, lambda: None)
        seconds = self.options.seconds
        order = "closed 0 %g %g" % (SKIP_S, seconds)
        for peer in self.turns(running, self.options.rounds):
            seen = self.window(peer, clients[peer], provider, order, seconds)
            self.note(peer.name, "cpu_us", seen["cpu_us"])
            self.note(peer.name, "rps", seen["count"] / seen["seconds"])
            self.note(peer.name, "busy", seen["busy"])
            progress("closed loop", peer.name)
        for client in clients.values():
            self.drop(client)

    def measure_rate(self, running, provider):
        clients = {peer: self.client(peer, RATE_CONNECTIONS) for peer in running}
        for peer in running:
            clients[peer].window("rate %d 0 0.3" % RATE, 1, lambda: None)
        seconds = self.options.seconds
        order = "rate %d %g %g" % (RATE, SKIP_S, seconds)
        for peer in self.turns(running, self.options.rounds):
            seen = self.window(peer, clients[peer], provider, order, seconds)
            self.note(peer.name, "p50_us", seen["p50_us"])
            self.note(peer.name, "p99_us", seen["p99_us"])
            self.note(peer.name, "rate_cpu_us", seen["cpu_us"])
            progress("1,000 a second", peer.name)
        direct = self.rounds["direct"]
        for peer in running[1:]:
            for key in ("p50_us", "p99_us"):
                mine = self.rounds[peer.name][key]
                for with_peer, without in zip(mine, direct[key]):
                    self.note(peer.name, "added_" + key, with_peer - without)

    def measure_slow(self):
        """Each peer's turn begins with a new process, so that memory counts from an idle start."""
        provider = self.own(Provider(self.options.tools, self.temp, self.cpus, SLOW_MS))
        seconds = self.options.slow_seconds
        order = "closed 1 %g %g" % (SLOW_SKIP_S, seconds)
        for name in self.turns(list(self.names), self.options.slow_rounds):
            if name not in self.names:
                continue
            peer = self.start_peer(name, provider)
            if peer is None:
                continue
            client = self.client(peer, IN_FLIGHT)
            idle_kb = rss_kb(peer.pid)
            seen = self.window(peer, client, provider, order, SLOW_SKIP_S + seconds, tries=1)
            self.note(name, "slow_cpu_us", seen["cpu_us"])
            self.note(name, "slow_kb", (seen["rss"] - idle_kb) / IN_FLIGHT)
            self.note(name, "idle_mb", idle_kb / 1024)
            progress("1,000 in flight", name)
            self.drop(client)
            self.drop(peer)
        self.stop_all()

    # -- the result

    def result(self):
        options = self.options
        values = {name: {key: statistics.median(each) for key, each in keys.items()}
                  for name, keys in self.rounds.items()}
        ratios = {}
        for base in ("nginx", "nginx-lua"):
            for name in self.names:
                if base in values and name in values and name != base:
                    ratios.setdefault(name, {})[base] = {
                        key: round(values[name][key] / values[base][key], 3)
                        for key, _, _ in measures(options)
                        if values[base].get(key, 0) > 0 and values[name].get(key, 0) > 0}
        return {
            "profile": options.profile, "seconds": options.seconds, "rounds": options.rounds,
            "slow_seconds": options.slow_seconds, "slow_rounds": options.slow_rounds,
            "kernel": platform.release(), "cores": os.cpu_count(), "placement": self.cpus.describe(),
            "windows": len(self.foreign), "disturbed": sum(each > FOREIGN_CORES for each in self.foreign),
            "medians": values, "ratios": ratios, "rounds_raw": self.rounds,
            "missing": self.missing, "failed": self.failed, "wrong": self.wrong,
        }


def measures(options):
    return streams.MEASURES if options.profile == "streams" else MEASURES


def all_cpu_ns():
    """What the whole machine was busy with: everything but idle and waiting for disks."""
    with open("/proc/stat") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) * 10**9 // os.sysconf("SC_CLK_TCK")


def progress(what, name):
    if sys.stderr.isatty():
        print("\r\033[K%s: %s" % (what, name), end="", file=sys.stderr, flush=True)


def quartiles(values):
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 4], ordered[-1 - (len(ordered) - 1) // 4]


def print_table(result, names, rows):
    print("%-36s %-10s %10s  %-17s %9s %13s" % ("", "", "median", "quartiles", "to nginx", "to nginx-lua"))
    for key, title, form in rows:
        for name in names:
            each = result["rounds_raw"].get(name, {}).get(key)
            if not each:
                continue
            low, high = quartiles(each)
            ratios = [result["ratios"].get(name, {}).get(base, {}).get(key) for base in ("nginx", "nginx-lua")]
            shown = ["%.2f" % ratio if ratio is not None and not key.endswith("busy") else "" for ratio in ratios]
            print("%-36s %-10s %10s  %-17s %9s %13s" % (
                title, name, form % result["medians"][name][key], (form + " .. " + form) % (low, high), *shown))
            title = ""
    direct = result["medians"].get("direct", {})
    if "p50_us" in direct:
        print("%-36s %-10s %10.0f" % ("p50, us, no server between", "direct", direct["p50_us"]))
        print("%-36s %-10s %10.0f" % ("p99, us, no server between", "direct", direct["p99_us"]))


def print_cost_of_seeing(result):
    """What it costs that all is written down. Each round's windows are compared with each other: what
    disturbs the machine for longer than a round is in both."""
    rounds = result["rounds_raw"]
    for name in result["medians"]:
        for key, what in (("cpu_us", "32 connections"), ("rate_cpu_us", "1,000/s")):
            pairs = list(zip(rounds.get(name, {}).get(key, []), rounds.get("neap-quiet", {}).get(key, [])))
            if not pairs or not name.startswith("neap") or name == "neap-quiet":
                continue
            more = statistics.median(seen / quiet for seen, quiet in pairs)
            goal = "; goal at most 5 %%: %s" % ("met" if more <= 1.05 else "missed") if name == "neap-seen" else ""
            print("%s to neap-quiet, CPU a request, %s: %+.1f %%%s" % (name, what, (more - 1) * 100, goal))


def print_goals(result):
    """The goals of the issue that asked for this benchmark; they inform and gate nothing."""
    print_cost_of_seeing(result)
    neap = result["medians"].get("neap")
    if result["profile"] == "streams":
        for line in streams.goals(result):
            print(line)
    if result["profile"] != "reply" or not neap:
        return
    ratios = result["ratios"].get("neap", {})
    for text, got, most in (
            ("CPU a request at most 1.0 times nginx-lua's", ratios.get("nginx-lua", {}).get("cpu_us"), 1.0),
            ("added p50 at most 1.5 times nginx's", ratios.get("nginx", {}).get("added_p50_us"), 1.5),
            ("at most 35 KB RSS a request in flight", neap.get("slow_kb"), 35)):
        if got is not None:
            print("goal: %s: %.2f, %s" % (text, got, "met" if got <= most else "missed"))


def print_result(bench, result):
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print("profile %s, %s" % (result["profile"], result["placement"]))
    if result["windows"]:
        print("other processes used more than %g cores in %d of %d windows%s" % (
            FOREIGN_CORES, result["disturbed"], result["windows"],
            ": too many to trust latencies" if result["disturbed"] * 4 > result["windows"] else ""))
    print_table(result, list(bench.options.peers), measures(bench.options))
    print_goals(result)
    for name, reason in result["missing"].items():
        print("%s: not measured: %s" % (name, reason))
    for name, reason in result["failed"].items():
        print("%s: FAILED: %s" % (name, reason))
    for name, windows in result["wrong"].items():
        print("%s: WRONG REPLIES in %d windows, the first: %s" % (name, len(windows), json.dumps(windows[0])))


def parse(arguments):
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, help="length of a window (1)")
    parser.add_argument("--rounds", type=int, help="windows of each peer in each test (9)")
    parser.add_argument("--slow-rounds", type=int, help="the same for the test with 1,000 in flight (3)")
    parser.add_argument("--quick", action="store_true", help="about half a minute: fewer rounds")
    parser.add_argument("--peers", help="of nginx,nginx-lua,neap (all that are there), neap-quiet, neap-seen")
    parser.add_argument("--profile", choices=("reply", "pass", "streams"), default="reply",
                        help="reply: POST /api/assistant/reply; pass: POST /v1/chat/completions; "
                        "streams: streamed answers")
    parser.add_argument("--neap", metavar="FILE", help="the binary (build/release/neap)")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    parser.add_argument("--tools", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.named = options.peers is not None
    options.peers = options.peers.split(",") if options.named else list(peers.USUAL)
    for name in options.peers:
        if name not in peers.PEERS:
            parser.error("there is no peer %s; there are: %s" % (name, ", ".join(peers.PEERS)))
    options.seconds = 1.0 if options.seconds is None else options.seconds
    options.rounds = options.rounds or (2 if options.quick else 9)
    options.slow_rounds = options.slow_rounds or (1 if options.quick else 3)
    if options.profile == "streams" and not options.named:
        options.peers = list(streams.PEERS)
    options.tries = 2 if options.quick else TRIES
    options.slow_seconds = max(1.0, options.seconds) * (1 if options.quick else 2)
    if not 0.1 <= options.seconds <= 60 or not 1 <= options.rounds <= 100:
        parser.error("--seconds is from 0.1 to 60, --rounds from 1 to 100")
    if options.neap:
        peers.Neap.binary = os.path.abspath(options.neap)
    return options


def measure(options):
    """Everything in turn; answers the bench and its result."""
    bench = Bench(options, options.tools)
    os.sched_setaffinity(0, bench.cpus.client)
    try:
        if options.profile == "streams":
            streams.measure(bench)
        else:
            bench.measure_fast()
            bench.measure_slow()
    finally:
        bench.stop_all()
    return bench, bench.result()


def main(arguments):
    options = parse(arguments)
    bench, result = measure(options)
    print_result(bench, result)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    if bench.wrong:
        return 1
    if bench.failed or (options.named and bench.missing) or not bench.names:
        return 3
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    try:
        sys.exit(main(sys.argv[1:]))
    except (Failed, Missing, OSError) as stopped:
        print("bench: %s" % stopped, file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        sys.exit(3)
