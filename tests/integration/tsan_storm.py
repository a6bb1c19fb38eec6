"""The storm of reloads in its short form, for the ThreadSanitizer: it must find no race.

ctest: timeout 180"""

import case
import storm


class Races(storm.Storm):
    reloads = 60
    per_second = 60

    def test_a_storm_of_reloads_has_no_race(self):
        self.rage()


if __name__ == "__main__":
    case.main()
