#pragma once  // see cmake/cuda/README.md
using cublasHandle_t = struct cublasContext*;
enum cublasStatus_t : int {};
