// Every operation × every check, from the table in op_case.h: the suite's proof that nothing was
// left out. SCANGRAD_OPS=sum runs only the rows whose names start so.
#include <scangrad/ops/kernels.h>
#include <scangrad/tests/ops/op_checks.h>
#include <scangrad/tests/support/catch.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <regex>
#include <set>

namespace {

struct Check {
  const char* title;
  int (*run)(const OpCase&);
  bool (*applies)(const OpCase&);
};

const Check checks[] = {
    {"inputs", check_inputs, [](const OpCase&) { return true; }},
    {"values", check_values, [](const OpCase&) { return true; }},
    {"gradient", check_gradients, [](const OpCase& row) { return row.differentiable; }},
    {"second", check_second_derivatives,
     [](const OpCase& row) { return row.differentiable && row.twice_differentiable; }},
    {"grad dtypes", check_gradient_dtypes, [](const OpCase& row) { return row.differentiable; }},
    {"threads", check_threads, [](const OpCase&) { return true; }},
};

/// What the rows say they cover: the `op` of each name, and their lists.
std::set<std::string> covered() {
  std::set<std::string> names;
  for (const OpCase& row : all_cases()) {
    names.insert(row.name.substr(0, row.name.find('.')));
    names.insert(row.covers.begin(), row.covers.end());
  }
  return names;
}

/// The operations that the public headers of ops/ declare.
std::set<std::string> public_operations() {
  const std::set<std::string> internal = {"frontend.h", "kernels.h", "functors.h",
                                          "scan_frontend.h", "scan_functors.h"};
  const std::regex declaration(
      R"(^(?:inline )?(?:Tensor|Tensors|ValuesIndices|ScanResult|void) (\w+)\()");
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(SCANGRAD_SOURCE_DIR "/ops")) {
    if (entry.path().extension() != ".h" || internal.count(entry.path().filename())) continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      std::smatch match;
      if (std::regex_search(line, match, declaration)) names.insert(match[1]);
    }
  }
  return names;
}

}  // namespace

TEST_CASE("every kernel and every public operation has a row in the table of cases") {
  // An operation without a row would have no value check, no gradcheck, nothing.
  std::set<std::string> rows = covered();
  // The optimizers' kernels change lists of tensors in place and are no operations:
  // tests/train/test_optimizer.cpp checks them.
  rows.insert({"adamw_step", "sgd_step", "l2_norm"});
  for (const std::string& kernel : scangrad::kernel_names()) {
    INFO("kernel " << kernel);
    CHECK(rows.count(kernel) == 1);
  }
  REQUIRE(public_operations().count("softplus") == 1);  // the headers were found and read
  for (const std::string& operation : public_operations()) {
    INFO("operation " << operation);
    CHECK(rows.count(operation) == 1);
  }
}

TEST_CASE("each row of the table passes every check that applies to it") {
  const char* wanted = std::getenv("SCANGRAD_OPS");
  const std::string prefix = wanted ? wanted : "";
  std::cout << std::left << std::setw(34) << "comparisons made";
  for (const Check& check : checks) std::cout << std::setw(12) << check.title;
  std::cout << '\n';
  std::set<std::string> seen;
  for (const OpCase& row : all_cases()) {
    if (row.name.compare(0, prefix.size(), prefix) != 0) continue;
    INFO("row " << row.name);
    CHECK(seen.insert(row.name).second);  // a name used twice hides a row
    std::cout << std::setw(34) << row.name;
    for (const Check& check : checks) {
      std::string result = "-";
      if (check.applies(row)) {
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
