"""The streams of the benchmark: many open at once, through each peer in turn; see README.md beside this file."""

import os

import peers
from peers import Client, Provider, rss_kb

# Key and title, streams, chunks of each, ms between two, and the window: seconds in which they are opened, until
# counting begins, and of counting.
LOADS = (
    ("fast", "500 x 50 chunks a second", 500, 200, 20, (2, 4, 3)),
    ("many", "4,000 x 2 chunks a second", 4000, 8, 500, (3, 6, 5)),
)
PEERS = ("nginx", "neap")
# By load: greatest ratio of CPU a chunk to nginx's; and KB RSS a stream.
GOALS = {"fast": 1.3, "many": 2.0}
GOAL_KB = 30

MEASURES = tuple(
    (key + "_" + each, title, form)
    for key, load, *_ in LOADS
    for each, title, form in (
        ("chunk_us", "CPU us a chunk, " + load.replace(" chunks a second", "/s"), "%.2f"),
        ("busy", "  its core's use meanwhile, %", "%.0f"),
        ("added_p50_us", "  added to the first token, p50, us", "%.0f"),
        ("added_p99_us", "  the same, p99, us", "%.0f"),
        ("kb", "  KB RSS a stream", "%.1f"),
    ))


def question():
    return os.path.join(peers.HERE, "data", "stream_request.json")


def turn(bench, name, provider, load):
    """Opens a load's streams through a fresh process of the peer, and notes what it took."""
    key, _, count, chunks, _, (ramp, skip, seconds) = load
    peer = bench.start_peer(name, provider, lambda peer: peers.check_stream(peer, question(), chunks))
    if peer is None:
        return
    client = bench.own(Client(bench.temp, bench.cpus, [
        os.path.join(bench.options.tools, "streams"), str(peer.port), peer.path, question(), str(count)]))
    idle_kb = rss_kb(peer.pid)
    seen = bench.window(peer, client, provider, "%g %g %g" % (ramp, skip, seconds), skip + seconds, tries=1)
    bench.note(name, key + "_chunk_us", seen["cpu_us"])
    bench.note(name, key + "_busy", seen["busy"])
    bench.note(name, key + "_kb", (seen["rss"] - idle_kb) / count)
    for quantile in ("p50_us", "p99_us"):
        bench.note(name, "%s_%s" % (key, quantile), seen[quantile])
    if seen["open"] != count:
        bench.wrong.setdefault(name, []).append(dict(seen, load=key))
    bench.drop(client)
    bench.drop(peer)


def measure(bench):
    """Every round each load goes through each peer and, to know what the way itself takes, past them."""
    for load in LOADS:
        key, title, _, chunks, gap_ms, _ = load
        for name in bench.turns(["direct"] + list(bench.names), bench.options.slow_rounds):
            if name != "direct" and name not in bench.names:
                continue
            provider = bench.own(Provider(bench.options.tools, bench.temp, bench.cpus, 0,
                                          stream=(chunks, gap_ms)))
            turn(bench, name, provider, load)
            bench.drop(provider)
            bench.progress(title, name)
        direct = bench.rounds.get("direct", {})
        for name in bench.names:
            for quantile in ("p50_us", "p99_us"):
                mine = bench.rounds.get(name, {}).get("%s_%s" % (key, quantile), [])
                for with_peer, without in zip(mine, direct.get("%s_%s" % (key, quantile), [])):
                    bench.note(name, "%s_added_%s" % (key, quantile), with_peer - without)
    bench.stop_all()


def goals(result):
    """What the issue that asked for these figures wants, as lines."""
    neap, ratios = result["medians"].get("neap", {}), result["ratios"].get("neap", {}).get("nginx", {})
    for key, title, *_ in LOADS:
        rows = (("CPU a chunk at most %g times nginx's" % GOALS[key], ratios.get(key + "_chunk_us"), GOALS[key]),
                ("at most %g KB RSS a stream" % GOAL_KB, neap.get(key + "_kb"), GOAL_KB))
        for text, got, most in rows:
            if got is not None:
                yield "goal: %s: %s: %.2f, %s" % (title, text, got, "met" if got <= most else "missed")
