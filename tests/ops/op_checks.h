// What is checked of every row of the table in op_case.h. A check throws CheckFailure with what is
// wrong and where, and returns how many comparisons it made, so that none can pass by doing
// nothing.
#pragma once
#include <scangrad/tests/ops/op_case.h>

#include <stdexcept>
#include <string>

class CheckFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The inputs hold what the suite promises: sizes 0 and 1, one large call.
int check_inputs(const OpCase& row);
/// Values, shapes and dtype against the reference, for every call, dtype, device and layout
/// (contiguous, transposed, every second element at an offset, expanded); inputs stay as they were.
int check_values(const OpCase& row);
/// Full Jacobians in three layouts; random directions for the large call.
int check_gradients(const OpCase& row);
/// The same of the gradients' gradients.
int check_second_derivatives(const OpCase& row);
/// Gradients in f32 and bf16, and on other devices in f64 too, against those in f64 on the CPU at
/// the same point: kernels for backward have code of their own for each dtype and device.
int check_gradient_dtypes(const OpCase& row);
/// Outputs and gradients bit for bit the same with one thread and with two.
int check_threads(const OpCase& row);
