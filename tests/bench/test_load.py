"""The bench's own client: what it counts as broken is the server's doing."""

import os
import socket
import subprocess
import tempfile
import threading
import unittest

import case
import procs
import stub

CONNECTIONS = 8


class Server:
    """Answers each request, and closes what rests when it is told to."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.conns = []
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self.conns.append(conn)
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        try:
            while conn.recv(65536):  # a request is one piece here
                conn.sendall(stub.reply({"text": "well"}))
        except OSError:
            pass

    def close_what_rests(self):
        for conn in self.conns:
            conn.shutdown(socket.SHUT_RDWR)
        self.conns = []

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.close_what_rests()


class Load(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.stop)
        folder = tempfile.TemporaryDirectory(prefix="neap-load-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        with open(self.path("body"), "w", encoding="ascii") as f:
            f.write("{}")

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, source, *args):
        where = os.path.join(procs.SOURCE, "tests", source)
        subprocess.run(["cc", "-std=c17", "-O2", "-o", self.path("client"), where], check=True)
        process = subprocess.Popen(
            [self.path("client"), str(self.server.port), "/", self.path("body"), *args],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.addCleanup(process.wait, 10)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)
        return process

    def report(self, process, order):
        """The JSON line that ends what was ordered."""
        process.stdin.write(order + "\n")
        process.stdin.flush()
        line = next(line for line in process.stdout if line.startswith("{"))
        case.say(line.strip()[:160])
        return line

    def test_a_connection_that_was_closed_between_two_windows_is_not_asked_on(self):
        load = self.start("bench/load.c", "well", str(CONNECTIONS))
        self.report(load, "rate 100 0 0.3")
        self.server.close_what_rests()
        self.assertIn('"broken": 0,', self.report(load, "rate 100 0 0.3"))

    def test_neither_does_the_flood_between_two_schedules(self):
        flood = self.start("hostile/flood.c", str(CONNECTIONS))
        self.report(flood, "open 100 0.3")
        self.server.close_what_rests()
        self.assertIn('"broken": {"n": 0,', self.report(flood, "open 100 0.3"))


if __name__ == "__main__":
    case.main()
