#include <scangrad/autograd/grad_mode.h>

#include <utility>

namespace scangrad {
namespace {
thread_local bool enabled_here = true;
}

bool grad_enabled() { return enabled_here; }
GradMode::GradMode(bool enabled) : previous_(std::exchange(enabled_here, enabled)) {}
GradMode::~GradMode() { enabled_here = previous_; }

}  // namespace scangrad
