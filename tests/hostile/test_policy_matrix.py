"""Every attack of the library in every hook (T25).

ctest: labels long
ctest: timeout 600
ctest: serial"""

import attacks
import case


class Matrix(attacks.Attacked):
    def test_every_attack_is_stopped_in_every_hook(self):
        self.check_all([(kind, name, hook) for kind, name in attacks.ATTACKS for hook in attacks.HOOKS])


if __name__ == "__main__":
    case.main()
