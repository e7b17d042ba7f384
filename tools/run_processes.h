#pragma once
#include <scangrad/tools/results.h>

#include <cstdint>
#include <vector>

namespace scangrad::tools {

/// Trains what has neither finished nor diverged, each run by a process of its own (`scangrad train
/// --out FOLDER`, with FOLDER.json beside it), `jobs` at a time; one that fails ends no other. One
/// at a time tells how it goes on stderr, several each in FOLDER.log. Asked to end (SIGINT,
/// SIGTERM), it asks the processes, which save their runs, and throws Error.
void train_all(const std::vector<Run>& runs, std::int64_t jobs);

}  // namespace scangrad::tools
