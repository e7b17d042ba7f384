#include <scangrad/cuda/families.h>
#include <scangrad/cuda/launch.cuh>

// Sums into one place are in the order of the indices: a thread owns a place, or walks its column.
namespace scangrad::cuda {
namespace {

template <class T>
void index_select_typed(const Tensor& out, const Tensor& x, const Tensor& index, IndexCheck where) {
  const std::int64_t k = out.shape()[1], inner = out.shape()[2], n = x.shape()[1];
  const std::int64_t* const at = index.data<std::int64_t>();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  const FaultWord fault = fault_word(x.device().index);
  for_each(x.device(), out.numel(), [=] __device__(std::int64_t i) {
    const std::int64_t row = i / inner, chosen = at[row % k];
    if (chosen < 0 || chosen >= n) {
      note_fault(fault, where.op, where.unit, chosen, n);
      to[i] = T(false);
      return;
    }
    to[i] = from[(row / k * n + chosen) * inner + i % inner];
  });
}

/// Each thread owns one column of one outer index and walks all indices.
template <class T>
void index_add_typed(const Tensor& out, const Tensor& index, const Tensor& x, IndexCheck where) {
  using C = compute_type<T>;
  const std::int64_t k = x.shape()[1], inner = x.shape()[2], n = out.shape()[1];
  const std::int64_t* const at = index.data<std::int64_t>();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  const FaultWord fault = fault_word(x.device().index);
  for_each(x.device(), x.shape()[0] * inner, [=] __device__(std::int64_t i) {
    const std::int64_t outer = i / inner, column = i % inner;
    for (std::int64_t p = 0; p < k; ++p) {
      const std::int64_t chosen = at[p];
      if (chosen < 0 || chosen >= n) {
        note_fault(fault, where.op, where.unit, chosen, n);
        continue;
      }
      T& target = to[(outer * n + chosen) * inner + column];
      target = static_cast<T>(C(target) + C(from[(outer * k + p) * inner + column]));
    }
  });
}

/// The loop over index and x without `dim`, and the steps along it.
struct Along {
  StridedLoop<2> others;
  std::int64_t n, step, x_step;
};
Along along(const Tensor& index, const Tensor& x, int dim) {
  Shape others = index.shape();
  Strides index_strides = index.strides(), x_strides = x.strides();
  others.erase(dim);
  index_strides.erase(dim);
  x_strides.erase(dim);
  return {
      strided_loop(index.as_strided(others, index_strides, 0), x.as_strided(others, x_strides, 0)),
      index.shape()[dim], index.strides()[dim], x.strides()[dim]};
}

template <class T>
void gather_typed(const Tensor& out, const Tensor& x, int dim, const Tensor& index,
                  IndexCheck where) {
  const Along plan = along(index, x, dim);
  const std::int64_t limit = x.shape()[dim];
  const std::int64_t* const at = index.data<std::int64_t>();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  const FaultWord fault = fault_word(x.device().index);
  for_each(x.device(), index.numel(), [=] __device__(std::int64_t i) {
    std::int64_t first[2];
    offsets_of(plan.others, i / plan.n, first);
    const std::int64_t p = first[0] + i % plan.n * plan.step, chosen = at[p];
    if (chosen < 0 || chosen >= limit) {
      note_fault(fault, where.op, where.unit, chosen, limit);
      to[p] = T(false);
      return;
    }
    to[p] = from[first[1] + chosen * plan.x_step];
  });
}

template <class T>
void scatter_add_typed(const Tensor& out, int dim, const Tensor& index, const Tensor& x,
                       IndexCheck where) {
  using C = compute_type<T>;
  const Along plan = along(index, out, dim);
  const std::int64_t limit = out.shape()[dim];
  const std::int64_t* const at = index.data<std::int64_t>();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  const FaultWord fault = fault_word(x.device().index);
  for_each(x.device(), plan.others.numel, [=] __device__(std::int64_t i) {
    std::int64_t first[2];
    offsets_of(plan.others, i, first);
    for (std::int64_t j = 0; j < plan.n; ++j) {
      const std::int64_t p = first[0] + j * plan.step, chosen = at[p];
      if (chosen < 0 || chosen >= limit) {
        note_fault(fault, where.op, where.unit, chosen, limit);
        continue;
      }
      T& target = to[first[1] + chosen * plan.x_step];
      target = static_cast<T>(C(target) + C(from[p]));
    }
  });
}

void index_select(const Tensor& out, const Tensor& x, const Tensor& index, IndexCheck where) {
  dispatch(AllTypes{}, x.dtype(), [&](auto tag) {
    index_select_typed<typename decltype(tag)::type>(out, x, index, where);
  });
}
void index_add(const Tensor& out, const Tensor& index, const Tensor& x, IndexCheck where) {
  dispatch(NumberTypes{}, x.dtype(),
           [&](auto tag) { index_add_typed<typename decltype(tag)::type>(out, index, x, where); });
}
void gather(const Tensor& out, const Tensor& x, int dim, const Tensor& index, IndexCheck where) {
  dispatch(AllTypes{}, x.dtype(), [&](auto tag) {
    gather_typed<typename decltype(tag)::type>(out, x, dim, index, where);
  });
}
void scatter_add(const Tensor& out, int dim, const Tensor& index, const Tensor& x,
                 IndexCheck where) {
  dispatch(NumberTypes{}, x.dtype(), [&](auto tag) {
    scatter_add_typed<typename decltype(tag)::type>(out, dim, index, x, where);
  });
}

}  // namespace

void fill_index(Kernels& table) {
  table.index_select = index_select;
  table.index_add = index_add;
  table.gather = gather;
  table.scatter_add = scatter_add;
}

}  // namespace scangrad::cuda
