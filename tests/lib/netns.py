"""A network of a test's own: nothing in it but loopback, with a resolver that says what the test wants."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading

RESOLVER = "127.0.0.53"
MARK = "NEAP_TEST_NETNS"


def possible():
    """Whether enter() would work here."""
    apart = ["unshare", "--net", "--mount"] + ([] if os.getuid() == 0 else ["--map-root-user"])
    try:
        return bool(shutil.which("nft")) and subprocess.run([*apart, "true"], check=False).returncode == 0
    except OSError:
        return False


def enter():
    """Runs the calling script anew in namespaces of its own, network and mounts; ends the script as
    skipped where the kernel does not allow that."""
    if os.environ.get(MARK):
        command("ip", "link", "set", "lo", "up")
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            conf.write(f"nameserver {RESOLVER}\n")
            conf.flush()
            os.chmod(conf.name, 0o644)
            command("mount", "--bind", conf.name, "/etc/resolv.conf")
        return
    apart = ["unshare", "--net", "--mount"] + ([] if os.getuid() == 0 else ["--map-root-user"])
    tried = subprocess.run([*apart, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        print(f"skipped: no network namespace of its own: {tried.stderr.strip()}")
        sys.exit(77)
    os.environ[MARK] = "yes"
    os.execvp(apart[0], [*apart, sys.executable, *sys.argv])


def command(*args):
    subprocess.run(args, check=True, capture_output=True, text=True)


class Firewall:
    """Rules on what arrives on loopback; each ends with remove()."""

    TABLE = ("inet", "neap_test")

    def __init__(self):
        command("nft", "add", "table", *self.TABLE)
        command("nft", "add", "chain", *self.TABLE, "in", "{ type filter hook input priority 0; }")

    def add(self, *rule):
        command("nft", "add", "rule", *self.TABLE, "in", *map(str, rule))

    def clear(self):
        command("nft", "flush", "chain", *self.TABLE, "in")


A, CNAME, AAAA = 1, 5, 28


def encode(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def record(name, kind, value):
    """A record of an answer: an address, or another name."""
    if kind == CNAME:
        data = encode(value)
    else:
        data = socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, value)
    return encode(name) + struct.pack(">HHIH", kind, 1, 0, len(data)) + data


class Resolver(threading.Thread):
    """Answers questions over UDP. names: a name's records as (name, kind, value), or the number of a
    refusal, or None for silence, or bytes; what is not named does not exist."""

    NO_NAME = 3

    def __init__(self, names):
        super().__init__(daemon=True)
        self.names = names
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        self.start()

    def run(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(4096)
                reply = self.reply(query)
                if reply is not None:
                    self.socket.sendto(reply, peer)
            except OSError:
                return

    def reply(self, query):
        at, parts = 12, []
        while query[at]:
            parts.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
        question = query[12 : at + 5]
        name = ".".join(parts)
        self.asked.append(name)
        found = self.names.get(name, self.NO_NAME)
        if found is None:
            return None
        if isinstance(found, bytes):
            return query[:2] + found
        refusal = found if isinstance(found, int) else 0
        rows = [] if refusal else [r for r in found if r[1] in (kind, CNAME)]
        head = query[:2] + struct.pack(">HHHHH", 0x8180 | refusal, 1, len(rows), 0, 0)
        return head + question + b"".join(record(*row) for row in rows)

    def stop(self):
        self.socket.close()

    def tail(self):
        return f"--- resolver: {self.asked[-10:]}"
