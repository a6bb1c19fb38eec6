"""Outages at the lengths that count: a minute of failures (T17), and half a minute before a breaker that
stays open for a minute (T18).

ctest: labels long
ctest: timeout 300
ctest: serial
"""

import case
import test_outage


class Amplification(test_outage.Amplification):
    seconds = 62


class Recovery(test_outage.Recovery):
    outage_s = 30
    open_ms = 60000


if __name__ == "__main__":
    case.main()
