// Every operation × every check, from the table in op_case.h: the suite's proof that nothing was
// left out. SCANGRAD_OPS=sum runs only the rows whose names start so, SCANGRAD_OPS=2/8 every eighth
// row from number 2 on.
#include <scangrad/ops/kernels.h>
#include <scangrad/tests/ops/op_checks.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <regex>
#include <set>

namespace {

struct Check {
  const char* title;
  int (*run)(const OpCase&);
  bool (*applies)(const OpCase&);
  bool on_devices;  // or on the CPU alone
};

const Check checks[] = {
    {"inputs", check_inputs, [](const OpCase&) { return true; }, false},
    {"values", check_values, [](const OpCase&) { return true; }, true},
    {"gradient", check_gradients, [](const OpCase& row) { return row.differentiable; }, false},
    {"second", check_second_derivatives,
     [](const OpCase& row) { return row.differentiable && row.twice_differentiable; }, false},
    {"grad dtypes", check_gradient_dtypes, [](const OpCase& row) { return row.differentiable; },
     true},
    {"threads", check_threads, [](const OpCase&) { return true; }, false},
};

/// Whether SCANGRAD_OPS asks for the row, which is the number-th of the table.
bool is_wanted(const OpCase& row, unsigned number) {
  const char* wanted = std::getenv("SCANGRAD_OPS");
  if (wanted == nullptr) return true;
  unsigned first = 0, step = 0;
  if (std::sscanf(wanted, "%u/%u", &first, &step) == 2 && step > 0) return number % step == first;
  return row.name.rfind(wanted, 0) == 0;
}

/// How many rows say that they cover an operation: by the `op` of their names, or in their lists.
std::map<std::string, int> rows_of_each() {
  std::map<std::string, int> rows;
  for (const OpCase& row : all_cases()) {
    ++rows[row.name.substr(0, row.name.find('.'))];
    for (const std::string& name : row.covers) ++rows[name];
  }
  return rows;
}

/// The operations that the public headers declare, and in how many overloads.
std::map<std::string, int> public_operations() {
  namespace fs = std::filesystem;
  const fs::path root = SCANGRAD_SOURCE_DIR;
  const std::set<std::string> internal = {"frontend.h",      "kernels.h",       "functors.h",
                                          "scan_frontend.h", "scan_functors.h", "scan_algorithms.h",
                                          "scan_run.h"};
  std::vector<fs::path> headers = {root / "core/tensor.h"};  // full, zeros …
  for (const auto& entry : fs::directory_iterator(root / "ops")) {
    const fs::path name = entry.path().filename();
    if (name.extension() == ".h" && !internal.count(name)) headers.push_back(entry.path());
  }
  // Whatever the result: only what begins a line (with its type) declares a free function.
  const std::regex declaration(R"(^(?:inline )?\w+ (\w+)\()");
  std::map<std::string, int> overloads;
  for (const fs::path& header : headers) {
    std::ifstream file(header);
    for (std::string line; std::getline(file, line);) {
      std::smatch match;
      if (std::regex_search(line, match, declaration)) ++overloads[match[1]];
    }
  }
  // Functions that compute no tensor's values: `make` in op_cases.cpp builds all operands by
  // `from`.
  for (const char* name :
       {"promote", "scan_algorithm", "float32_matmul", "empty", "empty_like", "from"}) {
    REQUIRE(overloads.erase(name) == 1);
  }
  return overloads;
}

}  // namespace

TEST_CASE("every kernel and every overload of a public operation has a row in the table of cases") {
  // An operation without a row would have no value check, no gradcheck, nothing.
  std::map<std::string, int> rows = rows_of_each();
  // The optimizers' steps change lists of tensors in place: tests/train/test_optimizer.cpp has
  // their values, tests/ops/test_optimizer.cpp what they refuse.
  for (const char* step : {"adamw_step", "sgd_step", "l2_norm"}) rows[step] = 1;
  for (const std::string& kernel : scangrad::kernel_names()) {
    INFO("kernel " << kernel);
    CHECK(rows[kernel] >= 1);
  }
  std::map<std::string, int> operations = public_operations();
  REQUIRE(operations["softplus"] == 1);  // the headers were found and read
  REQUIRE(operations["max"] == 2);
  REQUIRE(operations["associative_scan"] == 1);
  for (const auto& [operation, overloads] : operations) {
    INFO("operation " << operation << ", declared " << overloads << " times");
    CHECK(rows[operation] >= overloads);
  }
}

TEST_CASE("every operation that broadcasts has a call with operands of different shapes") {
  // A gradient that forgets to sum over the broadcast dimension passes where shapes agree.
  std::set<std::string> missing = {"add",
                                   "sub",
                                   "mul",
                                   "div",
                                   "pow",
                                   "maximum",
                                   "minimum",
                                   "eq",
                                   "ne",
                                   "lt",
                                   "le",
                                   "gt",
                                   "ge",
                                   "logical_and",
                                   "logical_or",
                                   "where",
                                   "masked_fill",
                                   "matmul",
                                   "solve",
                                   "add_",
                                   "copy_",
                                   "linear_scan",
                                   "affine_scan",
                                   "masked_softmax",
                                   "scaled_dot_product_attention"};
  for (const OpCase& row : all_cases()) {
    for (const Operands& operands : row.inputs) {
      if (operands.size() < 2) continue;
      const scangrad::Shape &a = operands[0].shape, &b = operands[1].shape;
      const bool differ = a.rank() != b.rank() || (a.rank() > 0 && a[0] != b[0]);
      if (differ) missing.erase(row.name.substr(0, row.name.find('.')));
    }
  }
  CHECK(missing == std::set<std::string>{});
}

TEST_CASE("each row of the table passes every check that applies to it") {
  constexpr int name_width = 46;
  std::cout << std::left << std::setw(name_width) << "comparisons made";
  for (const Check& check : checks) std::cout << std::setw(12) << check.title;
  std::cout << '\n';
  std::set<std::string> seen;
  unsigned number = 0;
  for (const OpCase& row : all_cases()) {
    if (!is_wanted(row, number++)) continue;
    INFO("row " << row.name);
    CHECK(seen.insert(row.name).second);  // a name used twice hides a row
    std::cout << std::setw(name_width) << row.name;
    for (const Check& check : checks) {
      std::string result = "-";
      if (check.applies(row) && (check.on_devices || !compute_sanitizer())) {
        try {
          const int count = check.run(row);
          CHECK(count > 0);
          result = std::to_string(count);
        } catch (const std::exception& error) {
          result = "FAILED";
          FAIL_CHECK(row.name << ", " << check.title << ": " << error.what());
        }
      }
      std::cout << std::setw(12) << result;
    }
    std::cout << '\n';
  }
  REQUIRE_FALSE(seen.empty());
}
