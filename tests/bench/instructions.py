"""Counts the instructions that neap takes for a request, by thread and function, with valgrind's callgrind: a
figure that does not depend on what else the machine does. What the kernel does is not in it.

    python3 tests/bench/instructions.py [--seconds N] [--top N] [--neap FILE] PEER [PEER]

Of two peers (neap-quiet neap-seen) it shows where they differ. Threads that work by the clock (keeper, monitor)
count for far more than they do at full load. See README.md beside this file.
Exit status: 0 counted, 2 the command is wrong, 3 something did not run.
"""

import argparse
import collections
import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import peers

MARKER = "self-service portal"
CONNECTIONS = 2  # so slow a server would shed what more of them ask


def wait_for_port(process, port, log):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            raise peers.Failed("ended with status %d: %s" % (process.returncode, peers.tail(log)))
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise peers.Failed("does not listen after 60 s: " + peers.tail(log))


def watched(start, out):
    """Starts servers under callgrind, everything else as `start` does."""
    def begin(command, *args, **kw):
        if "serve" in command:
            command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes",
                       "--callgrind-out-file=" + out, *command]
        return start(command, *args, **kw)
    return begin


def measure(name, seconds, tools, temp):
    """Runs one peer; where callgrind's files begin."""
    out = os.path.join(temp, name + ".out")
    start, peers.start = peers.start, watched(peers.start, out)
    cpus, running = peers.Cpus(), []

    def own(thing):
        running.append(thing)
        return thing

    def tell(peer, *words):
        subprocess.run(["callgrind_control", *words, str(peer.pid)], check=True, capture_output=True)

    try:
        provider = own(peers.Provider(tools, temp, cpus, 0))
        peer = own(peers.PEERS[name](temp, cpus, provider, "reply"))
        question = os.path.join(peers.HERE, "data", "request.json")
        peers.check_answer(peer, question)
        client = own(peers.Client(temp, cpus, [os.path.join(tools, "load"), str(peer.port), peer.path, question,
                                               MARKER, str(CONNECTIONS)]))
        client.window("closed 1 2 4", 20, time.monotonic)
        tell(peer, "--instr=on")
        tell(peer, "--zero")
        _, _, seen = client.window("closed 0.2 0.1 %g" % seconds, seconds + 30, time.monotonic)
        tell(peer, "--dump")
        if seen["errors"]:
            raise peers.Failed("%d wrong replies" % seen["errors"])
    finally:
        for thing in reversed(running):
            thing.stop()
        peers.start = start
    return out + ".1-"


def read(file):
    """By function: instructions of its own, with those that it calls, and calls of it."""
    own, all_of, calls = (collections.Counter() for _ in range(3))
    names = {}
    function = called = None
    is_call = False

    def name_of(text):
        number, name = re.match(r"\((\d+)\)(?: (.*))?$", text).groups()
        return names.setdefault(number, name)

    with open(file, errors="replace") as lines:
        for line in lines:
            if line.startswith("fn="):
                function = name_of(line[3:].rstrip())
            elif line.startswith("cfn="):
                called = name_of(line[4:].rstrip())
            elif line.startswith("calls="):
                calls[called] += int(line[6:].split()[0])
                is_call = True
            elif line[:1] in set("0123456789+-*") and len(line.split()) == 2:
                cost = int(line.split()[1])
                if not is_call:
                    own[function] += cost
                if not is_call or called != function:
                    all_of[function] += cost
                is_call = False
    return own, all_of, calls


def counted(prefix):
    """Of all threads, per request; and the threads' sums."""
    sums = [collections.Counter() for _ in range(3)]
    threads = {}
    for file in sorted(glob.glob(prefix + "*")):
        parts = read(file)
        threads[file[len(prefix):]] = sum(parts[0].values())
        for whole, part in zip(sums, parts):
            whole.update(part)
    n = sums[2]["np_account_close"]
    if not n:
        raise peers.Failed("no request was counted: is the binary stripped?")
    return [{key: value / n for key, value in part.items()} for part in sums], {
        key: value / n for key, value in threads.items()}, n


def show(name, result, before, top):
    (own, all_of, calls), threads, n = result
    print("%s: %.0f instructions a request (%d requests)" % (name, sum(threads.values()), n))
    print("  threads: " + ", ".join("%s %.0f" % item for item in threads.items() if item[1] >= 50))
    old = before[0][0] if before else {}
    if before:
        more = sum(threads.values()) - sum(before[1].values())
        print("  %+.0f to the first, %+.1f %%" % (more, 100 * more / sum(before[1].values())))
    print("  %9s %9s %9s %7s" % ("more" if before else "own", "own", "with all", "calls"))
    ordered = sorted(set(own) | set(old), key=lambda f: -abs(own.get(f, 0) - old.get(f, 0)))
    for function in ordered[:top]:
        print("  %9.0f %9.0f %9.0f %7.2f %s" % (own.get(function, 0) - old.get(function, 0), own.get(function, 0),
                                               all_of.get(function, 0), calls.get(function, 0), function))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="+", choices=[name for name in peers.PEERS if name.startswith("neap")])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("--neap", default=peers.Neap.binary)
    options = parser.parse_args()
    peers.Neap.binary = os.path.abspath(options.neap)
    peers.wait_for_port = wait_for_port
    temp = tempfile.mkdtemp(prefix="neap-bench-")
    try:
        for tool in ("load", "upstream"):
            subprocess.run(["gcc", "-std=c17", "-O2", "-o", os.path.join(temp, tool),
                            os.path.join(peers.HERE, tool + ".c")], check=True)
        first = None
        for name in options.peers:
            result = counted(measure(name, options.seconds, temp, temp))
            show(name, result, first, options.top)
            first = first or result
    except (peers.Failed, peers.Missing, OSError, subprocess.CalledProcessError) as error:
        print("instructions: %s" % error, file=sys.stderr)
        return 3
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
