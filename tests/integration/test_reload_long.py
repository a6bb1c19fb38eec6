"""Five hundred reloads under load (T26), a set of ten thousand files (T27), and tests of a set that
play on and on.

ctest: labels long
ctest: timeout 900"""

import os
import time

import case
import disk
import storm

RSS_MAY_GROW_KB = 8192


class Storm(storm.Storm):
    reloads = 500
    calm_s = 15

    def test_500_reloads_under_load_drop_and_mix_nothing_and_keep_no_memory(self):
        rss = self.rage()
        if not storm.is_sanitized():
            self.assertLess(self.rss_kb(), rss + RSS_MAY_GROW_KB)


class Tests(storm.Storm):
    def test_tests_that_play_on_and_on_are_stopped_while_requests_go_on(self):
        load = storm.Load(self.server.port, 100)
        try:
            time.sleep(3)
            began = time.monotonic()
            self.files.put(
                "on_test.lua",
                "for i = 1, 500 do\n"
                '  test("on_" .. i, function()\n'
                '    while true do pcall(play, { request = { prompt = "x" } }) end\n'
                "  end)\nend\n",
            )
            reply = disk.reload(self.server)
            ended = time.monotonic()
        finally:
            seen, faults = load.end()
        self.assertEqual(reply.status, 422)
        self.assertIn("N156", [p["code"] for p in reply.json()["problems"]])
        self.assertEqual(faults, [])
        calm = storm.p99([ms for at, ms, _, _ in seen if at < began])
        busy = storm.p99([ms for at, ms, _, _ in seen if began <= at < ended])
        case.say(f"tests without end: stopped after {ended - began:.1f} s, p99 {calm:.2f} ms before, "
                 f"{busy:.2f} ms meanwhile")

    def test_a_thousand_tests_slow_no_request(self):
        load = storm.Load(self.server.port, 100)
        try:
            time.sleep(5)
            began = time.monotonic()
            one = 'test("t{i}", function() expect(play {{ request = {{ prompt = "x" }} }}.status, 200) end)\n'
            self.files.put("many_test.lua", "".join(one.format(i=i) for i in range(1000)))
            reply = disk.reload(self.server)
            ended = time.monotonic()
        finally:
            seen, faults = load.end()
        self.assertEqual(faults, [])
        if not storm.is_sanitized():
            self.assertEqual(reply.status, 200, reply)
        calm = storm.p99([ms for at, ms, _, _ in seen if at < began])
        busy = storm.p99([ms for at, ms, _, _ in seen if began <= at < ended])
        case.say(f"a reload with 1,000 tests took {ended - began:.2f} s, p99 {calm:.2f} ms before, "
                 f"{busy:.2f} ms meanwhile")


class Many(disk.Layout):
    def test_ten_thousand_files_are_one_set_and_one_more_is_too_many(self):
        self.lay("set", "one")
        self.start()
        files = self.contents("one")
        os.mkdir(os.path.join(self.path, "templates"))
        for i in range(10000 - len(files)):
            files[f"templates/t{i}.txt"] = f"text {i}\n"
        for name, content in files.items():
            if name.startswith("templates/"):
                with open(os.path.join(self.path, name), "w", encoding="utf-8") as f:
                    f.write(content)
        began = time.monotonic()
        verdict = disk.reload(self.server)
        case.say(f"10,000 files: {(time.monotonic() - began) * 1000:.0f} ms")
        self.assertEqual(verdict.status, 200, verdict)
        self.assertEqual(verdict.json()["version"], disk.version_of(files))
        self.assertEqual(self.running(), disk.version_of(files))
        with open(os.path.join(self.path, "README.md"), "w", encoding="utf-8") as f:
            f.write("one more\n")
        verdict = disk.reload(self.server)
        self.assertEqual(verdict.status, 422)
        self.assertIn("N109", [p["code"] for p in verdict.json()["problems"]])
        self.assertEqual(self.word(), "one")


if __name__ == "__main__":
    case.main()
