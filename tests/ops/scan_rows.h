// What the rows of all scans share: the definition of a scan, step by step, and a row for each of
// its options.
#pragma once
#include <scangrad/ops/scan.h>
#include <scangrad/tests/ops/op_case.h>

#include <functional>
#include <string>
#include <vector>

/// A scan along dimension 1, by definition: the states, and the last of each sequence. Elements are
/// in[0] and, if the scan has two operands, in[1], which then has the states' shape; the trailing
/// `own` dimensions are a step's block. Then come the initial state and the resets, of all the
/// dimensions before the last `own`, where the scan has them.
struct ScanDefinition {
  static constexpr int dim = 1;
  int own = 0, operands = 1;
  bool reverse = false, exclusive = false, has_initial = false, has_resets = false;
  std::function<std::vector<double>(const scangrad::Shape& block)> identity;
  std::function<std::vector<double>(const std::vector<double>& state, const double* a,
                                    const double* b, const scangrad::Shape& block)>
      step;

  reference::Arrays operator()(const reference::Arrays& in) const;
};

/// The definition of h ← h a (+ b), where `own` is 2 matrices, of `operands` 1 or 2.
ScanDefinition of_actions(int own, int operands,
                          std::vector<double> (*identity)(const scangrad::Shape& block));
/// Identities for it: 0, and the matrix (or number) 1.
std::vector<double> zero(const scangrad::Shape& block);
std::vector<double> unit(const scangrad::Shape& block);

/// What a row scans: the operands with no `initial`, all calls.
struct Scan {
  std::string name;
  std::function<scangrad::ScanResult(const scangrad::Tensors& in, const scangrad::ScanOptions&)>
      run;
  ScanDefinition definition;
  std::vector<Operands> calls;
  std::vector<std::string> covers = {};
  Tolerance tolerance = {};
  bool needs_initial = false;
};

/// A row for each way to set reverse, exclusive and initial, and for resets (with an initial
/// state).
void add_rows(std::vector<OpCase>& rows, const Scan& scan);
/// Of scans that sum: T terms, which may cancel, in the accumulator's precision.
Tolerance sums_of_scans();
