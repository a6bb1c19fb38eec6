"""Random mutations of the shipped policies never make the checker crash or hang: it says 0 or 1, in bounded time,
and what it says is one problem a line, without control bytes.

NEAP_MUTATIONS and NEAP_SEED ask for more, or others, than the few that every run does."""

import os
import random
import shutil
import tempfile
import time
import unittest

import case
import procs

SOURCE = os.path.join(os.environ["NEAP_SOURCE"], "policies")
COUNT = int(os.environ.get("NEAP_MUTATIONS", "60"))
SEED = int(os.environ.get("NEAP_SEED", "1"))

PIECES = [
    b"(", b")", b"{", b"}", b"[", b"]", b"[[", b"]==]", b'"', b"'", b"--", b"--[[", b"..", b"...", b"=", b"==", b"~=",
    b" end ", b" do ", b" then ", b" return ", b" function() ", b" local x = ", b" nil ", b" not ", b" or ", b" and ",
    b" goto x ", b"::x::", b" while true do end ", b" repeat until false ", b"req", b"req.tenent", b"attempt.class",
    b" require 'lib.plan' ", b" _ENV ", b" local _ENV = {} ", b"#", b"0x1p4", b"1e999", b"-1", b"0/0", b"\0", b"\r",
    b"\xff\xfe", b"\\x41\\u{7fffffff}\\z", b" setmetatable({}, {__index = function(t) return t end}) ",
    b"('x'):rep(1e9)", b"('a'):rep(9999):find(('a?'):rep(99)..'b')", b"-- neap: allow N301 because\n", b"<const>",
    b"error({})", b"pcall(error)", b"(" * 150, b"{" * 150, b"x." * 3000 + b"y", b"1+" * 3000 + b"1",
]


def mutate(text, rng):
    text = bytearray(text)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(text) + 1)
        how = rng.randrange(5)
        if how == 0:
            text[at:at] = rng.choice(PIECES)
        elif how == 1:
            del text[at : at + rng.choice((1, 2, 5, 40, 400))]
        elif how == 2:
            other = rng.randrange(len(text) + 1)
            text[at:at] = text[other : other + rng.choice((1, 5, 40, 400))]
        elif how == 3 and at < len(text):
            text[at] = rng.randrange(256)
        else:
            text[at : at + rng.randrange(1, 8)] = rng.choice(PIECES)
    return bytes(text)


class Mutations(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="neap-mutations-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.set = os.path.join(self.folder, "set")
        shutil.copytree(SOURCE, self.set)
        for top, _, names in os.walk(self.set):
            os.chmod(top, 0o755)
            for name in names:
                os.chmod(os.path.join(top, name), 0o644)

    def test_no_mutation_is_too_much_for_the_checker(self):
        rng = random.Random(SEED)
        files = sorted(
            os.path.relpath(os.path.join(top, name), self.set)
            for top, _, names in os.walk(self.set)
            for name in names
            if name.endswith(".lua")
        )
        longest, told = 0.0, 0
        for i in range(COUNT):
            name = rng.choice(files)
            path = os.path.join(self.set, name)
            with open(path, "rb") as file:
                good = file.read()
            bad = mutate(good, rng)
            with open(path, "wb") as file:
                file.write(bad)
            before = time.monotonic()
            status, out, err = procs.run("check", self.set, timeout=60)
            longest = max(longest, time.monotonic() - before)
            with open(path, "wb") as file:
                file.write(good)
            about = f"mutation {i} of seed {SEED}, {name}: {bad!r}"
            self.assertIn(status, (0, 1), f"{about}\n{out}{err}")
            self.assertEqual(err, "", about)
            self.assertNotRegex(out, r"[\x00-\x09\x0b-\x1f\x7f]", about)
            self.assertNotIn("N199", out, about)
            told += status
        print(f"{COUNT} mutations, {told} of them refused, the longest check took {longest * 1000:.0f} ms")


if __name__ == "__main__":
    case.main()
