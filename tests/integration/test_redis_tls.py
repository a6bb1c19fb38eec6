"""TLS to Redis: where hiredis has it the server must be who the URL names, by a certificate that is trusted;
where it has not, that is told before anything starts."""

import os
import shutil
import socket
import subprocess
import tempfile

import case
import procs
from policies import Policies
from test_redis import ONE_CENT, Redis


def openssl(*args, **kw):
    subprocess.run(["openssl", *args], check=True, capture_output=True, **kw)


def authority(folder, name):
    """A certificate authority that lives as long as the test."""
    key, cert = os.path.join(folder, name + ".key"), os.path.join(folder, name + ".pem")
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}"),
        *("-addext", "basicConstraints=critical,CA:TRUE"),
    )
    return key, cert


def certificate(folder, ca, names):
    """A server's key and certificate."""
    key, cert = os.path.join(folder, "server.key"), os.path.join(folder, "server.pem")
    asked, more = os.path.join(folder, "server.csr"), os.path.join(folder, "server.ext")
    openssl(
        *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", key, "-out", asked, "-subj", "/CN=redis"),
    )
    with open(more, "w", encoding="ascii") as f:
        f.write(f"subjectAltName={names}\n")
    openssl(
        *("x509", "-req", "-in", asked, "-CA", ca[1], "-CAkey", ca[0], "-CAcreateserial"),
        *("-out", cert, "-days", "2", "-extfile", more),
    )
    return key, cert


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def has_tls():
    code, _, err = procs.run(
        *("ledger", "release", "0123456789abcdef", "--store", f"rediss://127.0.0.1:{free_port()}/0")
    )
    return code == 3 and "has no TLS" not in err


class RedisTls(case.Case):
    def setUp(self):
        self.mock.control(m={"first_ms": 1, "total_ms": 2})
        self.folder = tempfile.mkdtemp(prefix="neap-tls-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def set_of(self):
        policies = Policies(self.mock.url)
        policies.provider("p")
        policies.model("m", "p", **ONE_CENT)
        policies.endpoint("wall", ["m"], deadline_ms=5000)
        policies.budgets = [{"account": "global", "window": "none", "limit_usd": 1.0}]
        return policies

    def redis(self, names):
        self.ca = authority(self.folder, "right")
        key, cert = certificate(self.folder, self.ca, names)
        self.tls_port = free_port()
        redis = Redis(
            *("--tls-port", str(self.tls_port), "--tls-cert-file", cert, "--tls-key-file", key),
            *("--tls-ca-cert-file", self.ca[1], "--tls-auth-clients", "no"),
        )
        self.addCleanup(redis.close)
        return redis

    def start(self, host, trusted):
        self.env = {**case.Case.env, "SSL_CERT_FILE": trusted}
        self.url = f"rediss://{host}:{self.tls_port}/0"
        self.server = self.serve(
            self.set_of(), store=self.url, flags=("--state", self.folder + "/state"), env=self.env
        )
        self.addCleanup(self.server.stop)
        return self.server

    def good(self, server):
        return not server.ask("hello", "/api/wall/reply", timeout=30).json()["degraded"]

    def assertRefused(self, server):
        self.assertLogged("certificate verify failed: ")
        self.assertFalse(self.good(server))
        self.assertEqual(server.metrics().get("neap_store_up"), 0)

    @case.unittest.skipIf(has_tls(), "hiredis has TLS here")
    def test_without_tls_it_is_told_what_would_be_right(self):
        for args in (("serve",), ("ledger", "release", "0123456789abcdef")):
            code, _, err = procs.run(*args, "--store", "rediss://h:1/0", env=case.Case.env)
            self.assertIn(code, (2, 3), err)
            self.assertIn("hiredis that has no TLS", err)
            self.assertIn("redis://", err)

    @case.unittest.skipUnless(has_tls(), "this hiredis has no TLS (before 1.0)")
    def test_money_is_leased_over_tls_by_address_and_by_name(self):
        redis = self.redis("IP:127.0.0.1,DNS:localhost")
        for host in ("127.0.0.1", "localhost"):
            with self.subTest(host):
                server = self.start(host, self.ca[1])
                self.assertTrue(procs.wait_for(lambda server=server: self.good(server), 10, 0.1))
                self.assertEqual(server.metrics().get("neap_store_up"), 1)
                code, said, err = procs.run(
                    *("ledger", "check", "--store", self.url, "--state", self.folder + "/state"),
                    env=self.env,
                )
                self.assertEqual(code, 0, said + err)
                server.stop()
        got, settled = redis.sums()
        self.assertEqual(got, settled)
        self.assertGreater(settled, 0)

    @case.unittest.skipUnless(has_tls(), "this hiredis has no TLS (before 1.0)")
    def test_a_certificate_of_somebody_else_is_not_trusted(self):
        self.redis("IP:127.0.0.1")
        other = authority(self.folder, "other")
        self.assertRefused(self.start("127.0.0.1", other[1]))

    @case.unittest.skipUnless(has_tls(), "this hiredis has no TLS (before 1.0)")
    def test_a_trusted_certificate_of_another_name_is_refused(self):
        self.redis("DNS:elsewhere.example")
        self.assertRefused(self.start("127.0.0.1", self.ca[1]))


if __name__ == "__main__":
    case.main()
