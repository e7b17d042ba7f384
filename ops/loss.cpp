#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/loss.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/ops/softmax.h>

#include <limits>

namespace scangrad {
namespace {

/// 1 for the rows that count and 0 for the others, (N).
Tensor counted_rows(const Tensor& targets, std::int64_t ignore_index, DType dtype) {
  return cast(ne(targets, full({}, static_cast<double>(ignore_index), targets.options())), dtype);
}

/// The target distributions, (N, C).
Tensor target_distribution(const Tensor& targets, const Tensor& logits, double smoothing) {
  const double classes = static_cast<double>(logits.shape()[1]);
  const Tensor one_hot = eq(unsqueeze(targets, 1), arange(0, classes, 1, targets.options()));
  return cast(one_hot, logits.dtype()) * (1 - smoothing) + smoothing / classes;
}

/// Loss of each row, (N), or their mean.
Tensor losses_of(const Tensor& logits, const Tensor& targets, const CrossEntropyOptions& options) {
  const std::int64_t rows = logits.shape()[0], ignore_index = options.ignore_index;
  const double smoothing = options.label_smoothing;
  const DType dtype = logits.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Tensor losses = empty({rows}, {dtype, logits.device()});
  const Tensor statistics = empty({rows, 2}, losses.options());
  Tensor mean, count;
  if (options.reduction == Reduction::mean) {
    mean = rows > 0 ? empty({}, losses.options())
                    : full({}, std::numeric_limits<double>::quiet_NaN(), losses.options());
    count = empty({}, losses.options());
  }
  if (rows > 0) {
    kernel_for("cross_entropy", logits.device(), &Kernels::cross_entropy)(
        losses, statistics, mean, count, logits, targets, ignore_index, smoothing);
  }
  return record(
      "cross_entropy", {logits}, mean.defined() ? mean : losses,
      {logits, targets, statistics, count}, [ignore_index, smoothing](const Backward& b) {
        const Tensor &logits = b.saved[0], &targets = b.saved[1], &count = b.saved[3];
        if (b.create_graph) {  // g (softmax − target distribution)
          const Tensor each = count.defined() ? b.grad() / count : b.grad();
          const Tensor g = each * counted_rows(targets, ignore_index, each.dtype());
          const Tensor rise = softmax(logits, 1) - target_distribution(targets, logits, smoothing);
          return Tensors{cast(unsqueeze(g, 1) * rise, logits.dtype())};
        }
        const Tensor dlogits = empty_like(logits);
        if (dlogits.numel() > 0) {
          kernel_for("cross_entropy_backward", logits.device(), &Kernels::cross_entropy_backward)(
              dlogits, b.grad(), count, logits, targets, b.saved[2], ignore_index, smoothing);
        }
        return Tensors{dlogits};
      });
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Tensor& targets,
                     const CrossEntropyOptions& options) {
  check_dtype("cross_entropy", logits, FloatTypes{});
  check_dtype("cross_entropy", targets, TypeList<std::int64_t>{});
  check_same_device("cross_entropy", logits, targets);
  const bool fits = logits.rank() == 2 && targets.shape() == Shape{logits.shape()[0]};
  check<ShapeError>(fits, "cross_entropy: logits {} and targets {} must be (N, C) and (N)",
                    logits.shape(), targets.shape());
  check<ShapeError>(logits.shape()[1] > 0 || logits.shape()[0] == 0,
                    "cross_entropy: logits {} have no classes", logits.shape());
  check<ValueError>(0 <= options.label_smoothing && options.label_smoothing <= 1,
                    "cross_entropy: label_smoothing {} is outside [0, 1]", options.label_smoothing);
  const Tensor losses = losses_of(contiguous(logits), contiguous(targets), options);
  return options.reduction == Reduction::sum ? sum(losses) : losses;
}

}  // namespace scangrad
