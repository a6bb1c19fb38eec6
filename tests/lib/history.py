"""What a fleet's Redis and journals said over time, held against the rules of money: what is lent stays
under the limit, nothing that only grows falls, whatever was spent was lent before, and each attempt ends
once."""

import contextlib
import os
import socket
import sqlite3
import threading

PAUSE_S = 0.02


class Wire:
    """As much of Redis's protocol as reading hashes needs."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=2)
        self.file = self.socket.makefile("rb")

    def ask(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.socket.sendall(b"".join(parts))
        return self.read()

    def read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind == b"$" and int(rest) >= 0:
            return self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b":":
            return int(rest)
        if kind in (b"+", b"$"):
            return rest.decode()
        raise OSError(line.decode(errors="replace"))

    def close(self):
        self.file.close()
        self.socket.close()


class History:
    """unseen: what may be lent above the limit, for an instance that dies together with the store's memory of
    what it was lent."""

    def __init__(self, port, states, limit, unseen=0):
        self.port, self.states, self.limit, self.unseen, self.most = port, states, limit, unseen, 0
        self.faults, self.samples, self.epochs = [], 0, set()
        self.store, self.journals, self.servers = {}, {}, 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def fault(self, text):
        if len(self.faults) < 20:
            self.faults.append(text)

    # -- while it runs

    def watch(self):
        wire = None
        while not self.stopping.wait(PAUSE_S):
            try:
                if not wire:
                    wire = Wire(self.port)
                    self.servers += 1  # perhaps one with an old memory
                for key in wire.ask("KEYS", "neap:{global/*"):
                    words = wire.ask("HGETALL", key)
                    self.look_at_store(key, dict(zip(words[::2], words[1::2])))
            except (OSError, ValueError):
                if wire:
                    wire.close()
                wire = None
            for state in self.states:
                with contextlib.suppress(sqlite3.Error):
                    self.look_at_journal(state)
            self.samples += 1
        if wire:
            wire.close()

    def grows(self, where, before, now):
        for name, value in before.items():
            if now.get(name, 0) < value:
                self.fault(f"{where}: {name} fell from {value} to {now.get(name, 0)}")

    def look_at_store(self, key, fields):
        """Rules 1 and 5: what is taken of the limit, and that all of it only grows within an epoch."""
        counts = {f: int(v) for f, v in fields.items() if f[:2] in ("g:", "r:", "s:")}
        held = sum(
            max(value - counts.get("r:" + name[2:], 0), counts.get("s:" + name[2:], 0))
            for name, value in counts.items()
            if name.startswith("g:")
        )
        self.most = max(self.most, held)
        if held > self.limit + self.unseen:
            self.fault(f"{key}: {held} of {self.limit} are lent: {sorted(fields.items())}")
        epoch = (key, fields.get("epoch"), self.servers)
        self.epochs.add(epoch)
        self.grows(f"{key} in epoch {epoch[1]}", self.store.get(epoch, {}), counts)
        self.store[epoch] = counts

    def look_at_journal(self, state):
        """Rule 5, over every death: what an instance knows of anybody only grows."""
        path = os.path.join(state, "neap-journal.db")
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as db:
            rows = db.execute(
                "SELECT account, start_ms, instance, granted, returned, exact + estimated + presumed"
                " FROM vectors WHERE account GLOB 'global/*'"
            ).fetchall()
        now = {f"{row[0]} {row[1]} {row[2]} {kind}": row[3 + i] for row in rows
               for i, kind in enumerate("grs")}
        self.grows(f"journal {state}", self.journals.get(state, {}), now)
        self.journals[state] = now

    # -- when all is over

    def settled(self, state):
        """Rules 1 to 4, of one instance that has ended."""
        path = os.path.join(state, "neap-journal.db")
        with contextlib.closing(sqlite3.connect(path)) as db:
            own = db.execute(
                "SELECT account, granted - returned, exact + estimated + presumed, limit_nusd FROM vectors"
                " WHERE instance = (SELECT instance FROM self) AND account GLOB 'global/*'"
            ).fetchall()
            above = db.execute("SELECT count(*) FROM settlements WHERE cost_nusd > reserved_nusd").fetchone()[0]
            twice = db.execute(
                "SELECT count(*) FROM (SELECT 1 FROM settlements WHERE calls = 1"
                " GROUP BY request, attempt HAVING count(*) > 1)"
            ).fetchone()[0]
            sums = db.execute(
                "SELECT (SELECT coalesce(sum(cost_nusd), 0) FROM settlements),"
                " (SELECT coalesce(sum(cost_nusd), 0) FROM totals)"
            ).fetchone()
        for account, leased, settled, _ in own:
            if settled > leased:
                self.fault(f"{state} {account}: {settled} spent, {leased} lent")
        if above:
            self.fault(f"{state}: {above} attempts cost more than was reserved")
        if twice:
            self.fault(f"{state}: {twice} attempts ended twice")
        if sums[0] != sums[1]:
            self.fault(f"{state}: rows {sums[0]}, totals {sums[1]}")

    def end(self):
        """Stops watching, looks at what is left; the faults."""
        self.stopping.set()
        self.thread.join()
        for state in self.states:
            self.settled(state)
        return self.faults


