#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

// How a scan of matrices is shared out among the blocks of a GPU.
namespace scangrad::cuda {

inline std::int64_t share(std::int64_t n, std::int64_t parts) { return (n + parts - 1) / parts; }

/// Of how many blocks a ring may be.
inline constexpr int most_in_ring = 8;
/// Into how many segments a sequence may be cut.
inline constexpr int most_segments = 64;
/// How many teams of so many blocks, the index, can be at work at once.
using TeamsAtOnce = std::array<int, most_in_ring + 1>;

/// How sequences are shared out (MatrixScan), and how long that takes, in units of a block's way
/// through a sequence.
struct Shares {
  std::int64_t segments = 1, own = 1;
  int team = 1;
  bool ring = false;
  double time = 0;
};
/// The quickest, if a block always takes as long for a step, half of that to multiply out, and that
/// of one and a half for what a segment makes of a state.
inline Shares shares_for(std::int64_t sequences, std::int64_t count, int workers, int blocks,
                         const TeamsAtOnce& teams, const TeamsAtOnce& rings) {
  Shares best{.time = static_cast<double>(share(sequences, blocks))};
  const auto consider = [&](Shares its) {
    const std::int64_t others = sequences * (its.segments - its.own);
    const std::int64_t rounds = share(sequences + share(others, its.own), blocks / its.team);
    const auto all = static_cast<double>(its.segments);
    its.time = static_cast<double>(its.own * rounds) / (its.team * all) +
               0.5 * static_cast<double>(share(others, blocks)) / all +
               (others > 0 ? 1.5 * all / static_cast<double>(count) : 0);
    const bool alike =
        its.team == best.team && its.ring == best.ring && its.segments > 1 && best.segments > 1;
    if (its.time < (alike ? 1 : 0.95) * best.time) best = its;
  };
  const std::int64_t most = std::clamp<std::int64_t>(count / (8 * workers), 1, most_segments);
  for (int team = most_in_ring; team > 1; --team) {
    if (team * sequences > blocks || count <= team * workers) continue;
    if (sequences <= teams[team]) consider({.team = team});
    if (sequences <= rings[team]) consider({.team = team, .ring = true});
    // As many segments to a run that each ring has one.
    for (std::int64_t others = 1; others < most && sequences < rings[team]; ++others) {
      const std::int64_t own = share(sequences * others, rings[team] - sequences);
      if (others + own <= most) consider({others + own, own, team, true});
    }
  }
  for (std::int64_t segments = 2; segments <= most; ++segments) consider({.segments = segments});
  return best;
}

}  // namespace scangrad::cuda
