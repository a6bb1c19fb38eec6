"""Hooks with every will or none, and attacks in turn in each hook while others ask, for the ThreadSanitizer: it must
find no race.

ctest: timeout 240"""

import os
import sys

import case
import procs

sys.path.insert(0, os.path.join(procs.SOURCE, "tests", "hostile"))

import attacks  # noqa: E402
import test_hooks  # noqa: E402


class Wills(test_hooks.Wills):
    pass


class Absent(test_hooks.Absent):
    pass


class Attacks(attacks.Attacked):
    workers = 2

    def test_attacks_have_no_race(self):
        """One of ten, each in another hook. How soon each is stopped is measured elsewhere."""
        hooks = attacks.HOOKS
        self.late = []
        others = attacks.Others(self.server)
        for i, (kind, name) in enumerate(attacks.ATTACKS[::10]):
            hook = hooks[i % len(hooks)]
            others.name = f"{name} in {hook}"
            self.attack(kind, name, hook)
            self.assertTrue(self.server.running, others.name)
        others.end()
        case.say(f"{i + 1} attacks, {len(others.waits)} other requests")
        self.assertEqual(others.faults, [])


if __name__ == "__main__":
    case.main()
