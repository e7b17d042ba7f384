#include <scangrad/core/random.h>
#include <scangrad/tests/support/catch.h>

namespace sg = scangrad;

TEST_CASE("philox 4x32-10: the known answers that its authors publish") {
  // kat_vectors of Random123 1.14, lines "philox4x32 10": counter, key, result.
  struct Row {
    std::uint64_t counter_low, counter_high, key;
    std::uint32_t words[4];
  };
  const Row rows[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~0ull, ~0ull, ~0ull, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x85a308d3243f6a88,
       0x0370734413198a2e,
       0x299f31d0a4093822,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Row& row : rows) {
    const sg::PhiloxBlock block = sg::philox(row.key, row.counter_low, row.counter_high);
    for (int i = 0; i < 4; ++i) CHECK(block.words[i] == row.words[i]);
  }
}

TEST_CASE("philox: element i takes lane i mod 4 of the block at offset + i/4") {
  // What makes CPU and CUDA agree, whatever order they work in.
  const sg::PhiloxState state{42, 1000};
  for (std::int64_t i = 0; i < 64; ++i) {
    const sg::PhiloxBlock block = sg::philox(42, 1000 + static_cast<std::uint64_t>(i / 4));
    REQUIRE(sg::philox_word(state, i) == block.words[i % 4]);
  }
}

TEST_CASE("philox: uniforms lie in [0, 1)") {
  CHECK(sg::philox_uniform(0) == 0.0f);
  CHECK(sg::philox_uniform(0xffffffffu) < 1.0f);
  CHECK(sg::philox_uniform(0x80000000u) == 0.5f);
}

TEST_CASE("generator: each operation gets fresh words, and a saved state repeats them") {
  sg::Generator generator(7);
  const sg::PhiloxState first = generator.advance(5);  // words of two blocks
  const sg::PhiloxState second = generator.advance(1);
  CHECK(first.seed == 7);
  CHECK(first.offset == 0);
  CHECK(second.offset == 2);
  const sg::PhiloxState saved = generator.state();
  const sg::PhiloxState third = generator.advance(100);
  generator.set_state(saved);
  CHECK(generator.advance(100).offset == third.offset);
  CHECK(generator.advance(0).offset == third.offset + 25);
  CHECK(generator.state().offset == third.offset + 25);  // nothing asked for, nothing used
}

TEST_CASE("generator: manual_seed restarts the default one") {
  const sg::PhiloxState before = sg::default_generator().state();
  sg::manual_seed(3);
  const auto once = sg::default_generator().advance(10);
  sg::manual_seed(3);
  const auto again = sg::default_generator().advance(10);
  CHECK(once.seed == 3);
  CHECK(once.offset == again.offset);
  sg::default_generator().set_state(before);
}
