// A report from folders alone: what `lethe audit` asks of a service, without one.
//
//   lethe-verifier audit --base before --candidate after --forget wish.jsonl
//       --control unseen.jsonl --text retain=retain.jsonl --out report.pb --html report.html
//
// The attacks are those of a VERIFY job, control is matched as there, and the verdict is that of
// evidence/ under the default policy. `lethe report check report.pb` recomputes it anywhere;
// `lethe-engine audit` has the figures alone, without a verdict.
// Privacy    text is shown by --reveal only, on a page that nobody else may read.
#ifndef LETHE_VERIFIER_AUDIT_FOLDERS_H_
#define LETHE_VERIFIER_AUDIT_FOLDERS_H_

namespace lethe {

// The command behind `lethe-verifier audit`; argv[0] is "audit". Returns the exit code: 0 for the
// verdict PASS, 1 for another one, 2 for a wrong command line, 3 for an input that was refused, 4
// for a failure.
int AuditFoldersMain(int argc, char** argv);

}  // namespace lethe

#endif  // LETHE_VERIFIER_AUDIT_FOLDERS_H_
