// How a scan of matrices is shared out, as far as the kernels rely on it. The choice itself is a
// matter of speed, which benchmarks measure; this needs no GPU.
#include <scangrad/cuda/matrix_shares.h>
#include <scangrad/tests/support/catch.h>

using namespace scangrad::cuda;

TEST_CASE("matrix shares: a ring has one run, and no more rings are asked for than fit") {
  constexpr int blocks = 132;
  const TeamsAtOnce pairs{0, 0, 66}, none{};
  int of_rings = 0, of_several = 0;
  for (const TeamsAtOnce& rings : {TeamsAtOnce{0, 0, 66, 44, 30, 22, 17, 15, 15},
                                   TeamsAtOnce{0, 0, 66, 44, 33, 26, 22, 18, 16}, none}) {
    for (const int workers : {2, 6, 10, 13}) {
      for (std::int64_t sequences = 1; sequences <= 140; ++sequences) {
        for (const std::int64_t count : {1, 4, 59, 60, 61, 481, 3000, 16384, 65537}) {
          const Shares its = shares_for(sequences, count, workers, blocks, pairs, rings);
          // As start_shares makes them: of whole steps there may be fewer segments.
          const std::int64_t segments = share(count, share(count, its.segments));
          const std::int64_t others = sequences * (segments - its.own);
          INFO("S " << sequences << " T " << count << " workers " << workers << ": " << its.segments
                    << " segments, own " << its.own << ", team " << its.team);
          REQUIRE(its.own >= 1);
          REQUIRE(its.own <= segments);
          const std::int64_t runs = sequences + share(others, its.own);
          if (its.ring) {
            REQUIRE(runs <= rings[its.team]);  // a second run would not get its segments' totals
            REQUIRE(runs * its.team <= blocks);
            ++of_rings;
            of_several += its.own > 1;
          } else {
            REQUIRE(its.own == 1);
            REQUIRE((its.team == 1 || (segments == 1 && runs <= pairs[its.team])));
          }
        }
      }
    }
  }
  CHECK(of_rings > 0);
  CHECK(of_several > 0);
}
