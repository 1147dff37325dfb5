"""What the peers share: a line in, a line of JSON out, and how much memory they took."""
import json, resource, sys


def peak_memory():
    # ru_maxrss would begin with the peak of the process that started this one.
    with open("/proc/self/status") as f:
        return 1024 * next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))


def memory_now():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def serve(commands):
    """commands: {word: function of the words behind it, giving what json.dumps takes}."""
    for line in sys.stdin:
        word, *rest = line.split()
        print(json.dumps(commands[word](*rest)), flush=True)
