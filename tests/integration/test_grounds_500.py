"""500 scenarios on both grounds."""
# ctest: labels long sim
# ctest: timeout 900

import case
from grounds import CLASSES, Grounds, Hedged


class Many(Grounds):
    def test_500_scenarios_are_decided_alike_on_both_grounds(self):
        seen = self.compare(500)
        for what in [*CLASSES, "ok", "degraded", "forbidden", "streamed", "dropped", "closed again",
                     "cancelled", "read on"]:
            self.assertIn(what, seen, "no scenario comes to it")

    def test_100_scenarios_with_a_second_provider_are_decided_alike_on_both_grounds(self):
        self.compare(100, Hedged)


if __name__ == "__main__":
    case.main()
