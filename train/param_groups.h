#pragma once
#include <scangrad/train/optimizer.h>

#include <vector>

namespace scangrad {

/// The order of members is frozen.
struct GroupOptions {
  std::int64_t context = 0;   ///< T, the sequence length in training; needed where there is a W_in
  double weight_decay = 0.1;  ///< of matrices and W_in
  double clip = 1.0;          ///< of embeddings, norms and matrices; 0 for no clipping
  double w_in_rate = 1.0;     ///< on top of the own scale of W_in and W_pos
};

/// The groups of a language model, by the parameters' names (those left empty are omitted):
/// `embeddings_and_norms` (also biases: nothing of them decays), `matrices`, and `w_in`, the MRU's
/// input maps, whose elements are summed over a whole sequence: learning rate × (1/d_o)·√(2/T) and
/// clip √(T/2), d_o being the order, read off the shape of the layer's `w_down` (h, d_o, d_c). The
/// map of `MatrixPositions`, whose matrices are multiplied likewise, is in `w_in` too.
std::vector<ParameterGroup> language_model_groups(const NamedTensors& parameters,
                                                  const GroupOptions& options = {});

}  // namespace scangrad
