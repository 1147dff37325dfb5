#pragma once  // see cmake/cuda/README.md
using cusparseHandle_t = struct cusparseContext*;
enum cusparseStatus_t : int {};
const char* cusparseGetErrorString(cusparseStatus_t status);
