"""The simulated ground decides as the live one; test_grounds_500.py asks more often."""

import case
from grounds import Grounds


class Few(Grounds):
    def test_the_same_scenarios_are_decided_alike_on_both_grounds(self):
        self.compare(30)


if __name__ == "__main__":
    case.main()
