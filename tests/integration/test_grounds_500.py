"""500 scenarios on both grounds."""
# ctest: labels long sim
# ctest: timeout 900

import case
from grounds import CLASSES, Grounds


class Many(Grounds):
    def test_500_scenarios_are_decided_alike_on_both_grounds(self):
        seen = self.compare(500)
        for what in [*CLASSES, "ok", "degraded", "forbidden"]:
            self.assertIn(what, seen, "no scenario comes to it")


if __name__ == "__main__":
    case.main()
