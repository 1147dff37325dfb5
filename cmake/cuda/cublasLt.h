#pragma once  // see cmake/cuda/README.md
using cublasLtHandle_t = struct cublasLtContext*;
