#pragma once
#include <scangrad/train/dataset.h>

#include <string>
#include <vector>

namespace scangrad {

/// A group of permutations, its elements numbered in lexicographic order (0 is the identity).
class PermutationGroup {
 public:
  /// Those that there are: `s3`, `s4`, `s5` (all permutations) and `a4`, `a5` (the even ones).
  static const std::vector<std::string>& names();

  /// Throws ValueError where `names` has no such group.
  explicit PermutationGroup(const std::string& name);

  std::int64_t order() const { return order_; }
  /// a·b: first b, then a, as functions compose.
  std::int64_t product(std::int64_t a, std::int64_t b) const {
    return products_[static_cast<std::size_t>(a * order_ + b)];
  }

 private:
  std::int64_t order_ = 0;
  std::vector<std::int32_t> products_;  // (order, order)
};

/// The word problem: inputs are random group elements x_1 … x_T, the target at t the product so
/// far, x_1 x_2 … x_t. A model that solves it at any length tracks state; S5 and A5 are as hard as
/// any regular language. Merrill, Petty, Sabharwal: "The Illusion of State in State-Space Models"
/// (2024).
class WordProblem final : public Dataset {
 public:
  /// Sequence i follows from the seed and i alone; `size` of them, which costs no memory.
  WordProblem(const std::string& group, std::int64_t length, std::int64_t size, std::uint64_t seed);

  std::int64_t size() const override { return size_; }
  std::int64_t vocab_size() const override { return group_.order(); }
  std::int64_t length() const override { return length_; }

 private:
  void read(std::int64_t index, std::int64_t* inputs, std::int64_t* targets) const override;
  PermutationGroup group_;
  std::int64_t length_, size_;
  std::uint64_t seed_;
};

}  // namespace scangrad
