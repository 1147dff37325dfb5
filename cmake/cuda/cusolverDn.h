#pragma once  // see cmake/cuda/README.md
using cusolverDnHandle_t = struct cusolverDnContext*;
