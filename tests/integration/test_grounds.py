"""The simulated ground decides as the live one; test_grounds_500.py asks more often."""

import case
from grounds import Grounds, Hedged


class Few(Grounds):
    def test_the_same_scenarios_are_decided_alike_on_both_grounds(self):
        self.compare(30)

    def test_scenarios_with_a_second_provider_are_decided_alike_on_both_grounds(self):
        seen = self.compare(30, Hedged)
        for what in ("won", "lost", "failed"):
            self.assertIn("hedge " + what, seen, "no scenario comes to it")


if __name__ == "__main__":
    case.main()
