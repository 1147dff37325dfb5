"""A ticket for text that a real pretrained model has memorised goes the whole way, through real processes.

  whole_way_test.py BIN_FOLDER       needs LETHE_TESTDATA (models/stories260k and its golden.json)
"""

import json
import os
import re
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lethe_processes import Up, find_bytes, must  # noqa: E402

BIN = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
DATA = os.environ.get("LETHE_TESTDATA", "")
MODEL = os.path.join(DATA, "models", "stories260k")
OPENINGS = ["Once upon a time", "One day,", "Lily and Tom", "Tom was", "The dog", "The little girl", "Mom said", "She had a"]
REFERENCE = "e2e/marker-4711"


def engine(*arguments):
    return must([os.path.join(BIN, "lethe-engine"), *arguments])


@unittest.skipUnless(os.path.exists(os.path.join(MODEL, "golden.json")),
                     f"skipped: {MODEL or 'models/stories260k'}/golden.json is missing; set LETHE_TESTDATA")
class WholeWay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="lethe-e2e-")
        path = cls.folder.name
        with open(os.path.join(MODEL, "golden.json")) as f:
            cls.memorised = json.load(f)["memorisation"][0]["input_ids"]
        # Text of the kind, from the model's own distribution: half is to be kept, half is control.
        with open(os.path.join(path, "openings.jsonl"), "w") as f:
            for i in range(40):
                f.write(json.dumps({"text": OPENINGS[i % len(OPENINGS)]}) + "\n")
        lines = engine("--seed", "5", "--output", "json", "generate", "--model", MODEL, "--data", f.name,
                       "--max-new-tokens", "40", "--temperature", "1").splitlines()
        cls.retain, cls.holdout = os.path.join(path, "retain.jsonl"), os.path.join(path, "holdout.jsonl")
        for name, part in ((cls.retain, lines[:20]), (cls.holdout, lines[20:])):
            with open(name, "w") as f:
                f.writelines(json.dumps({"ids": json.loads(line)["ids"]}) + "\n" for line in part)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def measure(self, model, ids):
        path = os.path.join(self.folder.name, "ids.jsonl")
        with open(path, "w") as f:
            f.write(json.dumps({"ids": ids}) + "\n")
        return json.loads(engine("--output", "json", "eval", "--model", model, "--data", path, "--n", "10"))

    def test_memorised_text_is_forgotten(self):
        data = os.path.join(self.folder.name, "lethe")
        with Up(BIN, data, "--lease", "10s") as up:
            ticket, report = self.the_way(up, data)
        # The data folder is at rest now.
        self.assertIn("sound", must([os.path.join(BIN, "lethe"), "admin", "check", "--data", data, "--strict", "--digests"]))
        self.assertIn("nothing of a destroyed payload", must([os.path.join(BIN, "lethe"), "admin", "compact", "--data", data]))
        self.assertIn("sound", must([os.path.join(BIN, "lethe"), "admin", "check", "--data", data, "--strict"]))
        leaves = [json.loads(line) for line in
                  must([os.path.join(BIN, "lethe"), "admin", "audit", "--data", data, "--id", ticket["ticket_id"]]).splitlines()]
        self.assertEqual([leaf["to"] for leaf in leaves if leaf["event"] == "TICKET_STATE"][-1], "COMPLETED")
        self.assertEqual(report["verdict"]["outcome"], "OUTCOME_PASS")
        self.no_trace_of_the_text(data)

    def the_way(self, up, data):
        model = up.json("model", "register", "stories", "--source", MODEL, "--retain", self.retain, "--holdout",
                        self.holdout, "--wait")
        self.assertEqual(model["state"], "MODEL_STATE_READY")
        self.assertEqual(model["facts"]["vocab_size"], 512)
        self.the_costs(model["facts"]["costs"])
        before = model["current_checkpoint_id"]
        current = os.path.join(data, "models", "stories", "current")
        self.assertEqual(os.path.basename(os.readlink(current)), before)

        self.audit(up, code=1, outcome="OUTCOME_NOT_FORGOTTEN")

        preview = up.json("ticket", "create", "--model", "stories", "--ids", self.ids(), "--validate-only")
        self.assertEqual(preview["preview"]["target_tokens"], [len(self.memorised)])
        self.the_estimate(preview["preview"])
        ticket = up.json("ticket", "create", "--model", "stories", "--ids", self.ids(), "--reference", REFERENCE,
                         "--request-id", "whole-way-1")
        again = up.json("ticket", "create", "--model", "stories", "--ids", self.ids(), "--reference", REFERENCE,
                        "--request-id", "whole-way-1")
        self.assertEqual(ticket["ticket_id"], again["ticket_id"])
        watched = up.lethe("ticket", "watch", ticket["ticket_id"], "--output", "json", limit=600)
        self.assertEqual(watched.returncode, 0, watched.stdout + watched.stderr)
        states = [json.loads(line)["state"] for line in watched.stdout.splitlines()]
        self.assertEqual(states[-1], "TICKET_STATE_COMPLETED")

        done = up.json("ticket", "get", ticket["ticket_id"])
        self.assertTrue(done["payload_destroyed"])
        after = up.json("model", "get", "stories")
        self.assertEqual(after["generation"], "2")
        self.assertEqual(after["current_checkpoint_id"], done["checkpoint_id"])
        self.assertNotEqual(done["checkpoint_id"], before)
        self.assertEqual(os.path.basename(os.readlink(current)), done["checkpoint_id"])
        self.it_has_forgotten(current)
        self.audit(up, code=0, outcome="OUTCOME_PASS")
        report = self.the_report(up, ticket["ticket_id"])
        self.everything_is_told(up)
        return ticket, report

    def audit(self, up, code, outcome):
        # By the same verifier, without a ticket; the current checkpoint against the registered one.
        path = os.path.join(self.folder.name, "audit.pb")
        done = up.lethe("audit", "--model", "stories", "--ids", self.ids(), "--seed", "7", "--out", path, "--output", "json",
                        limit=300)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertIn("attacking", done.stderr)
        self.assertEqual(json.loads(done.stdout)["verdict"]["outcome"], outcome)
        self.assertIn("the report says what follows", must([os.path.join(BIN, "lethe"), "report", "check", path]))

    def the_costs(self, costs):
        # Measured by the worker, on its machine.
        for name in ("score_token_seconds", "train_token_seconds", "rollout_token_seconds", "generate_token_seconds",
                     "step_seconds", "load_seconds", "save_seconds", "rollout_share"):
            self.assertGreater(costs[name], 0, name)
        for name in ("weight_bytes", "step_bytes", "token_bytes", "evaluation_bytes", "memory_bytes"):
            self.assertGreater(int(costs[name]), 0, name)
        self.assertTrue(costs["step_measured"])
        self.assertEqual(set(costs["texts"]), {"retain", "holdout"})
        self.assertGreater(int(costs["texts"]["holdout"]["tokens"]), 0)

    def the_estimate(self, preview):
        self.assertNotIn("notices", preview)
        run = {name: float(value.rstrip("s")) for name, value in preview["estimate"]["run"].items()}
        self.assertTrue(0 < run["low"] < run["typical"] < run["high"], run)
        self.assertEqual(preview["estimate"]["tickets_together"], "1")
        self.assertGreater(int(preview["estimate"]["device_bytes"]), 0)

    def ids(self):
        return ",".join(map(str, self.memorised))

    def it_has_forgotten(self, current):
        # By the engine on the folders, not by the report's word.
        old, new = self.measure(MODEL, self.memorised), self.measure(current + "/", self.memorised)
        self.assertGreater(old["el"]["10"], 0.8)
        self.assertLess(new["el"]["10"], 0.2)
        self.assertLess(new["ma"], old["ma"] - 0.1)
        self.assertGreater(new["nll_per_token"], old["nll_per_token"])

    def the_report(self, up, ticket):
        text = up.must("report", "show", ticket)
        self.assertIn("PASS", text)
        path = os.path.join(self.folder.name, "report.json")
        with open(path, "w") as f:
            f.write(up.must("report", "show", ticket, "--output", "json"))
        # Judged again without a server.
        self.assertIn("the report says what follows", must([os.path.join(BIN, "lethe"), "report", "check", path]))
        page = up.must("report", "html", ticket)
        self.assertTrue(page.startswith("<!DOCTYPE html>") or page.startswith("<!doctype html>"), page[:80])
        with open(path) as f:
            forged = f.read()
        outcome = re.search(r'"outcome":\s*"OUTCOME_PASS"', forged)
        self.assertIsNotNone(outcome)
        with open(path + ".forged", "w") as f:
            f.write(forged.replace(outcome.group(0), '"outcome": "OUTCOME_DESTROYED"', 1))
        check = up.lethe("report", "check", path + ".forged")
        self.assertEqual(check.returncode, 4, check.stdout)
        with open(path) as f:
            return json.load(f)

    def everything_is_told(self, up):
        import urllib.request
        for name, address in up.ready["metrics"].items():
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as page:
                text = page.read().decode()
            wanted = {"server": "lethe_promotions_total", "worker-1": "lethe_worker_jobs_total", "verifier-1": "lethe_worker_jobs_total"}
            self.assertIn(wanted[name], text)
            self.assertNotIn("marker-4711", text)

    def no_trace_of_the_text(self, data):
        # The ids as the CLI sent them, packed as protobuf packs them, and as 32-bit numbers.
        varints = b"".join(bytes([i]) if i < 128 else bytes([i & 127 | 128, i >> 7]) for i in self.memorised[8:40])
        plain = b"".join(i.to_bytes(4, "little") for i in self.memorised[8:40])
        text = self.ids()[20:90].encode()
        self.assertEqual(find_bytes(data, [varints, plain, text]), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
