#!/usr/bin/env python3
"""Checks who includes whom, by the table in tools/rooms.toml.

  tools/check_rooms.py [ROOT]     ROOT: the tree to check (default: the one this script is in)

Prints `file:line: what is wrong`, the wall that was crossed, and the remedy; exits 1 when there was any.
Four kinds of rule, all from the table: what a room includes; what a room reaches through our own headers; pairs of
libraries that no file sees together; and what CMake lets a room's targets link, with LibTorch linked PRIVATE.
"""

import fnmatch
import os
import re
import subprocess
import sys

try:
    import tomllib
except ImportError:
    sys.exit("tools/check_rooms.py needs Python 3.11 or newer (tomllib)")

SOURCES = (".h", ".hpp", ".cc", ".cpp", ".cu", ".cuh")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Headers of the C++ library have no dot; C and POSIX headers are free for all.
POSIX = re.compile(r"^[^./]+$|^[a-z0-9_]+\.h$|^(sys|net|netinet|arpa|linux|asm|bits)/[a-z0-9_]+\.h$")
SKIP = {".git", ".deps", "build", "target", "node_modules"}


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def one_level(path, pattern):
    """fnmatch whose star stays within one folder: engine/*.h is not engine/loss/x.h."""
    return fnmatch.fnmatchcase(path, pattern) and path.count("/") == pattern.count("/")


class Tree:
    """The sources and CMakeLists.txt of a tree, and its table."""

    def __init__(self, root):
        self.root = root
        with open(os.path.join(root, "tools/rooms.toml"), "rb") as f:
            self.table = tomllib.load(f)
        self.rooms = self.table["room"]
        self.libraries = self.table["library"]
        self.files = [f for f in self._list() if f.endswith(SOURCES)]
        self.cmake = [f for f in self._list() if os.path.basename(f) == "CMakeLists.txt"]
        self.includes = {f: self._read_includes(f) for f in self.files}  # path -> [(line, name, quoted)]

    def _list(self):
        git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=self.root, text=True,
                             capture_output=True) if os.path.exists(os.path.join(self.root, ".git")) else None
        if git and git.returncode == 0:
            return sorted(p for p in set(git.stdout.splitlines()) if os.path.isfile(os.path.join(self.root, p)))
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [d for d in folders if d not in SKIP]
            found += [os.path.relpath(os.path.join(folder, n), self.root) for n in names]
        return sorted(found)

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()

    def _read_includes(self, path):
        found = []
        for number, line in enumerate(self.read(path).splitlines(), 1):
            if m := INCLUDE.match(line):
                found.append((number, m.group(2), m.group(1) == '"'))
        return found

    def room_of(self, path):
        """The room with the longest folder that holds `path`, or None."""
        best = [r for r in self.rooms if path.startswith(r + "/")]
        return max(best, key=len) if best else None

    def own_file(self, includer, name, quoted):
        """The file of ours that an include names, or None. Generated headers are not files of the tree."""
        beside = os.path.normpath(os.path.join(os.path.dirname(includer), name))
        for candidate in [name] + ([beside] if quoted else []):
            if candidate in self.includes:
                return candidate
        return None

    def libraries_of(self, name):
        """The libraries that an include names; the most special one only (a .grpc.pb.h is grpc, not protobuf)."""
        hits = []
        for library, entry in self.libraries.items():
            hits += [(len(p), library) for p in entry["includes"] if fnmatch.fnmatchcase(name, p)]
        return [max(hits)[1]] if hits else []

    def is_contract(self, name):
        return name.endswith(".pb.h")


def may_use_library(room, library):
    return library in room["libraries"] or "*" in room["libraries"]


def may_use_file(tree, name, room, target_path, target_room):
    if "*" in room["rooms"] or target_room == name or target_room in room["rooms"]:
        return True
    # An inner room (engine/cli in engine) is a room of its own; headers may be opened one by one.
    return any("." in r and one_level(target_path, r) for r in room["rooms"])


def allowed(entry):
    return "it may use: " + (", ".join(entry["rooms"] + entry["libraries"]) or "nothing here")


def wall(name, entry):
    return f"the wall: {name}: {entry['why']}\n      {allowed(entry)}"


class Checker:
    def __init__(self, tree):
        self.tree = tree
        self.problems = []
        self._reach = {}

    def problem(self, path, line, what, why, remedy):
        self.problems.append(f"{path}:{line}: {what}\n    {why}\n    remedy: {remedy}")

    def check(self):
        for path in self.tree.files:
            name = self.tree.room_of(path)
            if name is None:
                self.problem(path, 1, "this file is in no room", "every C++ file is in a room of tools/rooms.toml",
                             "move it into one, or add the room to the table with a line that says why")
                continue
            self.check_direct(path, name)
            self.check_reach(path, name)
        for path in self.tree.cmake:
            self.check_cmake(path)
        return self.problems

    def check_direct(self, path, name):
        tree, room = self.tree, self.tree.rooms[name]
        for line, include, quoted in tree.includes[path]:
            own = tree.own_file(path, include, quoted)
            libraries = tree.libraries_of(include)
            if own:
                other = tree.room_of(own)
                if not may_use_file(tree, name, room, own, other):
                    self.problem(path, line, f"{name} may not include {include} (room {other or 'none'})",
                                 wall(name, room), self.remedy_for_room(name, other))
            elif tree.is_contract(include) and not may_use_file(tree, name, room, include, "proto"):
                self.problem(path, line, f"{name} may not include {include} (a contract)", wall(name, room),
                             "take plain types here and translate where the contract is known")
            elif not own and tree.room_of(include) and not libraries:
                self.problem(path, line, f"{include} is not there", "a header of ours is named by its path from the root",
                             "write that header, or fix the path")
            elif not own and not libraries and not POSIX.match(include):
                self.problem(path, line, f"{include} belongs to no file of ours and to no library of the table",
                             "every third-party library is listed in tools/rooms.toml with the rooms that may use it",
                             "fix the path (our own headers are named from the root), or add the library there")
            for library in libraries:
                if not may_use_library(room, library):
                    self.problem(path, line, f"{name} may not use {library} ({include})", wall(name, room),
                                 f"move the code to a room that may use {library}, and hide it behind that room's header")

    def remedy_for_room(self, name, other):
        if other == "engine" and any(r.startswith("engine/") for r in self.tree.rooms[name]["rooms"]):
            opened = [r for r in self.tree.rooms[name]["rooms"] if r.startswith("engine/")]
            return f"use what {', '.join(opened)} offers, or widen that public header"
        return f"turn the dependency round: let {other} include {name}, or pass the value in; or move the code to base"

    def reach(self, path):
        """Libraries that a file sees, itself or through our headers: {library: chain of (file, line)}."""
        if path in self._reach:
            return self._reach[path]
        seen, result, todo = {path}, {}, [(path, ())]
        while todo:
            current, chain = todo.pop(0)
            for line, include, quoted in self.tree.includes[current]:
                step = chain + ((current, line),)
                libraries = self.tree.libraries_of(include)
                for library in libraries:
                    result.setdefault(library, step + ((include, 0),))
                own = self.tree.own_file(current, include, quoted)
                if own and own not in seen:
                    seen.add(own)
                    todo.append((own, step))
        self._reach[path] = result
        return result

    def check_reach(self, path, name):
        reached = self.reach(path)
        for library, chain in reached.items():
            # A direct include was judged above; here are those through our own headers, judged for
            # the heavy walls: which libraries a header of a room brings along is that room's
            # choice, but torch, gRPC, RocksDB and protobuf come with compile time, link order and
            # shadowed headers.
            if len(chain) > 2 and library in HEAVY and not may_use_library(self.tree.rooms[name], library):
                self.problem(path, chain[0][1], f"{name} may not use {library}, and sees it through {show(chain)}",
                             wall(name, self.tree.rooms[name]),
                             f"keep {library} out of that header: forward declaration, or a private implementation")
        for rule in self.tree.table.get("never_together", []):
            a, b = rule["libraries"]
            if a in reached and b in reached:
                line = min(reached[a][0][1], reached[b][0][1])
                self.problem(path, line, f"sees {a} and {b}: {show(reached[a])}; {show(reached[b])}",
                             "the wall: " + rule["why"], rule["remedy"])
        for rule in self.tree.table.get("free_of", []):
            for library in rule["libraries"]:
                if one_level(path, rule["files"]) and library in reached:
                    self.problem(path, reached[library][0][1], f"must be free of {library}: {show(reached[library])}",
                                 "the wall: " + rule["why"], rule["remedy"])

    def check_cmake(self, path):
        """What the targets of a room link, and LibTorch PRIVATE."""
        name = self.tree.room_of(path)
        if name is None:
            return
        room = self.tree.rooms[name]
        for line, function, arguments in cmake_calls(self.tree.read(path)):
            public = public_part(function, arguments)
            for target in arguments:
                # gRPC before protobuf: the most special pattern decides, as for includes.
                hits = [(len(p), lib) for lib, e in self.tree.libraries.items() for p in e["targets"]
                        if fnmatch.fnmatchcase(target, p)]
                if not hits:
                    continue
                library = max(hits)[1]
                if not may_use_library(room, library):
                    self.problem(path, line, f"{name} may not link {target}", wall(name, room),
                                 f"move the code that needs {library} to a room that may use it")
                if library == "torch" and target in public:
                    self.problem(path, line, f"{target} must be linked PRIVATE",
                                 "the wall: PUBLIC puts LibTorch's old google/protobuf before the machine's in every dependant",
                                 "list it under PRIVATE_DEPS of lethe_library (PRIVATE of target_link_libraries)")


HEAVY = {"torch", "cuda", "grpc", "rocksdb", "protobuf", "prometheus", "tokenizers"}


def show(chain):
    return " -> ".join(f"{p}:{n}" if n else p for p, n in chain)


def cmake_calls(text):
    """(line, function, arguments) of the calls that link something."""
    text = re.sub(r"#[^\n]*", "", text)
    for m in re.finditer(r"\b(lethe_library|lethe_binary|lethe_test|target_link_libraries)\s*\(([^)]*)\)", text):
        yield text.count("\n", 0, m.start()) + 1, m.group(1), m.group(2).split()


def public_part(function, arguments):
    """The targets that a call links so that dependants see them."""
    public, visible = set(), function == "target_link_libraries"
    for a in arguments[1:]:
        if a in ("PUBLIC", "INTERFACE", "DEPS"):
            visible = function in ("lethe_library", "target_link_libraries")
        elif a in ("PRIVATE", "PRIVATE_DEPS", "SRCS", "LABELS", "ARGS", "TIMEOUT", "NEEDS"):
            visible = False
        elif visible:
            public.add(a)
    return public


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    tree = Tree(os.path.abspath(root))
    problems = Checker(tree).check()
    for p in problems:
        print(p)
    print(f"{len(tree.files)} files, {len(tree.cmake)} CMakeLists.txt, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
