"""liblethe_cuda.so on a machine without CUDA: it cannot be loaded, but what it wants of others can be looked up. Each symbol is
LibTorch's, CUDA's runtime's or the C++ library's; none is the engine's, which is linked into the programs and not there for it.

  python3 library_symbols_test.py liblethe_cuda.so TORCH_LIB_FOLDER LIBCUDART
"""
import subprocess, sys

library, torch, runtime = sys.argv[1:]


def symbols(which, file):
    lines = subprocess.run(["nm", "-D", f"--{which}-only", file], check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[-1].split("@")[0] for line in lines}, [line.split()[-1] for line in lines]


given = set()
for name in ["torch_cuda", "c10_cuda", "torch_cpu", "c10"]:
    given |= symbols("defined", f"{torch}/lib{name}.so")[0]
given |= symbols("defined", runtime)[0]
wanted, versioned = symbols("undefined", library)
from_the_system = {name.split("@")[0] for name in versioned if "@GLIBC" in name or "@CXXABI" in name or "@GCC" in name}
weak = {"_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__gmon_start__"}
missing = sorted(wanted - given - from_the_system - weak)
assert not missing, f"nobody gives {missing}"
assert "LetheCudaLibrary" in symbols("defined", library)[0], "the door is not there"
print(f"{len(wanted)} symbols, all of them given")
