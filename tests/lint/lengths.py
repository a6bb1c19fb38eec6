"""Keeps files, functions and decisions small, in C, Lua and Python.

A file has at most 600 lines, a function at most 60 from the line with its name to its last brace,
a hook of a policy set at most 25. A function decides at most 15 times: each if, loop, case, &&,
|| and ?: counts, the default of a switch and else do not. What stands in a function inside a
function counts for the lines of both and the decisions of the inner one alone.

The C reader is no parser: it takes comments, strings and preprocessor lines away, and a brace at
the outermost level that follows a closing parenthesis is a function's.
"""

import ast
import os
import re
import sys

FILE_LINES = 600
FUNCTION_LINES = 60
HOOK_LINES = 25
BRANCHES = 15

FOLDERS = ("src", "include", "lua", "policies", "tests", "examples")
HOOKS = ("admit", "route", "truncate", "budget", "retry", "respond", "degrade", "alert")
EXCEPTIONS = "tests/lint/lengths.exceptions"

# A string or a comment, whichever begins first.
C_NOISE = re.compile(
    r'/\*.*?\*/|//(?:\\\n|[^\n])*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)
C_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
C_TOKEN = re.compile(r"[A-Za-z_]\w*|&&|\|\||[?{}();=]")
C_BRANCH = {"if", "for", "while", "case", "&&", "||", "?"}
LUA_NOISE = re.compile(
    r'--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
    re.DOTALL,
)
LUA_TOKEN = re.compile(
    r"\bfunction\b(?:\s+([\w.:]+))?|\b(?:if|elseif|for|while|repeat|until|do|end|and|or)\b"
)
LUA_BRANCH = {"if", "elseif", "for", "while", "repeat", "and", "or"}


def blank(match):
    """The match's newlines, so that line numbers stay; quotes stay as an empty string."""
    return '""' + "\n" * match.group().count("\n")


def c_functions(text):
    """Yields (name, first line, last line, branches) of each function of a C file."""
    text = C_DIRECTIVE.sub(blank, C_NOISE.sub(blank, text))
    depth = parens = branches = 0
    head = []  # what stands at the outermost level since the last statement: (token, line)
    name, first, inside = "", 0, False
    line, seen = 1, 0
    for match in C_TOKEN.finditer(text):
        token = match.group()
        line += text.count("\n", seen, match.start())
        seen = match.start()
        if token == "{":
            if depth == 0:
                name, first = c_function_name(head)
                inside, branches = bool(name), 0
            depth += 1
        elif token == "}":
            depth -= 1
            if depth == 0:
                if inside:
                    yield name, first, line, branches
                    head = []
                inside = False
        elif depth > 0:
            branches += token in C_BRANCH
        elif token == ";" and parens == 0:
            head = []
        else:
            parens += (token == "(") - (token == ")")
            head.append((token, line))


def c_function_name(head):
    """The function that a head announces, with its line; "" for a struct, a table and the like."""
    words = [token for token, _ in head]
    if "(" not in words or words[-1] != ")" or "=" in words:
        return "", 0
    # Attributes such as __attribute__((format(printf, 1, 2))) may stand before the name.
    index = 0
    while "(" in words[index:]:
        paren = words.index("(", index)
        name, first = head[paren - 1] if paren else ("", 0)
        if name.startswith("__attribute__") or name in ("_Alignas", "__declspec"):
            index = c_closing(words, paren) + 1
            continue
        if name in ("START_TEST",):
            name = words[paren + 1]
        return name, first
    return "", 0


def c_closing(words, paren):
    """The index of the parenthesis that closes the one at `paren`."""
    depth = 0
    for index in range(paren, len(words)):
        depth += (words[index] == "(") - (words[index] == ")")
        if depth == 0:
            return index
    return len(words) - 1


def lua_functions(text):
    """Yields (name, first line, last line, branches) of each function of a Lua file."""
    text = LUA_NOISE.sub(blank, text)
    blocks = []  # of open blocks: None, or [name, first line, branches] of a function
    loop_head = False  # between for or while and its do, which opens no block of its own
    line, seen = 1, 0
    for match in LUA_TOKEN.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        token = match.group().split()[0]
        if token in LUA_BRANCH:
            for block in reversed(blocks):
                if block:
                    block[2] += 1
                    break
        if token == "function":
            blocks.append([match.group(1) or "(function)", line, 0])
        elif token in ("for", "while"):
            blocks.append(None)
            loop_head = True
        elif token in ("if", "repeat"):
            blocks.append(None)
        elif token == "do":
            if not loop_head:
                blocks.append(None)
            loop_head = False
        elif token in ("end", "until") and blocks:
            block = blocks.pop()
            if block:
                yield block[0], block[1], line, block[2]


def python_functions(text):
    """Yields (name, first line, last line, branches) of each function of a Python file."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno, sum(map(python_branches, node.body))


def python_branches(node):
    """The decisions in a node, without those of functions inside."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
        return 0
    if isinstance(node, ast.BoolOp):
        own = len(node.values) - 1
    else:
        own = isinstance(node, (ast.If, ast.IfExp, ast.For, ast.While, ast.ExceptHandler, ast.comprehension))
    return own + sum(map(python_branches, ast.iter_child_nodes(node)))


READERS = {".c": c_functions, ".h": c_functions, ".lua": lua_functions, ".py": python_functions}


def is_hook(path, name):
    """Whether the function is the one that a policy set's hook file returns."""
    folder, base = os.path.split(path)
    stem, extension = os.path.splitext(base)
    return folder.split(os.sep)[0] == "policies" and extension == ".lua" and stem in HOOKS and name == "(function)"


def problems_of(path, text):
    """Yields (line, what it is about, what is wrong) for each problem of a file."""
    lines = text.count("\n") + (not text.endswith("\n"))
    if lines > FILE_LINES:
        yield lines, path, f"the file has {lines} lines, at most {FILE_LINES} are good"
    for name, first, last, branches in READERS[os.path.splitext(path)[1]](text):
        limit = HOOK_LINES if is_hook(path, name) else FUNCTION_LINES
        length = last - first + 1
        about = f"{path}:{name}"
        if length > limit:
            yield first, about, f"{name} has {length} lines, at most {limit} are good"
        if branches > BRANCHES:
            yield first, about, f"{name} decides {branches} times, at most {BRANCHES} are good"


def sources():
    """Yields the paths of all files that are looked at."""
    for top in FOLDERS:
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
            for name in sorted(names):
                if os.path.splitext(name)[1] in READERS and not name.startswith("."):
                    yield os.path.join(folder, name)


def main():
    with open(EXCEPTIONS, encoding="utf-8") as listed:
        excepted = {line.strip() for line in listed if line.strip() and not line.startswith("#")}
    looked = faults = 0
    unused = set(excepted)
    for path in sources():
        looked += 1
        try:
            with open(path, encoding="utf-8", errors="replace") as source:
                text = source.read()
        except FileNotFoundError:
            continue
        for line, about, what in problems_of(path, text):
            if about in excepted:
                unused.discard(about)
                continue
            faults += 1
            print(f"{path}:{line}: {what}")
    for about in sorted(unused):
        faults += 1
        print(f"{EXCEPTIONS}: {about} is within the limits: strike it")
    if looked == 0:
        print("looked at no file in: " + " ".join(FOLDERS))
        faults += 1
    print(f"looked at {looked} files: {faults} problems")
    return faults > 0


if __name__ == "__main__":
    sys.exit(main())
