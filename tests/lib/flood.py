"""Clients that ask whether or not they are answered, and a provider that takes its time: both in C, built in
a folder of their own. See hostile/flood.c and bench/upstream.c."""

import json
import os
import socket
import subprocess
import tempfile

import procs

REPLY = os.path.join(procs.SOURCE, "tests", "bench", "data", "reply.json")


class Tools:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="neap-flood-")
        for name, source in (("flood", "hostile/flood.c"), ("upstream", "bench/upstream.c")):
            subprocess.run(
                ["cc", "-std=c17", "-O2", "-o", self.path(name), os.path.join(procs.SOURCE, "tests", source)],
                check=True,
            )

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def close(self):
        self.folder.cleanup()


class Provider:
    """Answers each call after so many milliseconds, however many there are."""

    def __init__(self, tools, delay_ms):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [tools.path("upstream"), str(port), "/v1/chat/completions", REPLY, str(delay_ms)]
        )

    def stop(self):
        self.process.kill()
        self.process.wait()


class Flood:
    def __init__(self, tools, port, body, path, connections=2000):
        with open(tools.path("body.json"), "w", encoding="utf-8") as f:
            json.dump(body, f)
        self.process = subprocess.Popen(
            [tools.path("flood"), str(port), path, tools.path("body.json"), str(connections)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *phases):
        """What came of each phase; a phase is (rate a second, seconds)."""
        self.process.stdin.write(" ".join(f"open {rate:.3f} {s}" for rate, s in phases) + "\n")
        self.process.stdin.flush()
        return [json.loads(self.process.stdout.readline()) for _ in phases]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
