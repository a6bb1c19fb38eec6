"""Policy folders laid out by hand: links, mounts and whatever else may lie there."""

import hashlib
import os

import case
import policies as sets
import wire

RESPOND = 'return function() return {{ text = "{word}" }} end\n'


def version_of(files):
    """The version of a set by the rule in README: the first 12 hex digits of the SHA-256 over each
    file's name, NUL, size, NUL and content, sorted by name."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items(), key=lambda item: item[0].encode()):
        data = content.encode()
        digest.update(name.encode() + b"\0" + str(len(data)).encode() + b"\0" + data)
    return digest.hexdigest()[:12]


def reload(server):
    """A reload that may take minutes under a sanitizer."""
    path, headers = "/api/policies/reload", {"X-Neap-Admin": "1"}
    return wire.ask(server.admin_port, "POST", path, None, headers, timeout=300)


class Plain:
    """What procs.Serve wants of policies: a path that is written already."""

    def __init__(self, path):
        self.path = path

    def write(self):
        return self


class Layout(case.Case):
    """Each test lays a folder out its own way and has a server on it."""

    def setUp(self):
        self.mock.control()
        self.files = sets.Policies(self.mock.url)
        self.files.provider("p")
        self.files.model("m", "p")
        self.files.endpoint("assistant", ["m"])
        self.top = self.files.path
        self.path = os.path.join(self.top, "set")

    def contents(self, word):
        return {**self.files.data(), "respond.lua": RESPOND.format(word=word)}

    def lay(self, folder, word):
        """Writes a whole set; its version."""
        files = self.contents(word)
        path = os.path.join(self.top, folder)
        os.makedirs(path, exist_ok=True)
        for name, content in files.items():
            with open(os.path.join(path, name), "w", encoding="utf-8") as f:
                f.write(content)
        return version_of(files)

    def start(self, path=None, flags=()):
        self.server = self.serve(Plain(path or self.path), flags=flags)
        self.addCleanup(self.server.stop)
        self.started = [self.server]

    def running(self):
        return self.server.status()["policy"]

    def word(self):
        return self.assertGood(self.server.ask("hello"))["text"]
