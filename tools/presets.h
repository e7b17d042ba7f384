#pragma once
#include <scangrad/train/config.h>

#include <CLI/CLI.hpp>

#include <string>
#include <utility>
#include <vector>

namespace scangrad::tools {

/// A key of the configuration, and the values that it takes in one run after another.
struct GridAxis {
  std::string key;
  std::vector<std::string> values = {};  ///< as `set` reads them
};

/// Configurations that come with the program, in tools/presets/*.json, are of three kinds: one run
/// (a RunConfig); a sweep: a `base` RunConfig and a `grid`, for each key the list of its values; or
/// a comparison: a title, a `base` RunConfig and, for each model, its name, what it changes and
/// with which seeds it is trained.
struct Comparison {
  struct Model {
    std::string name;
    RunConfig config;
    std::vector<std::uint64_t> seeds = {};  ///< a run each; none: one run, with `config.seed`
  };
  std::string title;
  std::vector<Model> models;
  std::vector<GridAxis> grid = {};  ///< of a sweep, whose base is the only model
};

/// Options that decide a RunConfig; flags override the preset, the file or the configuration of the
/// run to begin with. What is wrong with them is wrong usage, a CLI::ValidationError: an unknown
/// preset (listing those that there are), unknown keys, impossible values.
struct ConfigOptions {
  std::string preset, file, from;
  std::string data, device, precision;
  std::int64_t steps = 0, seed = -1;
  std::vector<std::string> assignments;
  std::vector<std::uint64_t> seeds;  ///< of commands that train a model several times

  void add_to(CLI::App& command);
  /// `--seeds`, which excludes `--seed`; after `add_to`.
  void add_seeds_to(CLI::App& command);
  /// The configuration of one run, checked.
  RunConfig run() const;
  /// The configurations of a comparison, checked. A run's preset is a comparison of one.
  Comparison comparison() const;
  /// The base of a sweep, which need not be possible without the settings that are to come, and its
  /// grid, which a run's preset has not.
  std::pair<RunConfig, std::vector<GridAxis>> sweep() const;

  /// Whether anything but `steps` is given.
  bool decides_more_than_steps() const;
  /// `runs/NAME` after the preset, file or run or, where that exists, the first free `runs/NAME-2`,
  /// …
  std::string unused_folder() const;

 private:
  Comparison read() const;
  /// What `read` gives, possible as it is if that is asked for; both as ValidationErrors.
  Comparison checked(bool possible) const;
  /// The only model of what is no comparison, and its grid.
  std::pair<RunConfig, std::vector<GridAxis>> single(const Comparison& all) const;
  std::string name() const;  ///< of the preset, file or run
  void override(RunConfig& config) const;
  bool decides_seed() const;  ///< one for all, whatever seeds a comparison names
};

}  // namespace scangrad::tools
