"""testssl.sh on the client socket (T35): nothing that it calls HIGH, MEDIUM or CRITICAL but what comes of
a certificate that the test has signed itself.

ctest: labels long
ctest: timeout 900"""

import json
import os
import subprocess
import tempfile

import case
import test_tls

# Of the test's own certificate and of a server without pages; no finding about the TLS that is spoken.
OF_THE_TEST = {
    "cert_chain_of_trust",
    "cert_expirationStatus",
    "cert_validityPeriod",
    "cert_ocspURL",
    "cert_crlDistributionPoints",
    "cert_revocation",
    "DNS_CAArecord",
    "OCSP_stapling",
    "HSTS",
    "security_headers",
    "overall_grade",
    "grade_cap_reason_1",
}


class Scan(case.Case):
    @classmethod
    def prepare(cls, policies):
        policies.provider("p")
        policies.model("m", "p")
        policies.endpoint("assistant", ["m"])
        cls.keep = tempfile.TemporaryDirectory(prefix="neap-tls-")
        cls.addClassCleanup(cls.keep.cleanup)
        cls.cert, cls.key = test_tls.make_pair(cls.keep.name, "localhost", days=90)
        cls.flags = ("--tls-cert", cls.cert, "--tls-key", cls.key)

    def test_testssl_has_nothing_to_complain_of(self):
        out = os.path.join(self.keep.name, "out.json")
        subprocess.run(
            ["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--jsonfile", out]
            + [f"127.0.0.1:{self.server.port}"],
            capture_output=True,
            check=False,
            timeout=850,
        )
        with open(out, encoding="utf-8") as f:
            findings = json.load(f)
        bad = [
            f"{x['id']}: {x['severity']} {x['finding']}"
            for x in findings
            if x["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL")
            and x["id"].split(" ")[0] not in OF_THE_TEST
        ]
        print(f"testssl: {len(findings)} findings, {len(bad)} bad")
        self.assertGreater(len(findings), 50)
        self.assertEqual(bad, [])


if __name__ == "__main__":
    case.main()
