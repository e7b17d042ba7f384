#pragma once
#include <scangrad/cuda/matrix_exponent.cuh>
#include <scangrad/cuda/matrix_forms.cuh>
#include <scangrad/cuda/matrix_handover.cuh>
#include <scangrad/cuda/matrix_pass.cuh>

// How a scan of matrices is shared out among blocks and warps, and how its operands come into
// shared memory. matrix_scan.cuh has the whole.
namespace scangrad::cuda {

/// All warps of the block, wherever in the code they are.
__device__ inline void meet() { asm volatile("barrier.sync 0;" ::: "memory"); }

/// A block's view of a scan. `plain` promises, so that inner loops need not ask: no cuts,
/// inclusive, matrices of order 8 NT in packs, and of gradients only a's and the initial state's.
template <class T_, int NT_, MatrixPass pass_, class Form_, bool plain, MatrixTask task>
struct MatrixBlock {
  using T = T_;
  using Form = Form_;
  static constexpr int NT = NT_;
  static constexpr MatrixPass pass = pass_;
  static constexpr bool is_plain = plain;
  using Tile = MatrixTile<T, NT, pass, Form::template by_steps<pass>, task>;
  using Summary = typename Tile::Summary;
  using State = Fragment<row_tiles<NT>, NT>;  // of a worker
  using Rows = Fragment<1, NT>;               // 16 of them, of a follower
  static constexpr bool transposed = Tile::backward;
  /// Whether anybody asks where segments start, or for exponents.
  static constexpr bool marked = !plain || Tile::scaled;

  const MatrixScan<T>& scan;
  Summary* summaries;          // (2, workers, Tile::summaries) matrices: P, R and what enters
  unsigned summaries_address;  // the same
  Handover handover;           // of a follower
  T* operands;                 // (3, workers, chunk, operands)
  int* crossed;                // (2, workers or steps): whether a segment starts in the chunk
  int* exponents;              // (2, workers, 1 + tiles): P's, and those of what enters
  OperandPlaces places;        // of the lane
  int warp;                    // followers count from 0, too
  int member;                  // of the team

  __device__ int order() const { return plain ? 8 * NT : scan.n; }
  __device__ int rows() const { return plain ? 8 * NT : scan.rows; }
  __device__ bool packs() const { return plain || scan.packs; }
  __device__ bool exclusive() const { return !plain && scan.exclusive; }
  __device__ bool cut(const Chunk& c, int step) const {
    return !plain && c.cuts != nullptr && c.cuts[step * signed_by_direction(scan.layout.groups)];
  }
  __device__ std::int64_t size_of_state() const { return std::int64_t{rows()} * order(); }

  // ---- shared memory

  __device__ int slot(const Visit& visit, int w) const {
    if constexpr (Tile::only_totals) return w;
    return static_cast<int>(visit.number % 2) * Tile::workers + w;
  }
  __device__ int summary_of(const Visit& visit, int w, int which) const {
    return (slot(visit, w) * Tile::summaries + which) * Tile::elements;
  }
  /// A matrix that has been multiplied out, in a memory. (In the layout for operands the kernels of
  /// order 32 take 6 % longer, and those of order 8 are no quicker.)
  template <class Memory>
  __device__ auto whole(Memory memory) const {
    if constexpr (NT == 2) {
      return OperandMatrix<Memory>{memory, places};
    } else {
      return memory;
    }
  }
  __device__ auto product(const Visit& visit, int w) const {
    return whole(summaries + summary_of(visit, w, 0));
  }
  __device__ auto sum(const Visit& visit, int w) const {
    return whole(summaries + summary_of(visit, w, 1));
  }
  __device__ auto entering(const Visit& visit, int w) const {
    return whole(summaries + summary_of(visit, w, Tile::summaries - 1));
  }
  __device__ unsigned address_of(const Visit& visit, int w, int which) const {
    return summaries_address + static_cast<unsigned>(sizeof(Summary)) * summary_of(visit, w, which);
  }
  __device__ auto shared(const Visit& visit, int w, int which) const {
    return whole(SharedMatrix<Summary>{address_of(visit, w, which)});
  }
  __device__ int& crosses(const Visit& visit, int w) const { return crossed[slot(visit, w)]; }
  __device__ int& exponent(const Visit& visit, int w) const {
    return exponents[slot(visit, w) * (1 + Tile::tiles)];
  }
  __device__ int* entering_exponents(const Visit& visit, int w) const {
    return &exponent(visit, w) + 1;
  }
  __device__ T* operand(const Visit& visit, int step, int which) const {
    const int buffer = static_cast<int>(visit.number % Tile::buffers);
    return operands +
           (((buffer * Tile::workers + warp) * scan.chunk + step) * Tile::operands + which) *
               Tile::elements;
  }
  /// What the state is multiplied by.
  __device__ T* matrix(const Visit& visit, int step) const {
    if constexpr (!Tile::by_steps) return operand(visit, step, 0);
    T* const first =
        operands + Tile::buffers * Tile::workers * scan.chunk * Tile::operands * Tile::elements;
    return first + (slot(visit, warp) * scan.chunk + step) * Tile::elements;
  }

  /// The same for followers that go by steps, which count through a tile; operands of any step.
  __device__ SharedMatrix<T> shared_operand(const Visit& visit, int index, int which) const {
    const int first = static_cast<int>(visit.number % Tile::buffers) * Tile::workers * scan.chunk;
    return shared_element((first + index) * Tile::operands + which);
  }
  __device__ SharedMatrix<T> shared_matrix(const Visit& visit, int index) const {
    const int steps = Tile::workers * scan.chunk;
    const int first = (Tile::buffers * Tile::operands + static_cast<int>(visit.number % 2)) * steps;
    return shared_element(first + index);
  }
  __device__ int& crosses_step(const Visit& visit, int index) const {
    return crossed[static_cast<int>(visit.number % 2) * Tile::workers * scan.chunk + index];
  }
  __device__ SharedMatrix<T> shared_element(int number) const {
    return {summaries_address + static_cast<unsigned>(Tile::fixed_bytes) +
            static_cast<unsigned>(sizeof(T)) * number * Tile::elements};
  }

  // ---- shares

  /// Of a sequence's segments, those that are not in the run of its last ones.
  __device__ int others() const { return scan.segments - scan.own; }
  __device__ Visit visit_of(int run, unsigned number) const {
    if constexpr (Tile::only_totals) return part_of(run, run, 1, number);
    if (scan.segments == 1) return {run, scan.first + run, 0, 1, 0, scan.waves, number};
    if constexpr (Tile::ring) {
      if (run >= scan.sequences) return part_of(run, first_other(run), scan.own, number);
      return {run, scan.first + run, others(), scan.segments, 0, waves_of(scan.own), number};
    }
    const int at = scan.runs - 1 - run;  // from the last one on, which is still in the cache
    return {run, scan.first + at / scan.segments, at % scan.segments, 0, 0, scan.waves, number};
  }
  /// The number, among all sequences' others, of the first one in a run of them.
  __device__ int first_other(int run) const { return (run - scan.sequences) * scan.own; }
  /// Of all sequences' others, `count` from number `at` on, or as many as are of one sequence.
  __device__ Visit part_of(int run, int at, int count, unsigned number) const {
    const int sequence = at / others(), segment = at % others(),
              end = ::min(segment + count, others());
    return {run, scan.first + sequence, segment, end, 0, waves_of(end - segment), number};
  }
  __device__ int waves_of(int segments) const {
    const int wave = scan.team * Tile::workers * scan.chunk;
    return static_cast<int>((segments * scan.span + wave - 1) / wave);
  }
  __device__ int waves(const Visit& visit) const { return Tile::ring ? visit.waves : scan.waves; }
  __device__ Visit first_visit() const {
    return visit_of(static_cast<int>(blockIdx.x) / scan.team, 0);
  }
  __device__ Visit next(Visit visit) const {
    ++visit.number;
    ++visit.wave;
    if (visit.wave < waves(visit)) return visit;
    if (Tile::ring && visit.run >= scan.sequences) {
      const int at = (visit.sequence - scan.first) * others() + visit.end,
                left = first_other(visit.run) + scan.own - at;
      if (left > 0 && at < scan.sequences * others()) {
        return part_of(visit.run, at, left, visit.number);
      }
    }
    return visit_of(visit.run + scan.teams, visit.number);
  }
  __device__ bool exists(const Visit& visit) const { return visit.run < scan.runs; }
  __device__ std::int64_t first_step(const Visit& visit, int w) const {
    const std::int64_t start = visit.segment * scan.span;
    if constexpr (Tile::only_totals) {  // a worker has successive steps of the segment
      return start + (w * scan.waves + visit.wave) * scan.chunk;
    }
    const std::int64_t tile = std::int64_t{visit.wave} * scan.team + member;
    return start + (tile * Tile::workers + w) * scan.chunk;
  }
  /// Steps from there to the last segment's end; none or less where it is beyond.
  __device__ std::int64_t steps_from(const Visit& visit, std::int64_t step) const {
    const int end = Tile::ring ? visit.end : visit.segment + 1;
    return ::min(end * scan.span, scan.layout.count) - step;
  }
  /// How many steps a tile has.
  __device__ int steps(const Visit& visit) const {
    const std::int64_t left = steps_from(visit, first_step(visit, 0)),
                       all = std::int64_t{Tile::workers} * scan.chunk;
    return left >= all ? static_cast<int>(all) : ::max(static_cast<int>(left), 0);
  }
  /// How many workers have steps.
  __device__ int chunks(const Visit& visit) const {
    const int each = Tile::only_totals ? scan.waves * scan.chunk : scan.chunk;
    const std::int64_t left = steps_from(visit, first_step(visit, 0)),
                       all = std::int64_t{Tile::workers} * each;
    if (left <= 0) return 0;
    return left >= all ? Tile::workers : (static_cast<int>(left) + each - 1) / each;
  }
  /// From a step to the next one in the order of the pass, where one in memory is `by`.
  __device__ std::int64_t signed_by_direction(std::int64_t by) const {
    return Tile::backward == scan.layout.reverse ? by : -by;
  }
  /// The block of values of a step of the chunk.
  __device__ std::int64_t place_of_step(const Chunk& c, int step) const {
    return c.place + step * signed_by_direction(scan.layout.inner);
  }
  /// Without steps if there is no such visit.
  __device__ Chunk chunk_of(const Visit& visit) const {
    if (!exists(visit)) return {};
    const Layout& layout = scan.layout;
    const std::int64_t first = first_step(visit, warp), left = steps_from(visit, first);
    const std::int64_t t = Tile::backward == layout.reverse ? first : layout.count - 1 - first;
    const auto sequence = static_cast<unsigned>(visit.sequence),
               inner = static_cast<unsigned>(layout.inner);
    unsigned outer = sequence, within = 0;
    if (inner > 1) {  // 32-bit division, which is much cheaper: there are fewer sequences
      outer = sequence / inner;
      within = sequence % inner;
    }
    const std::int64_t row = outer * layout.count + t;
    const bool* const cuts = layout.cuts == nullptr
                                 ? nullptr
                                 : layout.cuts + row * layout.groups +
                                       within / (inner / static_cast<unsigned>(layout.groups));
    const int steps = static_cast<int>(left < 0 ? 0 : left < scan.chunk ? left : scan.chunk);
    return {first, row * layout.inner + within, cuts, steps, 0, 0};
  }
  __device__ bool is_last(const Chunk& c) const { return c.first + c.steps == scan.layout.count; }

  // ---- operands

  /// Exponents of the states before and after a step in the forward pass, which are on their way:
  /// step_scales (ops/scan_scaled.cpp) has the same of all steps.
  __device__ void begin_exponents(const Visit& visit, Chunk& c, int step) const {
    const auto returned = [&](int at) { return scan.exponents[place_of_step(c, at)]; };
    if (exclusive()) {  // then the last state of a segment was not returned
      c.before = returned(step);
      c.after = c.first + step == 0 ? scan.last_exponent[visit.sequence]
                : cut(c, step - 1)  ? c.before
                                    : returned(step - 1);
      return;
    }
    c.after = returned(step);
    if (cut(c, step)) {
      c.before = 0;
    } else if (c.first + step + 1 < scan.layout.count) {
      c.before = returned(step + 1);
    } else if (scan.initial_exponent != nullptr) {
      c.before = scan.initial_exponent[visit.sequence];
    }
  }
  /// The warp begins to copy its chunk of a visit.
  __device__ Turn begin(const Visit& visit) const {
    Chunk c = chunk_of(visit);
    if (c.steps > 0) {
      if constexpr (Tile::rescales) {  // first: loads come back in line
        const int lane = static_cast<int>(threadIdx.x % 32);
        if (lane < c.steps) begin_exponents(visit, c, lane);
      }
      const auto source = [&](const T* data, int count, int its_rows, int offset) {
        const std::int64_t size = std::int64_t{its_rows} * order();
        return Matrices<T>{data + place_of_step(c, offset) * size,
                           signed_by_direction(scan.layout.inner) * size, count, its_rows};
      };
      T* const to = operand(visit, 0, 0);
      const auto a = source(scan.a, c.steps, order(), 0);
      if constexpr (Tile::backward) {
        // And the gradient that reaches the state before each step from outside, and that state.
        const int offset = exclusive() ? 0 : 1;
        const int count = is_last(c) ? c.steps - offset : c.steps;
        const auto b = source(scan.b, count, rows(), offset);
        if constexpr (Tile::only_totals) {
          begin_loads<NT>(to, {a, b}, order(), packs());
        } else {
          begin_loads<NT>(to, {a, b, source(scan.forward, count, rows(), offset)}, order(),
                          packs());
        }
      } else if constexpr (Tile::affine) {
        begin_loads<NT>(to, {a, source(scan.b, c.steps, rows(), 0)}, order(), packs());
      } else {
        begin_loads<NT>(to, {a}, order(), packs());
      }
    }
    close_copies();
    return {visit, c};
  }

  /// Makes of what has arrived what the pass reads.
  __device__ void prepare(const Visit& visit, const Chunk& c) const {
    if constexpr (Tile::backward) {
      const float one = scan.starts_at_one ? 1.0f : 0.0f;
      for (int step = 0; step < c.steps && !plain && c.cuts != nullptr; ++step) {
        if (!cut(c, step)) continue;
        if (!Tile::only_totals) store_identity<NT>(operand(visit, step, 2), rows(), order(), one);
        if (exclusive()) store_identity<NT>(operand(visit, step, 1), rows(), order(), 0);
      }
      const int first = c.steps - 1;  // what the forward pass began with
      if (!Tile::only_totals && c.steps > 0 && is_last(c) && !exclusive()) {
        store_identity<NT>(operand(visit, first, 1), rows(), order(), 0);
        if (scan.initial == nullptr || cut(c, first)) {
          store_identity<NT>(operand(visit, first, 2), rows(), order(), one);
        } else {
          const T* const from = scan.initial + visit.sequence * size_of_state();
          for (int i = static_cast<int>(threadIdx.x % 32); i < rows() * order(); i += 32) {
            operand(visit, first, 2)[place_of<NT, T>(i / order(), i % order())] = from[i];
          }
        }
      }
    }
    if constexpr (!std::is_same_v<Form, Given>) {
      Form::template prepare<NT, Tile::most_steps>(
          operand(visit, 0, 0), Tile::operands * Tile::elements, matrix(visit, 0),
          Tile::by_steps ? Tile::elements : Tile::operands * Tile::elements, c.steps, order());
    }
    __syncwarp();
  }

  /// x times what the forward pass, if that was scaled, multiplied the state after the step by.
  template <int MT>
  __device__ void apply_scale(Fragment<MT, NT>& x, const Chunk& c, int step) const {
    if constexpr (Tile::rescales) {
      const int power = __shfl_sync(0xFFFFFFFFu, c.before - c.after, step);
      multiply(x, sizeof(T) == 8 ? scalbn(1.0, power) : two_to(::max(-1022, ::min(power, 1023))));
    }
  }

  /// x(row, column) = f(row, column) within rows × n, else 0.
  template <int MT, class F>
  __device__ void fill(Fragment<MT, NT>& x, int first_row, F f) const {
    const int most_rows = rows(), n = order();
    for_all_runs(x, first_row, [=](int row, int column, auto& run) {
      int c = column;
      for (double* const value : run) {
        *value = row < most_rows && c < n ? f(row, c) : 0.0;
        ++c;
      }
    });
  }
  template <int MT>
  __device__ void fill_identity(Fragment<MT, NT>& x, int first_row) const {
    const bool one = scan.starts_at_one;
    fill(x, first_row, [one](int row, int column) { return one && row == column ? 1.0 : 0.0; });
  }
};

/// A worker's part of the tile that it is at, of the next one, and of the one after, which is on
/// the way.
template <class Block>
struct Turns {
  const Block& block;
  Turn now, next, after;
  Visit ahead;

  __device__ explicit Turns(const Block& its) : block(its), ahead(its.first_visit()) {
    static_assert(Block::Tile::buffers == 3);
#pragma unroll 1
    for (int i = 0; i < Block::Tile::buffers; ++i) advance();
  }
  __device__ void advance() {
    now = next;
    next = after;
    after = block.begin(ahead);
    ahead = block.next(ahead);
  }
};

}  // namespace scangrad::cuda
