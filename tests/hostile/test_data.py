"""Data files that would send a key elsewhere (T31) or a header too many (T30): refused at load, each with
its line; and the few that look odd and are right.

ctest: timeout 400"""

import re

import case
import policies as sets
import procs

# Addresses that must not be taken as base_url.
URLS = r"""
ftp://api.example/v1|file:///etc/passwd|gopher://api.example|javascript:alert(1)|//api.example|api.example
http://|http:///v1|https://|http:api.example|http//api.example|
http://user@api.example|http://user:pw@api.example|http://:pw@api.example|http://api.example@evil.example
http://api.example#@evil.example|http://api.example/#x|http://api.example/?x=1|http://api.example?
http://api.example\\@evil.example|http://api.example\\.evil.example|http://api example|http://api.example/a b
http://api.example\tx|http://api.example\nx|http://api.example\rx|http://api.example\x00|http://\u00e4.example
http://169.254.169%2e254|http://%31%36%39.254.169.254|http://api%2eexample|http://[fe80::1%2541]
http://169.254.169.254|http://169.254.169.254/v1|http://169.254.0.1:80|http://169.254.169.254.|https://169.254.1.1
http://[fe80::1]|http://[FE80::1]|http://[fe80::1%25eth0]|http://[fd00:ec2::254]|http://[fd00:0ec2:0:0:0:0:0:254]
http://[::ffff:169.254.169.254]|http://[::ffff:a9fe:a9fe]|http://[0:0:0:0:0:ffff:169.254.169.254]
http://0251.0376.0251.0376|http://0xa9.0xfe.0xa9.0xfe|http://0xa9fea9fe|http://2852039166|http://169.16689662
http://025177524776|http://169.254.43518|http://0.0.0.0|http://0|http://[::]|http://0177.0.0.1|http://0x7f.1
http://metadata.google.internal|http://METADATA.google.internal.|http://metadata.google.internal/v1
http://api.example:0|http://api.example:65536|http://api.example:99999|http://api.example:x|http://api.example:-1
http://[::1|http://::1|http://[::1]x|http://[zz::1]|http://[]|http://256.1.1.1|http://1.2.3.4.5|http://1.2.3
http://a..example|http://.example|http://api.example:80:80
"""

GOOD_URLS = """
https://api.openai.com/v1|https://api.openai.com/v1/|http://127.0.0.1:8088/v1|http://localhost|http://[::1]:80
https://10.0.0.5:8443/proxy/openai/v1|http://llm.internal|https://xn--bcher-kva.example|https://API.Example/v1
https://1password.example|https://0x.example|http://[2001:db8::1]/v1
"""

BYTES = ("\r", "\n", "\r\nX-Evil: 1", "\x00", "\x7f", "\u010a", "\u00e4", "\x01", "\u2028")


def rows(text):
    return [row.encode().decode("unicode_escape") if "\\" in row else row
            for row in text.strip("\n").replace("\n", "|").split("|")]


class Data(case.Case):
    scenario = False

    def problems(self, change):
        """What `neap check` says of a good set that was changed."""
        files = sets.Policies()
        files.provider("p")
        files.model("m", "p")
        files.endpoint("assistant", ["m"])
        change(files)
        status, out, err = procs.run("check", files.write().path, env={"BAD": getattr(self, "bad", "x")})
        self.assertIn(status, (0, 1), out + err)
        found = re.findall(r"(?m)^(\S+?\.lua):(\d+)(?::\d+)?: (N\d{3}) (?!warning)(.*)$", out + err)
        self.assertEqual(status, 1 if found else 0, out + err)
        return found

    def refused(self, change, file):
        found = self.problems(change)
        self.assertTrue(found, "it was taken")
        self.assertEqual(found[0][0], file)
        self.assertGreater(int(found[0][1]), 1)

    def test_addresses_that_could_send_a_key_elsewhere_are_refused(self):
        taken = []
        addresses = rows(URLS)
        for url in addresses:
            if not self.problems(lambda f, url=url: f.providers["p"].update(base_url=url)):
                taken.append(url)
        case.say(f"{len(addresses)} odd addresses: {len(taken)} taken")
        self.assertEqual(taken, [])

    def test_addresses_that_are_right_are_taken(self):
        for url in rows(GOOD_URLS):
            with self.subTest(url=url):
                self.assertEqual(self.problems(lambda f, url=url: f.providers["p"].update(base_url=url)), [])

    def test_bytes_that_no_header_may_have_are_refused_in_every_field(self):
        for bad in BYTES:
            for field, change, file in (
                ("a header's value", lambda f, b=bad: f.providers["p"].update(headers={"X-A": "a" + b}),
                 "providers.lua"),
                ("a header's name", lambda f, b=bad: f.providers["p"].update(headers={"X" + b: "a"}),
                 "providers.lua"),
                ("a model's id", lambda f, b=bad: f.models["m"].update(id="m" + b), "models.lua"),
                ("a model's name", lambda f, b=bad: f.model("n" + b, "p"), "models.lua"),
                ("a provider's name", lambda f, b=bad: f.provider("q" + b), "providers.lua"),
                ("a tier", lambda f, b=bad: f.models["m"].update(tier="t" + b), "models.lua"),
                ("an endpoint", lambda f, b=bad: f.endpoint("x" + b, ["m"]), "endpoints.lua"),
                ("a tenant", lambda f, b=bad: setattr(
                    f, "tenants", {"t" + b: {"keys": ["sha256:" + "0" * 64]}}), "tenants.lua"),
            ):
                with self.subTest(field=field, bad=bad):
                    self.refused(change, file)

    def test_headers_that_are_neaps_own_are_refused(self):
        for name in ("Host", "content-length", "Transfer-Encoding", "Connection", "Expect",
                     "Accept-Encoding", "Content-Type", "Proxy-Authorization", "", "a b", "a:b"):
            with self.subTest(name=name):
                self.refused(lambda f, n=name: f.providers["p"].update(headers={n: "a"}), "providers.lua")

    def test_numbers_that_are_out_of_range_are_refused(self):
        bad = sets.Lua("0 / 0"), sets.Lua("1 / 0"), -1, 10**18, 1.5, "10", True
        for value in bad:
            for field in ("deadline_ms", "max_attempts", "max_tokens", "body_bytes"):
                with self.subTest(field=field, value=value):
                    self.refused(lambda f, k=field, v=value: next(iter(f.endpoints.values())).update({k: v}),
                                 "endpoints.lua")
        for value in (sets.Lua("0 / 0"), sets.Lua("1 / 0"), -1, "1", 10**18):
            price = {"input": value, "output": 1}
            with self.subTest(field="a price", value=value):
                self.refused(lambda f, p=price: f.models["m"].update(usd_per_million=p), "models.lua")
            budget = [{"account": "global", "window": "day", "limit_usd": value}]
            with self.subTest(field="a limit", value=value):
                self.refused(lambda f, b=budget: setattr(f, "budgets", b) or f.hook("route", "() "),
                             "budgets.lua")


if __name__ == "__main__":
    case.main()
