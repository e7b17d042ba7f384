#pragma once
#include <scangrad/cuda/matrix_shares.h>
#include <scangrad/cuda/matrix_ring.cuh>
#include <scangrad/cuda/matrix_walk.cuh>

#include <array>
#include <initializer_list>
#include <map>
#include <mutex>

// Scans of matrices of order up to 32, forward and backward: x ← x A + B, a step at a time, or
// x ← x Aᵀ + B.
//
// A block takes a tile of successive steps into shared memory, and each of its workers, a warp, a
// chunk of the tile. A worker multiplies its chunk out, to what it makes of any state, x ↦ x P + R;
// the states that enter the chunks then follow one from the other; and each worker walks its chunk
// again from the one that enters it, from shared memory, and writes its results. Other warps, the
// followers, do what is in between, for one tile while the workers walk the one before and multiply
// out the one after; and the one after that is on its way. Where a step is much work in itself,
// nothing is multiplied out, and a follower takes the state through every step (MatrixTile).
//
// Where there are too few sequences to fill the GPU, several blocks share each: they take tiles in
// turn, and hand the state to each other (matrix_carry.cuh; more than two, matrix_ring.cuh). Where
// even that would leave many blocks idle, sequences are cut into segments. A first kernel
// multiplies out those that are not the last ones (matrix_segments.cuh), and in the second one a
// team of blocks begins with the product of what stands before its segments. That reads these
// elements twice.
//
// All products are always of the same factors in the same order, so results are the same bit for
// bit.
namespace scangrad::cuda {

template <class Block>
__device__ void work(const Block& block) {
  Turns turns(block);
  const auto prepare_and_reduce = [&](const Turn& its) {
    if (its.chunk.steps == 0) return;
    block.prepare(its.visit, its.chunk);
    reduce(block, its.visit, its.chunk);
  };
  await_copies<2>();
  __syncwarp();
  prepare_and_reduce(turns.now);
  meet();
  while (block.exists(turns.now.visit)) {
    await_copies<1>();
    __syncwarp();
    prepare_and_reduce(turns.next);
    meet();
    if (turns.now.chunk.steps > 0) walk(block, turns.now.visit, turns.now.chunk);
    __syncwarp();
    turns.advance();
  }
}

template <class Block>
__global__ void __launch_bounds__(Block::Tile::threads, 1)
    matrix_scan_kernel(const MatrixScan<typename Block::T> scan) {
  using T = typename Block::T;
  using Tile = typename Block::Tile;
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ int crossed[Tile::slots * (Tile::by_steps ? Tile::most_steps : 1)];
  __shared__ int exponents[Tile::slots * (1 + Tile::tiles)];
  __shared__ std::uint64_t barriers[2 * Tile::tiles];
  T* const operands = reinterpret_cast<T*>(memory + Tile::fixed_bytes);
  const int warp = static_cast<int>(threadIdx.x / 32);
  bool works = warp < Tile::workers;
  int rank = works ? warp : warp - Tile::workers;
  if constexpr (Tile::apart) {
    const int past = warp - Tile::first_follower;
    works = past < 0 || past % 4 != 0;
    rank = works ? warp - ::max(0, (past + 3) / 4) : past / 4;
  }
  auto address = static_cast<unsigned>(__cvta_generic_to_shared(memory));
  asm volatile("" : "+r"(address));  // hides where it is from, lest it be found again and again
  const int tile = works ? 0 : rank % Tile::tiles;
  const Handover handover{
      address + static_cast<unsigned>(Tile::summary_bytes) + tile * 2 * Tile::pieces * 512,
      static_cast<unsigned>(__cvta_generic_to_shared(barriers + 2 * tile))};
  const OperandPlaces places = Block::NT == 2 ? operand_places() : OperandPlaces{};
  const Block block{scan,      reinterpret_cast<typename Tile::Summary*>(memory),
                    address,   handover,
                    operands,  crossed,
                    exponents, places,
                    rank,      static_cast<int>(blockIdx.x) % scan.team};
  constexpr int order = 8 * Block::NT;
  if (!Block::is_plain && (scan.n < order || scan.rows < order)) {  // the padding
    const int count = Tile::workers * scan.chunk * static_cast<int>(Tile::step_bytes / sizeof(T));
    for (int i = static_cast<int>(threadIdx.x); i < count; i += Tile::threads) {
      operands[i] = static_cast<T>(0.0f);
    }
    __syncthreads();
  }
  if constexpr (Tile::ring) {  // which has more than one block, and meets below
    if (threadIdx.x == 0) initialise_followers_barriers<Tile>();
  }
#if __CUDA_ARCH__ >= 900
  if (scan.team > 1) {
    if (!works && rank < Tile::tiles && threadIdx.x % 32 == 0) handover.initialise();
    meet_cluster();
  }
#endif
  if constexpr (Tile::only_totals) {
    let_next_start();
    return make_total(block);
  }
  // For the totals; where there is a ring, only who reads them.
  if (!Tile::ring && !works && scan.segments > 1) wait_for_kernel_before();
  constexpr bool twice = Block::pass == MatrixPass::product && !Tile::ring;
  if (twice && works && scan.team > 1) {
    work(block);  // a copy, with which order 32 is 3 % faster, by where its instructions lie
  } else if (works) {
    work(block);
  } else if constexpr (Tile::ring) {
    follow_in_ring(block);
  } else {
    meet();
    follow(block);
  }
  if (scan.team > 1) meet_cluster();  // shared memory lasts as long as its block
}

// ---- on the host

/// The kernel, which may have as much shared memory as there is.
template <class Block>
auto kernel_of() {
  const auto kernel = matrix_scan_kernel<Block>;
  check_call(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(Block::Tile::most_bytes)),
             "cudaFuncSetAttribute");
  return kernel;
}

/// How many teams of so many blocks can be at work at once on the current device; none where the
/// code is for GPUs before Hopper, whose blocks cannot hand anything over.
template <class Block>
TeamsAtOnce teams_at_once(int device) {
  static std::mutex mutex;
  static std::map<int, TeamsAtOnce> known;
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(device); found != known.end()) return found->second;
  TeamsAtOnce teams = {};
  const auto kernel = kernel_of<Block>();
  cudaFuncAttributes compiled;
  check_call(cudaFuncGetAttributes(&compiled, kernel), "cudaFuncGetAttributes");
  const int most = compiled.ptxVersion < 90 ? 0 : Block::Tile::ring ? most_in_ring : 2;
  for (int team = 2; team <= most; ++team) {
    cudaLaunchAttribute cluster;
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {static_cast<unsigned>(team), 1, 1};
    cudaLaunchConfig_t launch = {};
    launch.gridDim = static_cast<unsigned>(team);
    launch.blockDim = Block::Tile::threads;
    launch.dynamicSmemBytes = Block::Tile::most_bytes;
    launch.attrs = &cluster;
    launch.numAttrs = 1;
    check_call(cudaOccupancyMaxActiveClusters(&teams[team], kernel, &launch),
               "cudaOccupancyMaxActiveClusters");
  }
  return known[device] = teams;
}

/// Starts a kernel for `runs` of `steps` each, by teams; early if it waits for the one before.
template <class Block, class T>
void start_runs(MatrixScan<T> scan, std::int64_t runs, std::int64_t steps, int team,
                std::int64_t teams, bool early, Device device, const std::source_location& where) {
  using Tile = typename Block::Tile;
  const std::int64_t at_once = std::int64_t{Tile::workers} * team;  // chunks of a wave
  const std::int64_t waves = share(steps, at_once * Tile::most_steps);
  scan.chunk = static_cast<int>(share(steps, at_once * waves));
  scan.waves = static_cast<int>(share(steps, at_once * scan.chunk));
  scan.runs = static_cast<int>(runs);
  scan.team = team;
  scan.teams = static_cast<int>(std::min(runs, teams));
  std::array<cudaLaunchAttribute, 2> attributes = {};
  cudaLaunchConfig_t launch = {};
  launch.gridDim = static_cast<unsigned>(scan.teams * team);
  launch.blockDim = Tile::threads;
  launch.dynamicSmemBytes =
      Tile::fixed_bytes + Tile::workers * Tile::step_bytes * static_cast<std::size_t>(scan.chunk);
  launch.stream = stream(device.index);
  launch.attrs = attributes.data();
  if (team > 1) {
    cudaLaunchAttribute& cluster = attributes[launch.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {static_cast<unsigned>(team), 1, 1};
  }
  if (early) {
    cudaLaunchAttribute& serialization = attributes[launch.numAttrs++];
    serialization.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    serialization.val.programmaticStreamSerializationAllowed = 1;
  }
  check_call(cudaLaunchKernelEx(&launch, kernel_of<Block>(), scan), "cudaLaunchKernelEx");
  check_launch(device.index, where);
}

/// Starts the kernels for `sequences` of them, from scan.first on.
template <class Block, class Totals, class T>
void start_shares(MatrixScan<T> scan, std::int64_t sequences, Shares shares, Device device,
                  const std::source_location& where) {
  const std::int64_t count = scan.layout.count;
  scan.sequences = static_cast<int>(sequences);
  scan.span = share(count, shares.segments);
  scan.segments = static_cast<int>(share(count, scan.span));
  scan.own = static_cast<int>(shares.own);
  const std::int64_t others = sequences * (scan.segments - scan.own);
  Tensor memory;
  if (others > 0) {
    using Tile = typename Totals::Tile;
    const std::int64_t all = sequences * scan.segments;
    const std::int64_t totals = all * Tile::totals * Tile::elements;
    memory = empty({totals + 2 * all}, {DType::f64, device});
    scan.totals = memory.data<double>();
    scan.marks = reinterpret_cast<int*>(scan.totals + totals);
    start_runs<Totals>(scan, others, scan.span, 1, others, false, device, where);
  }
  cudaFuncAttributes compiled;
  check_call(cudaFuncGetAttributes(&compiled, kernel_of<Block>()), "cudaFuncGetAttributes");
  start_runs<Block>(scan, sequences + share(others, scan.own), scan.own * scan.span, shares.team,
                    multiprocessors(device.index) / shares.team,
                    others > 0 && compiled.ptxVersion >= 90, device, where);
}

template <class T, int NT, MatrixPass pass, class Form = Given, bool plain = false>
void start_matrix_scan(MatrixScan<T> scan, Device device,
                       const std::source_location& where = std::source_location::current()) {
  using Block = MatrixBlock<T, NT, pass, Form, plain, MatrixTask::states>;
  using Ring = MatrixBlock<T, NT, pass, Form, plain, MatrixTask::ring>;
  using Totals = MatrixBlock<T, NT, pass, Form, plain, MatrixTask::totals>;
  using Tile = typename Block::Tile;
  constexpr bool has_rings = NT <= 2 && !Tile::by_steps;
  const std::int64_t sequences = scan.layout.sequences();
  const int blocks = multiprocessors(device.index);
  const DeviceGuard guard(device.index);
  const auto shares = [&](std::int64_t of) {
    TeamsAtOnce teams = {}, rings = {};
    if (2 * of <= blocks) {
      teams = teams_at_once<Block>(device.index);
      if constexpr (has_rings) rings = teams_at_once<Ring>(device.index);
    }
    return shares_for(of, scan.layout.count, Tile::workers, blocks, teams, rings);
  };
  const auto start = [&](std::int64_t first, std::int64_t end, Shares its) {
    scan.first = static_cast<int>(first);
    if constexpr (has_rings) {
      if (its.ring) return start_shares<Ring, Totals>(scan, end - first, its, device, where);
    }
    start_shares<Block, Totals>(scan, end - first, its, device, where);
  };
  const Shares all = shares(sequences);
  // A few more than there are blocks for would take as long again: those are shared out apart, if
  // that is worth another start.
  const std::int64_t rest = sequences % blocks, rounds = sequences - rest;
  const bool is_long = scan.layout.count > std::int64_t{2} * Tile::workers * Tile::most_steps;
  if (is_long && rest > 0 && rounds > 0 && rounds < 9 * blocks) {
    const Shares of_rounds = shares(rounds), of_rest = shares(rest);
    if (of_rounds.time + of_rest.time < 0.9 * all.time) {
      start(0, rounds, of_rounds);
      return start(rounds, sequences, of_rest);
    }
  }
  start(0, sequences, all);
}

/// What all passes have in common.
template <class T>
MatrixScan<T> matrix_scan_of(const Tensor& states, const Tensor& a, const Tensor& initial,
                             const Tensor& cuts, ScanPlan plan, bool starts_at_one) {
  const std::int64_t n = states.shape().back(), rows = states.shape()[states.rank() - 2];
  MatrixScan<T> scan{Layout(states, cuts, plan), static_cast<int>(rows), static_cast<int>(n),
                     plan.exclusive, starts_at_one};
  scan.a = a.data<T>();
  scan.initial = data_or_null<T>(initial);
  scan.packs = rows == n && (n == 8 || n == 16 || n == 32);
  return scan;
}
/// Whether matrices in all of these can be read and written 16 bytes at a time.
template <class T>
bool all_aligned(std::initializer_list<const T*> operands) {
  return std::all_of(operands.begin(), operands.end(), [](const T* data) {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
  });
}

template <class T>
MatrixScan<T> forward_scan(const Tensor& states, const Tensor& last, const Tensor& a,
                           const Tensor& b, const Tensor& initial, const Tensor& cuts,
                           ScanPlan plan) {
  MatrixScan<T> scan = matrix_scan_of<T>(states, a, initial, cuts, plan, !b.defined());
  scan.b = data_or_null<T>(b);
  scan.states = states.data<T>();
  scan.last = last.data<T>();
  scan.packs = scan.packs && all_aligned<T>({scan.a, scan.b, scan.states, scan.last});
  return scan;
}
template <class T>
MatrixScan<T> backward_scan(const Tensor& da, const Tensor& db, const Tensor& d_initial,
                            const Tensor& a, const Tensor& states, const Tensor& initial,
                            const Tensor& g, const Tensor& g_last, const Tensor& cuts,
                            ScanPlan plan, bool starts_at_one) {
  MatrixScan<T> scan = matrix_scan_of<T>(states, a, initial, cuts, plan, starts_at_one);
  scan.forward = states.data<T>();
  scan.b = g.data<T>();
  scan.g_last = g_last.data<T>();
  scan.da = data_or_null<T>(da);
  scan.db = data_or_null<T>(db);
  scan.d_initial = data_or_null<T>(d_initial);
  scan.packs = scan.packs && all_aligned<T>({scan.a, scan.forward, scan.b, scan.initial, scan.da,
                                             scan.db, scan.d_initial});
  return scan;
}

/// Whether `plain` holds of a scan for a kernel of order N (MatrixBlock).
template <class T>
bool is_plain(const MatrixScan<T>& scan) {
  return scan.layout.cuts == nullptr && !scan.exclusive && scan.packs && scan.db == nullptr &&
         (scan.da != nullptr || scan.states != nullptr);
}
/// Starts the pass for the scan's order.
template <int NT, MatrixPass pass, class Form, class T>
void start_of_order(const MatrixScan<T>& scan, Device device) {
  // Loops of their own where speed is wanted most; the others would double the time to compile.
  if constexpr (std::is_same_v<T, float> && pass != MatrixPass::affine) {
    if (is_plain(scan)) return start_matrix_scan<T, NT, pass, Form, true>(scan, device);
  }
  start_matrix_scan<T, NT, pass, Form>(scan, device);
}
template <MatrixPass pass, class T>
void start_for_order(const MatrixScan<T>& scan, Device device) {
  if (scan.n <= 8) return start_of_order<1, pass, Given>(scan, device);
  if (scan.n <= 16) return start_of_order<2, pass, Given>(scan, device);
  start_of_order<4, pass, Given>(scan, device);
}

}  // namespace scangrad::cuda
