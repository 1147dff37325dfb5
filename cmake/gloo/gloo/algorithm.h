#pragma once  // see cmake/gloo/README.md
