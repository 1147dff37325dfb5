#pragma once  // see cmake/cuda/README.md
enum cusolverStatus_t : int {};
