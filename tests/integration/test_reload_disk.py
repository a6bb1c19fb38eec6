"""Policy folders as editors, deploy tools and mounted ConfigMaps leave them: what runs is always one
version, and that version is what lies on the disk."""

import os
import shutil
import socket
import threading
import time

import case
import disk
import procs

class Disk(disk.Layout):
    """What runs is what lies there."""

    def link(self, target, name):
        """Puts a link in the place of what is there, in one step."""
        path = os.path.join(self.top, name)
        temp = os.path.join(os.path.dirname(path), ".next-link")
        os.symlink(target, temp)
        os.rename(temp, path)

    def await_version(self, version, what):
        began = time.monotonic()
        self.assertTrue(procs.wait_for(lambda: self.running() == version, 5), what)
        case.say(f"{what}: in force after {(time.monotonic() - began) * 1000:.0f} ms")

    # -- how sets are put in place

    def test_a_folder_that_is_a_link_follows_the_link(self):
        first, second = self.lay("v1", "one"), self.lay("v2", "two")
        self.link("v1", "set")
        self.start()
        self.assertEqual((self.running(), self.word()), (first, "one"))
        self.link("v2", "set")
        self.await_version(second, "a swapped link")
        self.assertEqual(self.word(), "two")

    def test_a_link_higher_up_is_followed_too(self):
        first, second = self.lay("v1/etc/set", "one"), self.lay("v2/etc/set", "two")
        self.link("v1", "current")
        self.start(os.path.join(self.top, "current/etc/set"))
        self.assertEqual(self.running(), first)
        self.link("v2", "current")
        self.await_version(second, "a swapped link higher up")

    def mount(self, word, number):
        """What kubelet does: a folder of its own, the inner link swapped, the old folder deleted."""
        files = self.contents(word)
        self.lay(f"set/..2026_{number}", word)
        self.link(f"..2026_{number}", "set/..data")
        for name in files:
            if not os.path.lexists(os.path.join(self.path, name)):
                os.symlink(f"..data/{name}", os.path.join(self.path, name))
        shutil.rmtree(os.path.join(self.path, f"..2026_{number - 1}"), ignore_errors=True)
        return disk.version_of(files)

    def test_a_mounted_configmap_is_taken_as_one(self):
        self.mount("m0", 0)
        self.start()
        for i in range(1, 6):
            self.await_version(self.mount(f"m{i}", i), "a ConfigMap")
            self.assertEqual(self.word(), f"m{i}")
        self.assertEqual(self.server.metrics().get("neap_policy_reloads_total", result="rejected"), 0)

    def test_a_configmap_behind_a_link_is_taken_too(self):
        self.mount("m0", 0)
        self.link("set", "link")
        self.start(os.path.join(self.top, "link"))
        self.await_version(self.mount("m1", 1), "a ConfigMap behind a link")

    def test_a_deleted_folder_leaves_its_set_running_until_there_is_one_again(self):
        first = self.lay("set", "one")
        self.start()
        shutil.rmtree(self.path)
        rejected = "neap_policy_reloads_total"
        self.assertTrue(procs.wait_for(lambda: self.server.metrics().get(rejected, result="rejected")))
        self.assertEqual(self.server.reload().status, 422)
        self.assertEqual((self.running(), self.word()), (first, "one"))
        self.await_version(self.lay("set", "two"), "a folder made again")

    def test_a_half_written_file_is_waited_for_or_rejected(self):
        first = self.lay("set", "one")
        self.start()
        whole = disk.RESPOND.format(word="two")
        with open(os.path.join(self.path, "respond.lua"), "w", encoding="utf-8") as f:
            f.write(whole[:20])
            f.flush()
            time.sleep(0.3)
            self.assertEqual((self.running(), self.word()), (first, "one"))
            f.write(whole[20:])
        self.await_version(disk.version_of(self.contents("two")), "a file in two parts")

    # -- races

    def test_a_link_that_flips_all_the_time_never_mixes_two_sets(self):
        known = {self.lay("v1", "one"): "one", self.lay("v2", "two"): "two"}
        self.link("v1", "set")
        self.start()
        stop = threading.Event()

        def flip():
            for i in range(10**6):
                if stop.is_set():
                    return
                self.link(f"v{1 + i % 2}", "set")

        flipper = threading.Thread(target=flip)
        flipper.start()
        try:
            seen = []
            for _ in range(40):
                verdict = self.server.reload()
                self.assertEqual(verdict.status, 200, verdict)
                seen.append(verdict.json()["version"])
                got = self.assertGood(self.server.ask("hello"))
                self.assertEqual(got["text"], known[got["policy"]])
        finally:
            stop.set()
            flipper.join()
        self.assertLessEqual(set(seen), set(known))
        last = os.readlink(self.path)
        self.await_version({"v1": list(known)[0], "v2": list(known)[1]}[last], "after the flips")

    def test_two_files_that_are_renamed_one_by_one_end_at_what_lies_there(self):
        self.lay("set", "w0")
        self.start()
        for i in range(1, 30):
            for name in ("respond.lua", "lib/n.lua"):
                path = os.path.join(self.path, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(f"{path}~", "w", encoding="utf-8") as f:
                    f.write(disk.RESPOND.format(word=f"w{i}") if "lib" not in name else f"return {i}\n")
                os.rename(f"{path}~", path)
        self.await_version(
            disk.version_of({**self.contents("w29"), "lib/n.lua": "return 29\n"}), "58 renames"
        )

    # -- what may lie there

    def refused(self, name, words):
        verdict = self.server.reload()
        self.assertEqual(verdict.status, 422, verdict)
        told = [p for p in verdict.json()["problems"] if p["severity"] == "error"]
        self.assertEqual(told[0]["file"], name)
        self.assertIn(words, told[0]["text"])

    def test_odd_files_are_refused_by_name_or_passed_over(self):
        first = self.lay("set", "one")
        self.start()
        os.makedirs(os.path.join(self.top, "secret"))
        with open(os.path.join(self.top, "secret/x.lua"), "w", encoding="utf-8") as f:
            f.write("return 1\n")
        at = lambda name: os.path.join(self.path, name)
        os.mkdir(at("lib"))

        def fifo(name):
            os.mkfifo(at(name))

        def unix_socket(name):
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(at(name))

        refused = [
            ("route.lua", lambda n: os.symlink("../secret/x.lua", at(n)), "leads out of the folder"),
            ("lib/x.lua", lambda n: os.symlink("/etc/passwd", at(n)), "leads out of the folder"),
            ("lib/x.lua", lambda n: os.symlink("gone.lua", at(n)), "No such file"),
            ("lib/x.lua", lambda n: os.symlink("x.lua", at(n)), "symbolic links"),
            ("admit.lua", fifo, "is not a file"),
            ("retry.lua", unix_socket, ""),
            ("lib/a b.lua", lambda n: open(at(n), "w", encoding="utf-8").close(), "no `require`"),
        ]
        for name, make, words in refused:
            make(name)
            self.refused(name, words)
            os.unlink(at(name))
        for name in ("caf\u00e9.txt", "new\nline", "x" * 190, "-rf", "a;b", "%s%n", "notes"):
            open(at(name), "w", encoding="utf-8").close()
        os.mkdir(at("subfolder"))
        os.mkdir(at(".git"))
        verdict = self.server.reload()
        self.assertEqual(verdict.status, 200, verdict)
        self.assertEqual(verdict.json()["version"], first)
        told = {p["file"]: p["severity"] for p in verdict.json()["problems"]}
        self.assertEqual(set(told.values()), {"warning"})
        self.assertIn("subfolder", told)
        self.assertNotIn(".git", told)
        self.assertEqual(self.word(), "one")

    def test_files_that_others_may_write_are_refused_unless_the_folder_is_trusted(self):
        self.lay("set", "one")
        self.start()
        name = os.path.join(self.path, "respond.lua")
        self.lay("set", "two")
        os.chmod(name, 0o606)
        self.refused("respond.lua", "others may write this file")
        self.assertEqual(self.word(), "one")
        os.chmod(name, 0o600)
        self.await_version(disk.version_of(self.contents("two")), "a file put right by chmod")
        os.chmod(name, 0o606)
        self.start(flags=("--trust-folder",))
        self.assertEqual(self.word(), "two")

    def test_the_environment_can_trust_the_folder(self):
        self.lay("set", "one")
        os.chmod(os.path.join(self.path, "respond.lua"), 0o606)
        with self.assertRaises(procs.Failed):
            self.start()
        self.server = self.serve(disk.Plain(self.path), env={"NEAP_TRUST_FOLDER": "1"})
        self.addCleanup(self.server.stop)
        self.started = [self.server]
        self.assertEqual(self.word(), "one")


if __name__ == "__main__":
    case.main()
