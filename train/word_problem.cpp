#include <scangrad/core/format.h>
#include <scangrad/core/philox.h>
#include <scangrad/train/word_problem.h>

#include <algorithm>
#include <map>
#include <numeric>

namespace scangrad {
namespace {

using Permutation = std::vector<int>;

bool is_even(const Permutation& p) {
  int inversions = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    for (std::size_t j = i + 1; j < p.size(); ++j) inversions += p[i] > p[j] ? 1 : 0;
  }
  return inversions % 2 == 0;
}

}  // namespace

const std::vector<std::string>& PermutationGroup::names() {
  static const std::vector<std::string> all = {"s3", "s4", "s5", "a4", "a5"};
  return all;
}

PermutationGroup::PermutationGroup(const std::string& name) {
  check<ValueError>(std::find(names().begin(), names().end(), name) != names().end(),
                    "word problem: unknown group '{}'; there are {}", name,
                    fmt::join(names(), ", "));
  Permutation p(static_cast<std::size_t>(name[1] - '0'));
  std::iota(p.begin(), p.end(), 0);
  std::vector<Permutation> elements;
  std::map<Permutation, std::int32_t> number;
  do {
    if (name[0] == 'a' && !is_even(p)) continue;
    number[p] = static_cast<std::int32_t>(elements.size());
    elements.push_back(p);
  } while (std::next_permutation(p.begin(), p.end()));

  order_ = static_cast<std::int64_t>(elements.size());
  for (const Permutation& a : elements) {
    for (const Permutation& b : elements) {
      Permutation product;
      for (const int image : b) product.push_back(a[static_cast<std::size_t>(image)]);
      products_.push_back(number.at(product));
    }
  }
}

WordProblem::WordProblem(const std::string& group, std::int64_t length, std::int64_t size,
                         std::uint64_t seed)
    : group_(group), length_(length), size_(size), seed_(seed) {
  check<ValueError>(length >= 1 && size >= 1,
                    "word problem: {} sequences of length {} make no dataset", size, length);
}

void WordProblem::read(std::int64_t index, std::int64_t* inputs, std::int64_t* targets) const {
  const auto n = static_cast<std::uint64_t>(group_.order());
  const std::int64_t blocks = (length_ + 3) / 4;
  std::int64_t so_far = 0;
  for (std::int64_t block = 0; block < blocks; ++block) {
    const auto offset = static_cast<std::uint64_t>(index * blocks + block);
    const PhiloxBlock random = philox(seed_, offset);
    for (std::int64_t t = 4 * block; t < std::min(length_, 4 * block + 4); ++t) {
      inputs[t] = philox_below(random.words[t % 4], n);
      so_far = group_.product(so_far, inputs[t]);
      targets[t] = so_far;
    }
  }
}

}  // namespace scangrad
