"""neap as a process: how it starts, what it says when it can't, its signals, its exit statuses, and
the commands beside serve."""

import os
import re
import signal
import socket
import tempfile
import time

import case
import policies as sets
import procs
import wire


def simple(url="http://127.0.0.1:9"):
    files = sets.Policies(url)
    files.provider("p")
    files.model("m", "p")
    files.endpoint("assistant", ["m"])
    return files


PORTS = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


class Start(case.Case):
    scenario = False

    def refused(self, status, args, env=(), cwd=None):
        """The one thing that a command that can't run says."""
        got, out, err = procs.run(*args, env=env, cwd=cwd)
        self.assertEqual(got, status, err)
        self.assertEqual(out, "")
        self.assertTrue(err.startswith("neap"), err)
        return err

    def one_line(self, *args, **kw):
        err = self.refused(*args, **kw)
        self.assertEqual(err.count("\n"), 1, err)
        return err

    def test_a_port_in_use_is_told_in_one_line_with_status_3(self):
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        path = simple().write().path
        err = self.one_line(3, ("serve", "--policies", path, "--listen", where, *PORTS[2:]))
        self.assertIn(where, err)
        self.assertIn("in use", err)
        err = self.one_line(3, ("serve", "--policies", path, *PORTS[:2], "--admin", where))
        self.assertIn(where, err)
        err = self.one_line(3, ("mock", "--listen", where))
        self.assertIn(where, err)

    def test_a_second_neap_on_the_same_port_does_not_start(self):
        first = procs.Serve(simple())
        self.addCleanup(first.stop)
        where = f"127.0.0.1:{first.port}"
        path = simple().write().path
        err = self.one_line(3, ("serve", "--policies", path, "--listen", where, *PORTS[2:]))
        self.assertIn("in use", err)

    def test_a_wrong_flag_is_told_with_status_2(self):
        for args, words in (
            (("--lisen", "127.0.0.1:0"), "did you mean --listen?"),
            (("--workers", "0"), "1 to 64"),
            (("--workers", "many"), '"many"'),
            (("--listen",), "needs a value"),
            (("--on-store-loss", "share:none"), "share:N"),
            (("--store", "nowhere"), "memory:"),
            (("--record-bodies",), "--decisions"),
            (("surplus",), "surplus"),
            (("--admin", "0.0.0.0:0"), "NEAP_ADMIN_TOKEN"),
        ):
            with self.subTest(args=args):
                self.assertIn(words, self.one_line(2, ("serve", *args)))
        self.assertIn("did you mean", self.one_line(2, ("serv",)))

    def test_an_address_that_is_none_is_told_with_status_2(self):
        for where in ("nonsense", "127.0.0.1", "127.0.0.1:99999", "host.example:80", ""):
            for command, flag in (("serve", "--listen"), ("serve", "--admin"), ("mock", "--listen")):
                with self.subTest(where=where, command=command, flag=flag):
                    err = self.one_line(2, (command, flag, where))
                    self.assertIn(f"{flag} must be ADDRESS:PORT", err)
                    self.assertIn(f'got "{where}"', err)

    def test_a_policy_set_that_is_not_there_is_told_with_status_3(self):
        err = self.refused(3, ("serve", "--policies", "/nowhere/at/all", *PORTS))
        self.assertIn("/nowhere/at/all", err)

    def test_a_broken_policy_set_is_told_with_file_and_line_and_status_1(self):
        files = simple()
        files.files["route.lua"] = "return function(req)\n  return { \n"
        files.models["m"]["provider"] = "q"
        files.model("n", "p", tiers="premium")
        err = self.refused(1, ("serve", "--policies", files.write().path, *PORTS))
        self.assertRegex(err, r"(?m)^route\.lua:\d+(:\d+)?: N\d{3} ")
        self.assertRegex(err, r"(?m)^models\.lua:3:\d+: N\d{3} .*q")
        self.assertRegex(err, r"(?m)^models\.lua:19:\d+: N\d{3} .*did you mean .?tier")

    def test_a_missing_key_is_told_by_name(self):
        files = simple()
        files.providers["p"]["api_key"] = sets.env("NEAP_NO_SUCH_KEY")
        err = self.refused(1, ("serve", "--policies", files.write().path, *PORTS))
        self.assertRegex(err, r"providers\.lua:\d+:\d+: N\d{3} .*NEAP_NO_SUCH_KEY")
        files.providers["p"]["api_key"] = sets.file("/nowhere/key")
        err = self.refused(1, ("serve", "--policies", files.write().path, *PORTS))
        self.assertIn("/nowhere/key", err)

    def test_without_tenants_only_loopback_may_listen(self):
        path = simple().write().path
        err = self.refused(1, ("serve", "--policies", path, "--listen", "0.0.0.0:0", *PORTS[2:]))
        self.assertIn("tenants", err)

    def test_the_set_in_the_current_folder_is_the_default(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.symlink(simple().write().path, os.path.join(folder.name, "nothing"))
        os.mkdir(os.path.join(folder.name, "policies"))
        with open(os.path.join(folder.name, "policies", "models.lua"), "w", encoding="utf-8") as f:
            f.write("return {\n")
        err = self.refused(1, ("serve", *PORTS), cwd=folder.name)
        self.assertRegex(err, r"(?m)^models\.lua:\d")

    def test_every_flag_has_a_twin_in_the_environment(self):
        files = simple().write()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        place = {name: os.path.join(folder.name, name) for name in ("log", "decisions")}
        env = {
            "NEAP_POLICIES": files.path,
            "NEAP_LISTEN": "127.0.0.1:0",
            "NEAP_ADMIN": "127.0.0.1:0",
            "NEAP_STORE": "memory:",
            "NEAP_WORKERS": "1",
            "NEAP_HOSTS": "twin.example",
            "NEAP_LOG": place["log"],
            "NEAP_DECISIONS": place["decisions"],
            "NEAP_RECORD_BODIES": "1",
            "NEAP_DRAIN_SECONDS": "5",
            "NEAP_MAX_CONNECTIONS": "100",
            "NEAP_MAX_CONNECTIONS_PER_ADDRESS": "50",
            "NEAP_MAX_INFLIGHT": "20",
            "NEAP_MAX_WAIT_MS": "200",
            "NEAP_SIMULATE": "true",
        }
        process = procs.Process()
        process.launch(["serve"], env)
        try:
            def started():
                if not os.path.exists(place["log"]):
                    return None
                with open(place["log"], encoding="utf-8") as f:
                    return re.search(r"started port=(\d+) admin_port=\d+ workers=1 simulate=true",
                                     f.read())

            found = procs.wait_for(started, 10)
            self.assertTrue(found, process.tail())
            reply = wire.ask(int(found.group(1)), body={"prompt": "my words"}, host="twin.example")
            self.assertGood(reply)
        finally:
            process.stop()
        with open(place["decisions"], encoding="utf-8") as f:
            self.assertIn("my words", f.read())

    def test_a_flag_goes_before_its_twin_and_a_wrong_twin_is_named(self):
        server = procs.Serve(simple(), env={"NEAP_WORKERS": "7"}, workers=1)
        self.addCleanup(server.stop)
        self.assertEqual(server.status()["workers"], 1)
        err = self.one_line(2, ("serve",), env={"NEAP_WORKERS": "x"})
        self.assertIn("NEAP_WORKERS", err)


class Ends(case.Case):
    """Each test ends a server."""

    scenario = 'return { models = { ["*"] = { text = "late", first_ms = 800, total_ms = 800 } } }'

    def setUp(self):
        self.server = self.serve(simple(self.mock.url))
        self.addCleanup(self.server.stop)
        self.started = [self.server]

    def in_flight(self):
        before = self.mock.calls()["calls"]
        conn = self.server.conn()
        self.addCleanup(conn.close)
        conn.send(wire.request(body={"prompt": "a"}))
        self.assertTrue(procs.wait_for(lambda: self.mock.calls()["calls"] > before))
        return conn

    def refuses_connections(self):
        try:
            self.server.conn(timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False

    def test_sigterm_lets_what_is_in_flight_finish_and_exits_0(self):
        # Long enough for all that is looked at meanwhile, on a busy machine too.
        self.mock.control(m={"text": "late", "first_ms": 3000, "total_ms": 3000})
        self.addCleanup(self.mock.control)
        busy, idle = self.in_flight(), self.server.conn()
        self.addCleanup(idle.close)
        self.assertEqual(idle.ask("GET", "/nothing").status, 404)
        process = self.server.process
        self.server.signal(signal.SIGTERM)
        began = time.monotonic()
        self.assertTrue(idle.closes(2), "an idle connection stays open")
        ready = procs.wait_for(lambda: self.server.admin("GET", "/readyz").status == 503, 2)
        self.assertTrue(ready, "it says that it is ready while it drains")
        # Each worker has a listening socket, and closes it as soon as it hears of the end.
        self.assertTrue(procs.wait_for(self.refuses_connections, 2), "new connections are taken while it drains")
        self.assertGood(busy.reply(), text="late")
        self.assertTrue(busy.closes())
        self.assertEqual(self.server.wait(), 0)
        case.say(f"drained in {(time.monotonic() - began) * 1000:.0f} ms, status {process.returncode}")

    def test_a_request_on_a_new_connection_while_draining_is_told_503(self):
        busy, fresh = self.in_flight(), self.server.conn()
        self.addCleanup(fresh.close)
        time.sleep(0.05)
        self.server.signal(signal.SIGTERM)
        self.assertTrue(procs.wait_for(lambda: "draining" in self.server.log(), 2))
        reply = fresh.ask(body={"prompt": "b"})
        self.assertError(reply, 503, "draining")
        self.assertEqual(reply.get("Retry-After"), "1")
        self.assertTrue(fresh.closes())
        self.assertGood(busy.reply())
        self.assertEqual(self.server.wait(), 0)

    def test_a_pipelined_request_ends_with_its_connection_while_draining(self):
        busy = self.in_flight()
        self.server.signal(signal.SIGTERM)
        self.assertTrue(procs.wait_for(lambda: "draining" in self.server.log(), 2))
        busy.send(wire.request(body={"prompt": "b"}))
        reply = busy.reply()
        self.assertGood(reply)
        self.assertEqual(reply.get("Connection"), "close")
        self.assertTrue(busy.closes())
        self.assertEqual(busy.buffer, b"")
        self.assertEqual(self.server.wait(), 0)

    def test_a_second_sigterm_ends_at_once(self):
        conn = self.in_flight()
        self.server.signal(signal.SIGTERM)
        procs.wait_for(lambda: "draining" in self.server.log(), 2)
        began = time.monotonic()
        self.server.signal(signal.SIGTERM)
        self.server.wait(3)
        took = (time.monotonic() - began) * 1000
        case.say(f"the second SIGTERM ended it after {took:.0f} ms")
        self.assertLess(took, 300)
        self.assertTrue(conn.closes())

    def test_draining_ends_when_its_time_is_over(self):
        self.server.stop()
        self.mock.control(m={"stall_at": 0})
        self.addCleanup(self.mock.control)
        self.server = self.serve(simple(self.mock.url), flags=("--drain-seconds", "1"))
        self.addCleanup(self.server.stop)
        self.started = [self.server]
        self.in_flight()
        self.server.signal(signal.SIGTERM)
        began = time.monotonic()
        self.assertEqual(self.server.wait(), 0)
        self.assertTrue(0.9 <= time.monotonic() - began <= 2.5)

    def test_sigint_ends_it_too(self):
        self.server.signal(signal.SIGINT)
        self.assertEqual(self.server.wait(), 0)

    def test_the_record_of_the_last_request_is_written_before_the_end(self):
        busy = self.in_flight()
        self.server.signal(signal.SIGTERM)
        reply = busy.reply()
        self.assertEqual(self.server.wait(), 0)
        self.assertEqual(self.server.decision(reply)["outcome"], "ok")

    def test_sigusr1_opens_log_and_decisions_anew(self):
        for name in ("neap.log", "decisions"):
            os.rename(self.server.path(name), self.server.path(name + ".1"))
        self.server.signal(signal.SIGUSR1)
        self.assertTrue(procs.wait_for(lambda: os.path.exists(self.server.path("decisions"))))
        reply = self.server.ask("hello")
        self.assertEqual(self.server.decision(reply)["outcome"], "ok")
        self.assertTrue(procs.wait_for(lambda: reply.get("X-Request-Id") in self.server.log()))

    def test_a_client_that_resets_does_no_harm(self):
        for _ in range(20):
            conn = self.server.conn()
            conn.send(wire.request(body={"prompt": "a"})[:-3])
            conn.reset()
            conn = self.server.conn()
            conn.send(wire.request(body={"prompt": "a"}))
            conn.reset()
        self.assertGood(self.server.ask("hello"))
        idle = procs.wait_for(lambda: self.server.status()["inflight"] == 0, 3)
        self.assertTrue(idle)


class Commands(case.Case):
    scenario = False

    def test_check_says_that_a_set_is_good(self):
        status, out, _ = procs.run("check", simple().write().path)
        self.assertEqual(status, 0, out)
        self.assertRegex(out, r"version [0-9a-f]{12}, no errors")

    def test_check_lists_all_problems_at_once_with_status_1(self):
        files = simple()
        files.models["m"].update(context="large", max_output=0)
        files.providers["p"]["adapter"] = "openia"
        status, out, err = procs.run("check", files.write().path)
        self.assertEqual(status, 1)
        problems = re.findall(r"(?m)^(\w+\.lua):(\d+):(\d+): (N\d{3}) (.+)$", out + err)
        self.assertEqual(sorted(p[0] for p in problems),
                         ["models.lua", "models.lua", "providers.lua"], out + err)
        self.assertIn("openai", next(p[4] for p in problems if p[0] == "providers.lua"))

    def test_check_denies_warnings_when_told_to(self):
        files = simple()
        files.models["m"]["usd_per_million"] = None
        path = files.write().path
        status, out, _ = procs.run("check", path)
        self.assertEqual(status, 0, out)
        self.assertIn("warning", out)
        self.assertEqual(procs.run("check", "--deny-warnings", path)[0], 1)

    def test_check_of_the_shipped_set_is_good(self):
        status, out, err = procs.run("check", os.path.join(procs.SOURCE, "policies"))
        self.assertEqual(status, 0, out + err)

    def test_a_new_key_is_taken_by_the_set_that_has_its_hash(self):
        status, out, _ = procs.run("key", "new", "--tenant", "acme")
        self.assertEqual(status, 0)
        key = re.search(r"neap_[0-9A-Za-z]{49}", out).group()
        hashed = re.search(r"sha256:[0-9a-f]{64}", out).group()
        status, again, _ = procs.run("key", "hash", input=key + "\n")
        self.assertEqual(status, 0)
        self.assertIn(hashed, again)
        files = simple()
        files.tenants = {"acme": {"keys": [hashed]}}
        server = procs.Serve(files, workers=1)
        self.addCleanup(server.stop)
        reply = server.ask("a", headers={"Authorization": f"Bearer {key}"})
        self.assertDegraded(reply, "exhausted")
        self.assertEqual(server.decision(reply)["tenant"], "acme")

    def test_version_names_the_libraries_as_loaded(self):
        status, out, _ = procs.run("version")
        self.assertEqual((status, out.count("\n")), (0, 1))
        self.assertRegex(out, r"^neap \d+\.\d+\.\d+$")
        status, out, _ = procs.run("version", "-v")
        self.assertEqual(status, 0)
        for library in ("libmicrohttpd", "libcurl", "Lua 5.4"):
            self.assertIn(library.lower(), out.lower())

    def test_help_is_given_for_all_and_for_each(self):
        for args in (("--help",), ("help",), ("serve", "--help"), ("mock", "-h"), ("key", "-h")):
            status, out, err = procs.run(*args)
            self.assertEqual((status, err), (0, ""), args)
            self.assertIn("usage", out)
        self.assertEqual(procs.run()[0], 2)


if __name__ == "__main__":
    case.main()
