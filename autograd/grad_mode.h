#pragma once

namespace scangrad {

/// Whether operations on this thread record themselves for backward.
bool grad_enabled();

/// Sets `grad_enabled` for the life of the object.
class [[nodiscard]] GradMode {
 public:
  explicit GradMode(bool enabled);
  ~GradMode();
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool previous_;
};

/// `auto guard = sg::no_grad();`: nothing is recorded until the end of the scope.
inline GradMode no_grad() { return GradMode(false); }
/// Recording again, inside a `no_grad` scope.
inline GradMode enable_grad() { return GradMode(true); }

}  // namespace scangrad
