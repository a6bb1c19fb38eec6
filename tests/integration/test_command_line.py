"""The command line: exit statuses, flags against the environment, keys, and output that nobody can read."""

import os
import re
import subprocess
import tempfile

import case
import policies as sets
import procs

DEAD = "http://127.0.0.1:1"
SHIPPED = os.path.join(procs.SOURCE, "policies")


def key_hash(data):
    """What `neap key hash` makes of these bytes: (status, hash or words)."""
    done = subprocess.run(
        [procs.NEAP, "key", "hash"], env=procs.environment(), input=data, capture_output=True, check=False
    )
    return done.returncode, (done.stdout or done.stderr).decode().strip()


def new_key(tenant="acme"):
    return re.search(r"neap_\w{49}", procs.run("key", "new", "--tenant", tenant)[1]).group()


class CommandLine(case.Case):
    scenario = False

    def wants(self, status, *args, words="", **kw):
        got, out, err = procs.run(*args, **kw)
        self.assertEqual(got, status, f"{args}: {out}{err}")
        self.assertIn(words, out + err, args)
        return out, err

    # -- exit statuses

    def test_what_could_not_run_ends_with_3(self):
        for args in (
            *(("check", "/nowhere"), ("check", os.path.join(SHIPPED, "route.lua"))),
            *(("test", "/nowhere"), ("test", "/nowhere", "--watch")),
            *(("repl", "/nowhere"), ("types", "/nowhere"), ("serve", "--policies", "/nowhere")),
            ("repl", SHIPPED, "--attach", DEAD, "-e", "1"),
            *(("mock", "--scenario", "/nowhere"), ("status", "--admin", DEAD)),
            *(("explain", "x", "--admin", DEAD), ("explain", "x", "--decisions", "/nowhere")),
        ):
            with self.subTest(args=args):
                self.wants(3, *args)

    def test_an_admin_url_that_can_be_none_ends_with_2(self):
        for url in ("ftp://x", "", "127.0.0.1:99999", "http://127.0.0.1:9 x", "http://a:b@c:1", "http://"):
            for args in (
                *(("status",), ("status", "--watch"), ("explain", "x")),
                ("ledger", "check", "--store", "sqlite:/nowhere/x.db"),
            ):
                with self.subTest(url=url, args=args):
                    self.wants(2, *args, "--admin", url, words="http://HOST:PORT")
            self.wants(2, "repl", SHIPPED, "--attach", url or "x:y", "-e", "1", words="http://HOST:PORT")

    def test_a_store_that_can_be_none_ends_ledger_check_with_2(self):
        self.wants(2, "ledger", "check", "--store", "foo:bar", words="sqlite:PATH")
        self.wants(2, "ledger", "check", "--store", "memory:", words="sqlite:PATH")

    def test_two_dashes_end_the_flags(self):
        self.wants(0, "check", "--", SHIPPED)
        self.wants(3, "check", "--", "--help", words="--help")
        self.wants(3, "repl", "--", "-e", words="-e does not load")
        self.wants(2, "check", "--", SHIPPED, "--deny-warnings", words="unexpected argument")

    def test_help_of_a_command_is_that_of_its_flag(self):
        self.assertEqual(self.wants(0, "help", "check"), self.wants(0, "check", "--help"))
        self.wants(2, "help", "chekc", words="did you mean check?")

    # -- flags and the environment

    def test_an_admin_flag_counts_more_than_decisions_in_the_environment(self):
        env = {"NEAP_DECISIONS": "/nowhere/decisions"}
        _, err = self.wants(3, "explain", "x", "--admin", DEAD, env=env)
        self.assertIn("127.0.0.1", err)
        self.wants(3, "explain", "x", env=env, words="/nowhere/decisions")

    def test_admin_and_decisions_together_are_refused(self):
        self.wants(2, "explain", "x", "--admin", DEAD, "--decisions=/nowhere", words="give one")

    def test_a_wrong_value_from_the_environment_is_blamed_on_it(self):
        _, err = self.wants(2, "serve", env={"NEAP_LISTEN": "bar"})
        self.assertIn("--listen comes from NEAP_LISTEN", err)
        _, err = self.wants(2, "serve", "--listen", "bar", env={"NEAP_LISTEN": "127.0.0.1:0"})
        self.assertNotIn("NEAP_LISTEN", err)

    def test_neap_policies_is_the_set_where_none_is_named(self):
        env = {"NEAP_POLICIES": SHIPPED}
        with tempfile.TemporaryDirectory() as folder:
            for args in (("check",), ("test", "--filter", "budget_test"), ("repl", "-e", "1")):
                self.wants(0, *args, env=env, cwd=folder)
            self.wants(3, "check", "policies", env=env, cwd=folder)

    def test_things_that_are_in_each_others_way_are_refused(self):
        for args, words in (
            (("--listen", "127.0.0.1:8", "--admin", "127.0.0.1:8"), "are both 127.0.0.1:8"),
            (("--log", "x", "--decisions", "x"), "a file of its own"),
            (("--scenario", "x"), "needs --simulate"),
        ):
            self.wants(2, "serve", *args, words=words)

    # -- what is written, and where

    def test_output_that_is_closed_or_full_ends_with_3(self):
        for args in ("--help", "version", "key new --tenant a", f"check '{SHIPPED}'", f"repl '{SHIPPED}' -e 1"):
            for where in (">&-", ">/dev/full"):
                done = subprocess.run(
                    ["sh", "-c", f'exec "$NEAP" {args} {where}'],
                    env={**procs.environment(), "NEAP": procs.NEAP},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                with self.subTest(args=args, where=where):
                    self.assertEqual(done.returncode, 3, done.stderr)
                    self.assertIn("standard output could not be written", done.stderr)

    def test_a_junit_file_that_cannot_be_written_is_no_result(self):
        out, err = self.wants(3, "test", SHIPPED, "--filter", "budget_test", "--junit", "/nowhere/x.xml")
        self.assertNotIn("JUnit", out)
        self.assertIn("/nowhere/x.xml", err)

    def test_a_fifo_that_nobody_reads_stops_the_start_with_3(self):
        ports = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        with tempfile.TemporaryDirectory() as folder:
            fifo = os.path.join(folder, "fifo")
            os.mkfifo(fifo)
            for flag in ("--log", "--decisions"):
                with self.subTest(flag=flag):
                    args = ("--simulate", "--policies", SHIPPED, *ports, flag, fifo)
                    self.wants(3, "serve", *args, words=f"{flag} {fifo}: nobody reads there")

    # -- keys

    def test_a_key_is_hashed_whole(self):
        known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        for data in (b"abc", b"abc\n", b"abc\r\n"):
            self.assertEqual(key_hash(data), (0, known), data)
        self.assertEqual(key_hash(b"x" * 511 + b"\n")[0], 0)
        key = new_key()
        self.assertEqual(key_hash(key.encode())[0], 0)

    def test_what_can_be_no_key_is_not_hashed(self):
        for data, words in (
            (b"", "empty"),
            (b"\n", "empty"),
            (b"x" * 512, "511"),
            (b"x" * 600, "511"),
            (b"a\0b", "another byte"),
            (b"a b", "another byte"),
            (b"abc\ndef\n", "one line"),
        ):
            status, said = key_hash(data)
            self.assertEqual(status, 2, data)
            self.assertIn(words, said, data)

    def test_a_mistyped_key_of_ours_is_not_hashed(self):
        key = new_key()
        other = "b" if key[9] == "a" else "a"
        for wrong in (key[:9] + other + key[10:], key[:-1], key + "0", "neap_abc"):
            status, said = key_hash(wrong.encode())
            self.assertEqual(status, 2, wrong)
            self.assertIn("mistyped", said)

    def test_a_name_that_tenants_lua_does_not_take_gets_no_key(self):
        for name in ('a"b', "a\nb", "a b", "a/b", "*", "ümlaut", "a" * 65, "anonymous"):
            out, err = self.wants(2, "key", "new", "--tenant", name)
            self.assertEqual(out, "", name)
            self.assertRegex(err, "letters, digits|without a key", name)

    def test_the_rule_for_names_is_that_of_the_check(self):
        for name in ("a.b-c_9", "A" * 64, "-", "anonymous", "a:b", "a" * 65):
            files = sets.Policies("http://127.0.0.1:9")
            files.provider("p")
            files.model("m", "p")
            files.endpoint("assistant", ["m"])
            files.tenants = {name: {"keys": ["sha256:" + "0" * 64]}}
            checked, out, _ = procs.run("check", files.write().path)
            made, _, err = procs.run("key", "new", "--tenant", name)
            self.assertEqual(made == 0, checked == 0, f"{name}: {out}{err}")


if __name__ == "__main__":
    case.main()
