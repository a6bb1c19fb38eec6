"""Policy folders for tests, written from Python values."""

import atexit
import os
import shutil
import tempfile


class Lua(str):
    """Text that stands in a data file as it is: Lua('env "KEY"')."""


def env(name):
    return Lua(f'env "{name}"')


def file(path):
    return Lua(f'file "{path}"')


def text(value):
    """A Lua string."""
    out = ['"']
    for byte in value.encode():
        if byte in b'"\\':
            out.append("\\" + chr(byte))
        elif 0x20 <= byte < 0x7F:
            out.append(chr(byte))
        else:
            out.append(f"\\{byte:03d}")
    return "".join(out) + '"'


def lua(value, depth=1):
    """A Lua expression for a value. Dictionaries stand one entry a line, so that problems have
    lines of their own; what is None is left out."""
    if isinstance(value, Lua):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(lua(item, depth + 1) for item in value) + " }"
    pad = "  " * depth
    given = {key: item for key, item in value.items() if item is not None}
    rows = [f"{pad}[{text(key)}] = {lua(item, depth + 1)},\n" for key, item in given.items()]
    return "{\n" + "".join(rows) + "  " * (depth - 1) + "}"


# Out of the way unless a test is about it.
NO_BREAKER = {"failures": 0, "rate": 0}
PRICE = {"input": 1.0, "output": 2.0}


class Policies:
    """A folder of its own, removed with the test run. url is where providers are called; the
    OpenAI dialect gets it with /v1."""

    def __init__(self, url="http://127.0.0.1:9"):
        self.path = tempfile.mkdtemp(prefix="neap-policies-")
        atexit.register(shutil.rmtree, self.path, ignore_errors=True)
        self.url = url
        self.providers = {}
        self.models = {}
        self.endpoints = {}
        self.tenants = None
        self.budgets = None
        self.alerts = None
        self.files = {}

    def provider(self, name, adapter="openai", **fields):
        self.providers[name] = {
            "adapter": adapter,
            "base_url": self.url + ("/v1" if adapter == "openai" else ""),
            "breaker": NO_BREAKER,
            **fields,
        }
        return name

    def model(self, name, provider, **fields):
        self.models[name] = {
            "provider": provider,
            "context": 128000,
            "max_output": 4096,
            "usd_per_million": PRICE,
            **fields,
        }
        return name

    def endpoint(self, name, models, **fields):
        path = f"/api/{name}/reply"
        self.endpoints[path] = {"models": models, **fields}
        return path

    def hook(self, name, body):
        """A hook file: body is the text of a function's parameters and statements, or a whole file
        when it begins with "return" or "local"."""
        whole = body.lstrip().startswith(("return", "local", "--"))
        self.files[f"{name}.lua"] = body if whole else f"return function{body}\nend\n"

    def data(self):
        files = {
            "providers.lua": self.providers,
            "models.lua": self.models,
            "endpoints.lua": self.endpoints,
            "tenants.lua": self.tenants,
            "budgets.lua": self.budgets,
            "alerts.lua": self.alerts,
        }
        out = {name: f"return {lua(v)}\n" for name, v in files.items() if v is not None}
        out.update(self.files)
        return out

    def write(self):
        """Brings the folder up to date; each file in one step, unchanged ones not at all."""
        for name, content in self.data().items():
            self.put(name, content)
        return self

    def put(self, name, content):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as old:
                if old.read() == content:
                    return
        temp = os.path.join(os.path.dirname(path), ".next")
        with open(temp, "w", encoding="utf-8") as new:
            new.write(content)
        os.rename(temp, path)

    def remove(self, name):
        self.files.pop(name, None)
        os.unlink(os.path.join(self.path, name))
