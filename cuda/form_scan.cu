#include <scangrad/cuda/families.h>
#include <scangrad/cuda/matrix_scan.h>
#include <scangrad/cuda/matrix_scan.cuh>

// Scans of matrices that a kernel makes, in shared memory, of the elements that it reads.
namespace scangrad::cuda {
namespace {

bool fits(const Tensor& states) {
  return states.dtype() == DType::f32 && fit_in_tiles(states) && states.shape().back() <= 16;
}

template <MatrixPass pass, MatrixForm form>
void start(const MatrixScan<float>& scan, Device device) {
  if (scan.n <= 8) return start_of_order<1, pass, Makes<form>>(scan, device);
  start_of_order<2, pass, Makes<form>>(scan, device);
}
template <MatrixPass pass>
void start(const MatrixScan<float>& scan, MatrixForm form, Device device) {
  switch (form) {
    case MatrixForm::identity:
      return start<pass, MatrixForm::identity>(scan, device);
    case MatrixForm::ldu:
      return start<pass, MatrixForm::ldu>(scan, device);
  }
}

bool form_scan(const Tensor& states, const Tensor& last, const Tensor& x, MatrixForm form,
               const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
  if (!fits(states)) return false;
  start<MatrixPass::product>(forward_scan<float>(states, last, x, {}, initial, cuts, plan), form,
                             states.device());
  return true;
}

bool form_scan_backward(const Tensor& dx, const Tensor& d_initial, const Tensor& x, MatrixForm form,
                        const Tensor& states, const Tensor& initial, const Tensor& g,
                        const Tensor& g_last, const Tensor& cuts, ScanPlan plan) {
  if (!fits(states)) return false;
  start<MatrixPass::backward>(
      backward_scan<float>(dx, {}, d_initial, x, states, initial, g, g_last, cuts, plan, true),
      form, states.device());
  return true;
}

}  // namespace

void fill_form_scan(Kernels& table) {
  table.form_scan = form_scan;
  table.form_scan_backward = form_scan_backward;
}

}  // namespace scangrad::cuda
