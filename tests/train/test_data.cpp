// Data is deterministic and resumable: every sequence once an epoch, in an order that the seed and
// the loader's state alone decide.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/dataset.h>
#include <scangrad/train/word_problem.h>

#include <algorithm>
#include <numeric>
#include <set>

using namespace scangrad;

namespace {

Tokens count_to(std::int32_t n) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(n));
  std::iota(tokens.begin(), tokens.end(), 0);
  return Tokens(tokens, n);
}

std::vector<std::int64_t> values(const Tensor& tensor) { return tensor.to_vector<std::int64_t>(); }

}  // namespace

TEST_CASE("Chunks do not overlap, targets are the inputs one token on, the first 90 % train") {
  const TextSplit split = split_text(count_to(105), 4);  // 21 chunks of 5
  CHECK(split.train.size() == 18);
  CHECK(split.validation.size() == 3);
  const Batch second = split.train.batch({1});
  CHECK(values(second.inputs) == std::vector<std::int64_t>{5, 6, 7, 8});
  CHECK(values(second.targets) == std::vector<std::int64_t>{6, 7, 8, 9});
  CHECK(values(split.validation.batch({0, 2}).inputs) ==
        std::vector<std::int64_t>{90, 91, 92, 93, 100, 101, 102, 103});
  CHECK_THROWS_AS(split.validation.batch({3}), IndexError);
}

TEST_CASE("A text too short for the context is refused with both lengths") {
  CHECK_THROWS_WITH(split_text(count_to(100), 64),
                    ContainsSubstring("100 tokens are too few for context 64"));
  CHECK_THROWS_AS(split_text(count_to(0), 4), ValueError);
}

TEST_CASE("An epoch has every sequence once, shuffled anew each time, in full batches") {
  const ChunkDataset data(count_to(2 * 10), 1, 0, 10);
  Loader loader(data, 4, 7);
  std::vector<std::int64_t> seen;
  for (int i = 0; i < 5; ++i) {  // 20 sequences: two epochs, the third batch in both
    const auto batch = values(loader.next().inputs);
    CHECK(batch.size() == 4);
    seen.insert(seen.end(), batch.begin(), batch.end());
  }
  const std::vector<std::int64_t> first(seen.begin(), seen.begin() + 10),
      second(seen.begin() + 10, seen.end());
  CHECK(first != second);
  CHECK(std::set(first.begin(), first.end()).size() == 10);
  CHECK(std::set(second.begin(), second.end()).size() == 10);
  CHECK_FALSE(std::is_sorted(first.begin(), first.end()));
}

TEST_CASE(
    "A loader put back into a state goes on with the same batches; a seed decides the order") {
  const ChunkDataset data(count_to(2 * 50), 1, 0, 50);
  Loader loader(data, 8, 3);
  for (int i = 0; i < 9; ++i) loader.next();
  Loader other(data, 8, 3);
  other.set_state(loader.state());
  for (int i = 0; i < 9; ++i) CHECK(values(loader.next().inputs) == values(other.next().inputs));
  CHECK(values(Loader(data, 50, 3).next().inputs) != values(Loader(data, 50, 4).next().inputs));
  CHECK_THROWS_WITH(loader.set_state({0, 50}), ContainsSubstring("has the data changed?"));
}

TEST_CASE("Permutation groups obey the axioms, and have their orders") {
  for (const auto& [name, order] : {std::pair{"s3", 6}, std::pair{"a4", 12}, std::pair{"s4", 24},
                                    std::pair{"a5", 60}, std::pair{"s5", 120}}) {
    const PermutationGroup g(name);
    REQUIRE(g.order() == order);
    bool associative = true, commutative = true;
    for (std::int64_t a = 0; a < order; ++a) {
      CHECK(g.product(0, a) == a);
      CHECK(g.product(a, 0) == a);
      std::set<std::int64_t> row;
      for (std::int64_t b = 0; b < order; ++b) {
        row.insert(g.product(a, b));
        commutative = commutative && g.product(a, b) == g.product(b, a);
        const std::int64_t c = (a + 7 * b + 1) % order;
        associative = associative && g.product(g.product(a, b), c) == g.product(a, g.product(b, c));
      }
      CHECK(row.size() == static_cast<std::size_t>(order));  // so every element has an inverse
    }
    CHECK(associative);
    CHECK_FALSE(commutative);
  }
  CHECK_THROWS_WITH(PermutationGroup("s6"), ContainsSubstring("unknown group 's6'"));
}

TEST_CASE("The word problem's target is the product so far; sequences follow from the seed") {
  const PermutationGroup g("a5");
  const WordProblem data("a5", 13, 1'000'000'000'000, 5);
  CHECK(data.vocab_size() == 60);
  const Batch batch = data.batch({0, 999'999'999'999});
  const auto x = values(batch.inputs), y = values(batch.targets);
  for (std::size_t row = 0; row < 2; ++row) {
    std::int64_t product = 0;
    for (std::size_t t = 0; t < 13; ++t) {
      product = g.product(product, x[row * 13 + t]);
      CHECK(y[row * 13 + t] == product);
    }
  }
  CHECK(values(WordProblem("a5", 13, 10, 5).batch({0}).inputs) == values(data.batch({0}).inputs));
  CHECK(values(WordProblem("a5", 13, 10, 6).batch({0}).inputs) != values(data.batch({0}).inputs));
}

TEST_CASE("The word problem's elements are drawn evenly") {
  const WordProblem data("s3", 6, 1000, 1);
  std::vector<std::int64_t> indices(1000), counts(6);
  std::iota(indices.begin(), indices.end(), 0);
  for (const std::int64_t x : values(data.batch(indices).inputs))
    ++counts[static_cast<std::size_t>(x)];
  for (const std::int64_t count : counts) CHECK(std::abs(count - 1000) < 150);  // five deviations
}
