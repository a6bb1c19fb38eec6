"""What README.md tells an operator to do with the shipped set can be done, and its tests still pass."""

import os
import re
import shutil
import tempfile
import unittest

import procs


def read(*path):
    with open(os.path.join(procs.SOURCE, *path), encoding="utf-8") as f:
        return f.read()


class Readme(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="neap-readme-")
        self.addCleanup(shutil.rmtree, self.top)
        self.set = os.path.join(self.top, "policies")
        shutil.copytree(os.path.join(procs.SOURCE, "policies"), self.set)

    def change(self, name, old, new):
        path = os.path.join(self.set, name)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        self.assertEqual(text.count(old), 1, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))

    def assertGood(self):
        status, out, err = procs.run("check", "--deny-warnings", self.set)
        self.assertEqual(status, 0, out + err)
        status, out, err = procs.run("test", self.set, timeout=100)
        self.assertEqual(status, 0, out + err)

    def test_the_line_of_a_new_key_fits_into_the_shipped_tenants(self):
        status, out, _ = procs.run("key", "new", "--tenant", "acme")
        self.assertEqual(status, 0)
        line = re.search(r'(?m)^ +\["acme"\] = .*$', out).group()
        self.change("tenants.lua", "return {}", "return {\n" + line + "\n}")
        self.assertGood()

    def test_the_policy_that_is_edited_passes_the_shipped_tests(self):
        blocks = re.findall(r"```lua\n(-- route\.lua.*?)```", read("README.md"), re.S)
        self.assertEqual(len(blocks), 1)
        lines = blocks[0].partition("\n")[2]
        self.change("route.lua", "return function(req)\n", "return function(req)\n" + lines)
        self.assertGood()

    def test_the_test_that_is_shown_passes(self):
        blocks = re.findall(r"```lua\n(test\(.*?)```", read("README.md"), re.S)
        self.assertEqual(len(blocks), 1)
        with open(os.path.join(self.set, "some_test.lua"), "w", encoding="utf-8") as f:
            f.write(blocks[0])
        self.assertGood()

    def test_the_example_of_a_scenario_is_one(self):
        mock = procs.Mock(read("examples", "scenarios", "a-bad-morning.lua"))
        self.addCleanup(mock.stop)
        self.assertEqual(mock.calls()["calls"], 0)


if __name__ == "__main__":
    unittest.main()
