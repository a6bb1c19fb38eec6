"""Sixty reloads under load: nothing is dropped, nothing is mixed (T26, the short form)."""

import case
import storm


class Short(storm.Storm):
    reloads = 60

    def test_reloads_under_load_drop_and_mix_nothing(self):
        self.rage()


if __name__ == "__main__":
    case.main()
