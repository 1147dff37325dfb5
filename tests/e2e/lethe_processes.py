"""Real processes for tests: `lethe up`, or server, workers and verifier one by one, and the commands that speak to them.

  with Up(bin_folder, data_folder) as up:
      up.lethe("ticket", "list")          # a finished process: returncode, stdout, stderr
      up.json("model", "get", "m")        # its output, decoded

Nothing here sleeps for a fixed time: it waits for what a process says or for its end, with a limit that only a fault
reaches. LETHE_E2E_PATIENCE multiplies the limits (a busy machine).
"""

import json
import os
import select
import signal
import subprocess
import time

PATIENCE = float(os.environ.get("LETHE_E2E_PATIENCE", "1"))


class Failure(AssertionError):
    """What a test says when a command did not do what it should."""


def run(arguments, environment=None, limit=600):
    env = dict(os.environ, **(environment or {}))
    return subprocess.run([str(a) for a in arguments], env=env, capture_output=True, text=True, timeout=limit * PATIENCE)


def must(arguments, environment=None, limit=600):
    done = run(arguments, environment, limit)
    if done.returncode != 0:
        raise Failure(f"{' '.join(str(a) for a in arguments)}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Client:
    """The command line against one server."""

    def __init__(self, bin_folder, server=None):
        self.bin = bin_folder
        self.server = server

    def lethe(self, *arguments, limit=600):
        return run([os.path.join(self.bin, "lethe"), *arguments], {"LETHE_SERVER": self.server or ""}, limit)

    def must(self, *arguments, limit=600):
        done = self.lethe(*arguments, limit=limit)
        if done.returncode != 0:
            raise Failure(f"lethe {' '.join(map(str, arguments))}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def json(self, *arguments, limit=600):
        return json.loads(self.must(*arguments, "--output", "json", limit=limit))


class Up(Client):
    """`lethe up` on a free port, until the end of the block; then SIGTERM, and its exit code is checked."""

    def __init__(self, bin_folder, data_folder, *options):
        super().__init__(bin_folder)
        self.data = data_folder
        self.options = options
        self.process = None
        self.ready = None

    def __enter__(self):
        self.errors = open(os.path.join(os.path.dirname(self.data), "up.log"), "w+")
        self.process = subprocess.Popen(
            [os.path.join(self.bin, "lethe"), "up", "--data", self.data, "--port", "0", "--output", "json", *self.options],
            stdout=subprocess.PIPE, stderr=self.errors, text=True)
        line = read_line(self.process, 120)
        if not line:
            self.errors.seek(0)
            raise Failure("lethe up did not become ready:\n" + self.errors.read())
        self.ready = json.loads(line)
        self.server = self.ready["server"]
        return self

    def __exit__(self, kind, value, trace):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(120 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = "killed after two minutes"
        self.process.stdout.close()
        self.errors.seek(0)
        errors = self.errors.read()
        self.errors.close()
        if kind is None and code != 0:
            raise Failure(f"lethe up ended with {code}\n{errors}")


def read_line(process, limit):
    """The first line of a process, "" when it ends before."""
    until = time.monotonic() + limit * PATIENCE
    while time.monotonic() < until:
        readable, _, _ = select.select([process.stdout], [], [], 0.2)
        if readable:
            return process.stdout.readline()
        if process.poll() is not None:
            return process.stdout.readline()
    return ""


def files_below(folder):
    return [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]


def find_bytes(folder, wanted):
    """Files below `folder` that hold one of these byte strings, or whose name does."""
    found = []
    for path in files_below(folder):
        with open(path, "rb") as f:
            content = f.read()
        for needle in wanted:
            if needle in content or needle in path.encode():
                found.append((path, needle))
    return found
