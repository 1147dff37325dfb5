#pragma once  // see cmake/gloo/README.md

namespace gloo::transport {
class Device;
class UnboundBuffer;
}  // namespace gloo::transport
