"""tools/check_rooms.py refuses what the table forbids, says where and what to do, and lets the rest pass.

Each case is a small tree of its own with the real tools/rooms.toml; the checker runs on it as ./dev lint runs it.
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
CHECKER = os.path.join(ROOT, "tools/check_rooms.py")


def check(files):
    """Runs the checker on a tree of these files; returns (exit status, output)."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(ROOT, "tools/rooms.toml"), encoding="utf-8") as f:
            files = {"tools/rooms.toml": f.read(), **files}
        for path, text in files.items():
            full = os.path.join(folder, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text)
        done = subprocess.run([sys.executable, CHECKER, folder], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


class CheckRooms(unittest.TestCase):
    def passes(self, files):
        status, output = check(files)
        self.assertEqual(status, 0, output)

    def refuses(self, files, where, *words):
        status, output = check(files)
        self.assertEqual(status, 1, output)
        self.assertRegex(output, "(?m)^" + re.escape(where) + ": ")
        self.assertIn("remedy: ", output)
        for word in words:
            self.assertIn(word, output)

    def test_this_tree_is_clean(self):
        done = subprocess.run([sys.executable, CHECKER, ROOT], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertGreater(int(done.stdout.split()[0]), 10, "the checker saw hardly any file: " + done.stdout)

    def test_allowed_includes_pass(self):
        self.passes({
            "base/ids.h": "#include <string>\n#include <sys/stat.h>\n#include \"absl/status/status.h\"\n",
            "engine/unlearn.h": '#include "base/ids.h"\n',
            "engine/unlearn.cc": '#include "engine/unlearn.h"\n#include <ATen/ATen.h>\n',
            "workers/worker.cc": '#include "engine/unlearn.h"\n#include "lethe/v1/work_service.grpc.pb.h"\n',
        })

    def test_room_that_is_not_open(self):
        self.refuses({"storage/store.h": "", "workers/worker.cc": '#include <string>\n#include "storage/store.h"\n'},
                     "workers/worker.cc:2", "workers may not include storage/store.h (room storage)")

    def test_relative_path_does_not_hide_a_room(self):
        self.refuses({"storage/store.h": "", "client/x.cc": '#include "../storage/store.h"\n'},
                     "client/x.cc:1", "room storage")

    def test_library_of_another_room(self):
        self.refuses({"server/s.cc": "\n#include <torch/torch.h>\n"}, "server/s.cc:2", "server may not use torch")
        self.refuses({"engine/e.cc": '#include "rocksdb/db.h"\n'}, "engine/e.cc:1", "engine may not use rocksdb")
        self.refuses({"evidence/v.cc": '#include "lethe/v1/work_service.grpc.pb.h"\n'},
                     "evidence/v.cc:1", "evidence may not use grpc")
        self.refuses({"engine/e.cc": '#include "lethe/v1/ticket.pb.h"\n'},
                     "engine/e.cc:1", "engine may not include lethe/v1/ticket.pb.h (a contract)")

    def test_library_through_a_header_of_ours(self):
        self.refuses({"base/deep.h": '#include "base/deeper.h"\n', "base/deeper.h": "#include <torch/types.h>\n",
                      "cli/main.cc": '#include "base/deep.h"\n'},
                     "cli/main.cc:1", "cli may not use torch, and sees it through",
                     "base/deep.h:1 -> base/deeper.h:1 -> torch/types.h")

    def test_only_the_opened_headers_of_the_engine(self):
        files = {"engine/catalog.h": "", "engine/unlearn.h": "", "engine/loss/npo.h": ""}
        self.passes(files | {"server/s.cc": '#include "engine/catalog.h"\n',
                             "workers/w.cc": '#include "engine/unlearn.h"\n'})
        self.refuses(files | {"server/s.cc": '#include "engine/unlearn.h"\n'}, "server/s.cc:1", "engine/catalog.h")
        self.passes(files | {"engine/cli/main.cc": '#include "engine/unlearn.h"\n#include "CLI/CLI.hpp"\n'})
        self.refuses(files | {"engine/loss/npo.h": "#include <ATen/ATen.h>\n",
                              "engine/cli/main.cc": '#include "engine/loss/npo.h"\n'},
                     "engine/cli/main.cc:1", "engine/cli may not use torch")
        self.refuses(files | {"workers/w.cc": '#include "engine/loss/npo.h"\n'}, "workers/w.cc:1", "engine/*.h")

    def test_public_engine_header_with_torch(self):
        self.refuses({"engine/loss/l.h": "#include <ATen/core/Tensor.h>\n",
                      "engine/unlearn.h": '#include "engine/loss/l.h"\n'},
                     "engine/unlearn.h:1", "must be free of torch")

    def test_torch_beside_protobuf_even_in_a_test(self):
        self.refuses({"tests/e2e/a_test.cc": "#include <torch/torch.h>\n#include <google/protobuf/message.h>\n"},
                     "tests/e2e/a_test.cc:1", "sees torch and protobuf")
        self.refuses({"tests/support/t.h": "#include <ATen/ATen.h>\n",
                      "tests/e2e/a_test.cc": '#include "lethe/v1/x.grpc.pb.h"\n#include "tests/support/t.h"\n'},
                     "tests/e2e/a_test.cc:1", "sees torch and grpc")
        self.passes({"tests/engine/a_test.cc": "#include <torch/torch.h>\n",
                     "tests/server/b_test.cc": "#include <grpcpp/grpcpp.h>\n"})

    def test_unknown_library_and_unknown_room(self):
        self.refuses({"base/x.cc": '#include "boost/asio.hpp"\n'}, "base/x.cc:1", "tools/rooms.toml")
        self.refuses({"base/x.cc": '#include "base/gone.h"\n'}, "base/x.cc:1", "base/gone.h is not there")
        self.refuses({"helpers/x.cc": ""}, "helpers/x.cc:1", "this file is in no room")

    def test_links(self):
        good = "lethe_library(lethe_engine SRCS e.cc\n  DEPS lethe_base\n  PRIVATE_DEPS lethe::torch)\n"
        self.passes({"engine/CMakeLists.txt": good})
        self.refuses({"engine/CMakeLists.txt": "\n" + good.replace("PRIVATE_DEPS ", "")},
                     "engine/CMakeLists.txt:2", "lethe::torch must be linked PRIVATE")
        self.refuses({"engine/CMakeLists.txt": "target_link_libraries(lethe_engine PUBLIC lethe::torch)\n"},
                     "engine/CMakeLists.txt:1", "must be linked PRIVATE")
        self.refuses({"server/CMakeLists.txt": "lethe_library(lethe_server SRCS s.cc PRIVATE_DEPS lethe::torch)\n"},
                     "server/CMakeLists.txt:1", "server may not link lethe::torch")
        self.refuses({"evidence/CMakeLists.txt": "lethe_library(lethe_evidence SRCS v.cc DEPS lethe_proto_grpc)\n"},
                     "evidence/CMakeLists.txt:1", "evidence may not link lethe_proto_grpc")

    def test_every_room_of_the_table_names_rooms_and_libraries_that_exist(self):
        import tomllib
        with open(os.path.join(ROOT, "tools/rooms.toml"), "rb") as f:
            table = tomllib.load(f)
        for name, room in table["room"].items():
            self.assertTrue(room["why"], name)
            for other in room["rooms"]:
                self.assertIn(other.split("/")[0] if "." in other else other, {*table["room"], "*"}, name)
            self.assertLessEqual(set(room["libraries"]) - {"*"}, set(table["library"]), name)


if __name__ == "__main__":
    unittest.main()
