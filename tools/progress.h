#pragma once
#include <scangrad/train/trainer.h>

#include <string>

namespace scangrad::tools {

/// Trains to the end of the run and tells on stderr how it goes: a line at each validation and, on
/// a terminal, one that renews itself. Ctrl-C (SIGINT) and SIGTERM let the step at work finish,
/// save the run and return with `stopped`; a second one ends the program at once.
TrainingResult train_with_progress(Trainer& trainer, const std::string& name);

}  // namespace scangrad::tools
