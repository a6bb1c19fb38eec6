"""Sessions of neap repl without a terminal, in a home and with a policy set of their own."""

import os
import shutil
import subprocess
import tempfile
import unittest

SHIPPED = os.path.join(os.environ["NEAP_SOURCE"], "policies")


class ReplCase(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="neap-repl-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.policies = os.path.join(self.home, "policies")
        shutil.copytree(SHIPPED, self.policies)
        self.env = {**os.environ, "HOME": self.home, "XDG_STATE_HOME": os.path.join(self.home, "state")}

    def session(self, *lines, text=None, flags=()):
        """Runs lines by -e, or text by standard input."""
        words = [os.environ["NEAP_BIN"], "repl", self.policies, *flags]
        for line in lines:
            words += ["-e", line]
        done = subprocess.run(
            words, input=text or "", capture_output=True, text=True, timeout=60, env=self.env, cwd=self.home
        )
        return done.returncode, done.stdout, done.stderr

    def good(self, *lines, **kw):
        status, out, err = self.session(*lines, **kw)
        self.assertEqual((status, err), (0, ""), out)
        return out

    def bad(self, *lines, **kw):
        """What a line that fails says; the status is 1."""
        status, out, err = self.session(*lines, **kw)
        self.assertEqual(status, 1, out + err)
        return err

    def write(self, name, text):
        """A file below the home; its path."""
        path = os.path.join(self.home, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def read(self, name):
        with open(os.path.join(self.home, name), encoding="utf-8") as f:
            return f.read()
