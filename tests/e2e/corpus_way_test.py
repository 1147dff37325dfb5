"""A person of a registered corpus goes the whole way, through real processes: out of the model, of the corpus, and of
the teacher that saw them.

  corpus_way_test.py BIN_FOLDER       needs LETHE_TESTDATA (models/stories260k and its golden.json)
"""

import json
import os
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lethe_processes import Up, find_bytes, must  # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
DATA = os.environ.get("LETHE_TESTDATA", "")
MODEL = os.path.join(DATA, "models", "stories260k")
OPENINGS = ["Once upon a time", "One day,", "Lily and Tom", "Tom was", "The dog", "The little girl", "Mom said", "She had a"]
SHARDS = 2


def write_lines(path, lines):
    with open(path, "w") as f:
        f.writelines(json.dumps(line) + "\n" for line in lines)
    return path


@unittest.skipUnless(os.path.exists(os.path.join(MODEL, "golden.json")),
                     f"skipped: {MODEL or 'models/stories260k'}/golden.json is missing; set LETHE_TESTDATA")
class CorpusWay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="lethe-e2e-corpus-")
        path = cls.path
        with open(os.path.join(MODEL, "golden.json")) as f:
            cls.memorised = json.load(f)["memorisation"][0]["input_ids"]
        # Text of the kind, from the model's own distribution: a third is kept, a third is control.
        openings = write_lines(path("openings.jsonl"), [{"text": OPENINGS[i % len(OPENINGS)]} for i in range(60)])
        texts = [json.loads(line)["ids"] for line in must(
            [os.path.join(BIN, "lethe-engine"), "--seed", "5", "--output", "json", "generate", "--model", MODEL, "--data",
             openings, "--max-new-tokens", "40", "--temperature", "1"]).splitlines()]
        cls.retain = write_lines(path("retain.jsonl"), [{"ids": ids} for ids in texts[:20]])
        cls.holdout = write_lines(path("holdout.jsonl"), [{"ids": ids} for ids in texts[20:40]])
        people = [{"ids": ids, "subject": f"person-{i % 12}", "document": f"letter-{i}"} for i, ids in enumerate(texts)]
        # The person who wants to be forgotten stands among them.
        people.insert(30, {"ids": cls.memorised, "subject": "jane", "document": "letter-jane"})
        cls.early = write_lines(path("early.jsonl"), people[:25])
        cls.late = write_lines(path("late.jsonl"), people[25:])
        # Teachers so small may not do: then the next rung.
        cls.policy = write_lines(path("policy.json"), [{"ladder": [
            {"method": "leave_one_out", "preset": "ensemble", "overrides": {"max_steps": 60}},
            {"method": "gradient_ascent", "preset": "calibrated"}]}])
        cls.broken = write_lines(path("broken.jsonl"), people[25:27] + [{"ids": [5, 6], "document": "nobody's"}])

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def test_a_person_leaves_the_model_the_corpus_and_its_teacher(self):
        data = self.path("lethe")
        with Up(BIN, data, "--lease", "10s", "--workers", "2") as up:
            up.must("model", "register", "stories", "--source", MODEL, "--retain", self.retain, "--holdout", self.holdout,
                    "--policy", self.policy, "--wait")
            self.before_there_is_one(up)
            self.a_broken_line_is_named(up)
            before = self.registered(up, data)
            self.preview(up, before)
            ticket = self.forgotten(up)
            self.a_teacher_was_asked_first(up, ticket)
            self.after(up, data, before, ticket)
        self.assertIn("sound", must([os.path.join(BIN, "lethe"), "admin", "check", "--data", data, "--strict", "--digests"]))
        self.assertIn("nothing of a destroyed payload", must([os.path.join(BIN, "lethe"), "admin", "compact", "--data", data]))
        self.assertEqual(find_bytes(data, self.traces()), [])

    def before_there_is_one(self, up):
        done = up.lethe("ticket", "create", "--model", "stories", "--subject", "jane")
        self.assertEqual(done.returncode, 1)
        self.assertIn("NO_CORPUS", done.stderr)

    def register(self, up, *sources):
        named = [word for source in sources for word in ("--source", source)]
        return up.lethe("corpus", "register", "--model", "stories", *named, "--shards", str(SHARDS), "--slices", "2",
                        "--teacher-hidden", "32", "--teacher-layers", "1", "--teacher-epochs", "2", "--wait")

    def a_broken_line_is_named(self, up):
        done = self.register(up, self.early, self.broken)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(f"FAILED, SUBJECT_MISSING: {self.broken}:3", done.stderr)

    def registered(self, up, data):
        done = self.register(up, self.early, self.late)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        corpus = up.json("model", "get", "stories")["corpus"]
        self.assertEqual(corpus["state"], "CORPUS_STATE_READY")
        self.assertEqual(corpus["sequences"], "61")
        self.assertEqual([shard["state"] for shard in corpus["shards"]], ["TEACHER_STATE_READY"] * SHARDS)
        self.assertTrue(all(os.path.exists(self.teacher(data, corpus, m)) for m in range(SHARDS)))
        # Else the scan at the end finds nothing because it looks for the wrong thing.
        self.assertNotEqual(find_bytes(os.path.join(data, "models", corpus["folder"]), self.traces()), [])
        return corpus

    @staticmethod
    def teacher(data, corpus, shard):
        folder = os.path.dirname(corpus["folder"].rstrip("/"))
        return os.path.join(data, "models", folder, "teachers", f"shard-{shard}", "model")

    def preview(self, up, corpus):
        said = up.json("ticket", "create", "--model", "stories", "--subject", "jane", "--validate-only")["preview"]["corpus"]
        self.assertEqual(said["sequences"], 1)
        self.assertEqual(said["slices"], 1)
        self.assertEqual(len(said["shards"]), 1)
        self.assertEqual(said["teachers_left"], SHARDS - 1)
        self.assertGreater(int(said["retrain_tokens"]), 0)
        text = up.must("ticket", "create", "--model", "stories", "--subject", "jane", "--validate-only")
        self.assertIn(f"1 sequence in 1 of {SHARDS} shards (1 slice)", text)
        self.assertIn("valid; nothing was filed", text)
        self.assertEqual(up.json("model", "get", "stories")["corpus"], corpus)

    def forgotten(self, up):
        ticket = up.json("ticket", "create", "--model", "stories", "--subject", "jane")
        self.assertEqual(ticket["corpus"]["sequences"], 1)
        watched = up.lethe("ticket", "watch", ticket["ticket_id"], "--output", "json", limit=600)
        self.assertEqual(watched.returncode, 0, watched.stdout + watched.stderr)
        states = [json.loads(line)["state"] for line in watched.stdout.splitlines()]
        self.assertEqual(states[-1], "TICKET_STATE_COMPLETED")
        self.assertIn("TICKET_STATE_ERASING", states)
        return up.json("ticket", "get", ticket["ticket_id"])

    def a_teacher_was_asked_first(self, up, ticket):
        reports = [up.json("report", "show", ticket["ticket_id"], "--report", report) for report in ticket["report_ids"]]
        runs = [report["measurements_decoded"]["unlearn_run"] for report in reports]
        self.assertEqual(runs[0]["method"], "leave_one_out")
        self.assertEqual(reports[-1]["verdict"]["outcome"], "OUTCOME_PASS")

    def after(self, up, data, before, ticket):
        self.assertTrue(ticket["payload_destroyed"])
        corpus = up.json("model", "get", "stories")["corpus"]
        touched = ticket["corpus"]["shards"]
        for old, new in zip(before["shards"], corpus["shards"]):
            self.assertEqual(new["state"], "TEACHER_STATE_READY")
            # Of the touched shard another state; of the other the same.
            self.assertEqual(new["state_key"] != old["state_key"], old.get("shard", 0) in touched)
        self.assertTrue(all(os.path.exists(self.teacher(data, corpus, m)) for m in range(SHARDS)))
        for flag, key, reason in (("--subject", "jane", "SUBJECT_UNKNOWN"), ("--document", "letter-jane", "DOCUMENT_UNKNOWN")):
            done = up.lethe("ticket", "create", "--model", "stories", flag, key)
            self.assertEqual(done.returncode, 1)
            self.assertIn(reason, done.stderr)

    def traces(self):
        # Parts of the sequence as the corpus has it (two bytes an id), as protobuf packs it, as 32-bit numbers, as text.
        part = self.memorised[8:40]
        return [struct.pack(f"<{len(part)}H", *part),
                b"".join(bytes([i]) if i < 128 else bytes([i & 127 | 128, i >> 7]) for i in part),
                struct.pack(f"<{len(part)}I", *part),
                ",".join(map(str, part)).encode()]


if __name__ == "__main__":
    unittest.main(verbosity=2)
