"""neap repl at a terminal: typed into tmux, read from its screen."""

import os
import re
import shlex
import subprocess
import tempfile
import time

from case import main
from repl import ReplCase

WAIT_S = 15


class Terminal(ReplCase):
    """A tmux of its own for each test, 80 columns wide."""

    def setUp(self):
        super().setUp()
        self.sockets = tempfile.mkdtemp(prefix="tmux-", dir=self.home)
        self.addCleanup(self.tmux, "kill-server", check=False)

    def tmux(self, *words, check=True, **kw):
        env = {**os.environ, "TMUX_TMPDIR": self.sockets}
        env.pop("TMUX", None)
        return subprocess.run(
            ["tmux", "-L", "neap", "-f", "/dev/null", *words], env=env, check=check, capture_output=True, text=True, **kw
        )

    def start(self, *flags, **env):
        """A session on the screen; it says how it ended."""
        words = [os.environ["NEAP_BIN"], "repl", self.policies, *flags]
        given = {"HOME": self.home, "XDG_STATE_HOME": self.env["XDG_STATE_HOME"], "TERM": "screen-256color", **env}
        settings = [f"{key}={shlex.quote(value)}" for key, value in given.items()]
        command = f"env {' '.join(settings)} {shlex.join(words)}; echo left with $?; sleep 60"
        self.tmux("kill-server", check=False)
        time.sleep(0.1)
        self.tmux("new-session", "-d", "-x", "80", "-y", "40", command)
        self.sees(r"^>$")

    def type(self, text, enter=True):
        self.tmux("send-keys", "-l", "--", text)
        if enter:
            self.tmux("send-keys", "Enter")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def paste(self, text):
        self.tmux("load-buffer", "-", input=text)
        self.tmux("paste-buffer", "-p")

    def screen(self, *flags):
        return self.tmux("capture-pane", "-p", *flags).stdout.rstrip("\n")

    def sees(self, pattern):
        """The screen matches, or soon does; the match. tmux gives lines without blanks at their ends."""
        end = time.monotonic() + WAIT_S
        while True:
            got = re.search(pattern, self.screen() + "\n", re.MULTILINE)
            if got:
                return got
            if time.monotonic() > end:
                self.fail(f"not on the screen: {pattern}\n{self.screen()}")
            time.sleep(0.05)

    def leave(self):
        self.keys("C-d")
        self.sees("left with 0")

    # -- tests

    def test_it_greets_and_answers_and_ctrl_d_leaves(self):
        self.start()
        self.sees(r"^neap \d.* policies [0-9a-f]{12} \(\d+ files, \d+ tests pass\)\nsimulated ground, seed 1")
        self.type("1 + 1")
        self.sees(r"^> 1 \+ 1\n2\n>$")
        self.leave()

    def test_ctrl_c_drops_the_line_and_what_is_unfinished_not_the_session(self):
        self.start()
        self.type("this is nothing", enter=False)
        self.sees("^> this is nothing$")
        self.keys("C-c")
        self.sees(r"^> this is nothing\^C\n>$")
        self.type("for i = 1, 2 do")
        self.sees(r"^\.$")
        self.keys("C-c")
        self.sees(r"^\. \^C\n>$")
        self.type("3 * 3")
        self.sees(r"^9\n>$")
        self.leave()

    def test_ctrl_c_ends_a_held_run_not_the_session(self):
        self.start()
        self.type(".step route")
        self.sees(r"^route\.lua:16>$")
        self.keys("C-c")
        self.sees(r"^stopped by Ctrl-C")
        self.type("stats.cost_usd('global/day')")
        self.sees(r"^0\.0\n>$")
        self.leave()

    def test_a_run_is_held_and_goes_on_by_typed_commands(self):
        self.start()
        self.type(".mock openai 500")
        self.type(".step retry")
        self.sees(r"^retry\.lua:6 .*\nretry\.lua:6>$")
        self.type("p attempt.status")
        self.sees(r"^500\n")
        self.type("n")
        self.sees(r"^retry\.lua:7>$")
        self.type("c")
        self.sees(r"^ok +claude-haiku-4-5")
        self.leave()

    def test_many_lines_are_one_entry_of_the_history_also_in_the_next_session(self):
        self.start()
        for line in ("for i = 1, 2 do", "  print(i)", "end"):
            self.type(line)
        self.sees(r"^1\n2\n>$")
        self.keys("Up")
        self.sees(r"^> for i = 1, 2 do\n  print\(i\)\nend")
        self.keys("C-c")
        self.sees(r"\^C\n>$")
        self.leave()
        self.assertEqual(self.read("state/neap/history"), "for i = 1, 2 do\n\t  print(i)\n\tend\n")
        self.start()
        self.keys("Up", "Enter")
        self.sees(r"^> for i = 1, 2 do\n  print\(i\)\nend\n1\n2\n>$")
        self.leave()

    def test_the_history_is_its_owners_and_holds_no_key_of_the_set(self):
        file_key = self.write("key", "sk-CANARY-of-a-file\n").strip()
        set_file = os.path.join(self.policies, "providers.lua")
        text = self.read(set_file).replace('env "ANTHROPIC_API_KEY"', f'file "{file_key}"')
        self.assertIn(file_key, text)
        self.write(set_file, text)
        self.start(OPENAI_API_KEY="sk-CANARY-of-the-environment")
        for line, shown in (
            (".run", r"^ok +gpt-4"),
            (".why", r"^> \.why\n"),
            ("_", r"^>$"),
            ('env "OPENAI_API_KEY"', r"^>$"),
            (" local typed = 'sk-CANARY-typed'", r"^>$"),
            ("1 + 1", r"^2\n>$"),
        ):
            self.type(line)
            self.sees(shown)
        self.keys("Up", "Up")
        self.sees(r"sk-CANARY-typed'$")  # of this session it is
        self.keys("C-c")
        screen = self.screen("-S", "-")
        self.leave()
        kept = self.read("state/neap/history")
        self.assertIn('env "OPENAI_API_KEY"\n1 + 1\n', kept)
        self.assertNotIn("CANARY", kept)
        self.assertNotRegex(screen, "CANARY-of")
        for name in ("state/neap", "state/neap/history"):
            self.assertEqual(os.stat(os.path.join(self.home, name)).st_mode & 0o077, 0, name)

    def test_a_paste_is_taken_literally(self):
        self.start()
        self.paste("function f(x)\n\tlocal y = { x,\n\t\tx }\n\treturn y\nend")
        self.sees(r"end$")
        self.keys("Enter")
        self.type("f(4)")
        self.sees(r"^\{ 4, 4 \}")
        self.leave()
        self.assertIn("\t\tlocal y = { x,\n", self.read("state/neap/history"))

    def test_tab_completes_commands_names_fields_and_models(self):
        self.start()
        for typed, becomes in (
            (".lo", ".load"),
            ("req.prompt_t", "req.prompt_tokens"),
            ("stats.err", "stats.error_rate"),
            ('breaker.state("gpt-4.1-', 'breaker.state("gpt-4.1-mini'),
            (".mock anth", ".mock anthropic"),
            (".help sa", ".help save"),
        ):
            self.type(typed, enter=False)
            self.keys("Tab")
            self.sees("^> " + re.escape(becomes) + "$")
            self.keys("C-c")
            self.sees("^> " + re.escape(becomes) + "\\^C\n>$")
        self.type("mine = { alpha = 1, alps = 2 }")
        self.type("mine.a", enter=False)
        self.keys("Tab")
        self.sees(r"^> mine\.alp$")
        self.keys("Tab")
        self.sees(r"^alpha +alps\n> mine\.alp$")
        self.keys("C-c")
        self.sees(r"\^C\n>$")
        self.leave()

    def test_a_run_fits_80_columns(self):
        self.start()
        self.type(".run")
        self.sees(r"^route .*\n {30}\S.*because premium first")
        self.sees(r"^ok +gpt-4.1")
        self.type(".why")
        self.sees(r"^route planned .* because premium first\n  \(route\.lua:25\)\.$")
        self.leave()

    def test_colours_are_for_those_who_want_them(self):
        self.start()
        self.type(".run")
        self.sees(r"^ok +gpt-4.1")
        self.assertIn("\033[1m", self.screen("-e"))
        self.start(NO_COLOR="1")
        self.type(".run")
        self.sees(r"^ok +gpt-4.1")
        self.assertNotIn("\033[", self.screen("-e"))

    def test_an_inputrc_is_respected(self):
        self.write(".inputrc", '$if Bash\n"\\C-p": kill-line\n$endif\n"\\C-p": history-search-backward\n')
        self.start()
        self.type("11 + 1")
        self.type("22 + 2")
        self.sees(r"^24\n>$")
        self.type("11", enter=False)
        self.keys("C-p")
        self.sees(r"^> 11 \+ 1$")
        self.keys("C-c")
        self.sees(r"\^C\n>$")
        self.leave()

    def test_the_editor_has_the_terminal_and_what_changed_is_shown(self):
        editor = self.write("editor", '#!/bin/sh\nsed -i \'s/local PREMIUM = { "gpt-4.1" }/local PREMIUM = { "gpt-4.1-mini" }/\' "$1"\n')
        os.chmod(editor, 0o755)
        self.start(EDITOR=editor)
        self.type(".run")
        self.sees(r"^ok +gpt-4.1 ")
        self.type(".edit route")
        self.sees(r"^~ route +gpt-4.1-mini, claude-haiku-4-5 +\(was gpt-4.1, ")
        self.leave()


if __name__ == "__main__":
    main()
