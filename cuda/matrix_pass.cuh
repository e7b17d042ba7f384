#pragma once
#include <scangrad/cuda/fragments.cuh>
#include <scangrad/cuda/scan_layout.cuh>

#include <type_traits>

// What a pass of a scan of matrices reads and writes, and the sizes of what its blocks and warps
// take of it.
namespace scangrad::cuda {

enum class MatrixPass { product, scaled, affine, backward, scaled_backward };

/// What a pass reads and writes; (outer, T, inner, …) unless said otherwise, null for none.
template <class T>
struct MatrixScan {
  Layout layout;
  int rows, n;  // of a state; elements a are n × n
  bool exclusive;
  bool starts_at_one;  // the identity is I rather than 0
  const T* a = nullptr;
  const T* b = nullptr;        // affine: what is added; backward: the states' gradients
  const T* initial = nullptr;  // (outer, inner, rows, n)
  T* states = nullptr;
  T* last = nullptr;  // (outer, inner, rows, n)
  const std::int32_t* initial_exponent = nullptr;
  std::int32_t *exponents = nullptr, *last_exponent = nullptr;
  // backward: `a`, `initial` and `forward`, the states, are the forward's, and so are exponents
  const T* forward = nullptr;
  const T* g_last = nullptr;
  T *da = nullptr, *db = nullptr, *d_initial = nullptr;
  bool packs = false;  // may matrices be read and written 16 bytes at a time?

  // How the work is shared out: `sequences`, from `first` on, are cut into `segments` of `span`
  // steps. The last `own` segments of each sequence are a run, and then `own` of all others at a
  // time, which may be of several sequences. Each of `teams` teams, of `team` blocks, takes one run
  // after another, wave by wave.
  int first = 0, segments = 1, runs = 0, team = 1, teams = 1;
  std::int64_t span = 0;
  int chunk = 1, waves = 1;  // steps of a warp in a wave; waves of a run, if `own` is 1
  double* totals = nullptr;  // (sequences, segments, P and R): what each but the last `own` makes
                             // of a state
  int* marks = nullptr;      // (sequences, segments, marks_of_total)
  int sequences = 0, own = 1;
};

/// What a kernel does: states, by teams of blocks that share sequences; the same by rings of blocks
/// (matrix_ring.cuh); or the totals of segments.
enum class MatrixTask { states, ring, totals };

/// The sizes of a block, whose warps are workers, with a chunk each, and then followers, with 16
/// rows of the state each. `by_steps`: followers take the
/// state through each step, so that workers need not multiply out; where a step asks so much else
/// of workers that one follower keeps up with them (matrix_forms.cuh).
template <class T, int NT, MatrixPass pass, bool by_steps_, MatrixTask task>
struct MatrixTile {
  static constexpr bool ring = task == MatrixTask::ring, only_totals = task == MatrixTask::totals;
  static constexpr bool by_steps = by_steps_ && !only_totals;
  static constexpr bool rescales = pass == MatrixPass::scaled_backward;
  static constexpr bool backward = pass == MatrixPass::backward || rescales;
  static constexpr bool affine = pass == MatrixPass::affine || backward;
  static constexpr bool scaled = pass == MatrixPass::scaled;
  static constexpr int elements = 64 * NT * NT;
  static constexpr int tiles = row_tiles<NT>;
  static constexpr int operands = backward && !only_totals ? 3 : affine ? 2 : 1;  // a, b, forward
  static constexpr int totals = affine ? 2 : 1;                                   // P and R
  static constexpr int workers = NT == 4       ? (sizeof(T) == 8 ? 2
                                                  : affine       ? 4
                                                                 : 5)
                                 : only_totals ? (NT == 2 && affine ? 8 : 12)
                                 : NT == 1     ? 13
                                               : (affine && !by_steps ? 6 : 10);
  static constexpr int followers = only_totals ? 0 : ring ? 2 : tiles;
  static constexpr int warps = workers + followers, threads = 32 * warps;
  /// A multiprocessor's four schedulers take a block's warps in turn. Where all wait for a follower
  /// most of the time, followers share one of them with as few workers as can be, and are every
  /// fourth warp from here on; elsewhere the last ones.
  static constexpr bool apart = !only_totals && (by_steps || ring || (scaled && NT == 2));
  static constexpr int first_follower = warps / 4 * 4 - 1 - 4 * (followers - 1);
  /// P, R and the state that enters are kept in float64, or where that would leave no room for
  /// tiles, in float32: P and R of single steps are then exact.
  using Summary = std::conditional_t<NT == 4 && sizeof(T) < 8 && !only_totals, float, double>;
  /// How far from 1 a scaled state may go before its exponent is taken out: a Summary holds it, and
  /// its product with a step's matrix of T.
  static constexpr int slack = sizeof(Summary) == 4 ? 64 : 256;
  /// After how many steps a follower looks how far the state is from 1, if chunks are that short.
  /// In between it may be damped, beside what P's largest elements do, by 2^(slack - 1022) in all.
  static constexpr int steps_between_looks = 12;
  /// After how many steps to look: 2^±slack times so many elements of T is a float64, and times one
  /// more, since what is seen may be acted on a step later.
  static constexpr int steps_of_slack = sizeof(T) == 8 ? 1 : 4;
  static constexpr int buffers = 3;  // of operands: walked, reduced, on the way
  /// What a follower's lane hands over: its part of 16 rows, and of a scaled state the exponent.
  static constexpr int pieces = (NT == 1 ? 1 : 2 * NT) + scaled;
  /// Of a chunk: P, R, and the state that enters, in the place of R, of which a follower reads its
  /// own rows only, or of P where there is just one follower.
  static constexpr int summaries = by_steps ? 0 : affine || (tiles > 1 && !only_totals) ? 2 : 1;
  static constexpr int slots = only_totals ? workers : 2 * workers;
  static constexpr std::size_t summary_bytes = sizeof(Summary) * slots * summaries * elements;
  static constexpr std::size_t fixed_bytes =
      summary_bytes + (only_totals ? 0 : std::size_t{2} * tiles * pieces * 512);
  /// A worker's, for each step of its chunk; matrices that are made are never on the way.
  static constexpr std::size_t step_bytes =
      sizeof(T) * elements * (buffers * operands + (buffers - 1) * by_steps);
  static constexpr std::size_t most_bytes = 226 << 10;  // of shared memory, sm_90; some is static
  static constexpr int steps_that_fit =
      static_cast<int>((most_bytes - fixed_bytes) / (workers * step_bytes));
  static constexpr int most_steps = steps_that_fit < 32 ? steps_that_fit : 32;
  static_assert(most_steps > 0);
};

/// A block's turn at a wave of what a run has of a sequence, segments from `segment` to `end`.
struct Visit {
  int run, sequence, segment, end;
  int wave, waves;
  unsigned number;
};

/// Steps of a warp in a wave, in the order of the pass: backward, from the last one.
struct Chunk {
  std::int64_t first, place;  // the first step's number; and that of its block of values
  const bool* cuts;           // of the first step; null for none
  int steps;
  int before, after;  // exponents of the states there of the step whose number is the lane's
};

/// A worker's part of a visit.
struct Turn {
  Visit visit;
  Chunk chunk;
};

}  // namespace scangrad::cuda
