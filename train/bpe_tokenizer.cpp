#include <scangrad/core/format.h>
#include <scangrad/train/bpe_tokenizer.h>
#include <scangrad/train/gpt2_words.h>

#include <algorithm>
#include <functional>
#include <queue>

namespace scangrad {
namespace {

std::uint64_t key(std::int32_t left, std::int32_t right) {
  return (static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint32_t>(right);
}

/// Where in a text's tokens a word stood last, and how many it took.
struct Seen {
  std::string_view word = {};
  std::size_t first = 0, count = 0;
};

// Most words of a text come again. A place for each hash, where a later word takes an earlier
// one's: as quick, and as large, for text of words that never come again.
constexpr std::size_t places_for_words = std::size_t{1} << 15;

}  // namespace

/// One word while it is merged: its tokens in a linked list, the merges that are possible in a
/// heap, so that n bytes cost O(n log n) even where all are one word.
class BpeTokenizer::Word {
 public:
  explicit Word(const BpeTokenizer& tokenizer) : tokenizer_(tokenizer) {}

  /// Calls `visit(token)` for the tokens of `bytes`, in order.
  template <class Visit>
  void encode(std::string_view bytes, const Visit& visit) {
    places_.clear();
    for (const char byte : bytes) {
      const auto at = static_cast<std::int64_t>(places_.size());
      places_.push_back(
          {tokenizer_.token_of_byte_[static_cast<unsigned char>(byte)], at - 1, at + 1});
    }
    for (std::int64_t at = 0; at + 1 < size(); ++at) propose(at);
    while (!heap_.empty()) merge_all_of(heap_.top().merge->rank);
    for (std::int64_t at = 0; at < size(); at = place(at).next) visit(place(at).token);
  }

 private:
  struct Place {
    std::int32_t token;
    std::int64_t before, next;  // −1 and size() at the ends
  };
  struct Candidate {
    const Merge* merge;
    std::int64_t at;
    std::int32_t left, right;                       // what stood there when it was proposed
    bool operator<(const Candidate& other) const {  // the heap's top is the largest
      return merge->rank != other.merge->rank ? merge->rank > other.merge->rank : at > other.at;
    }
  };

  std::int64_t size() const { return static_cast<std::int64_t>(places_.size()); }
  Place& place(std::int64_t at) { return places_[static_cast<std::size_t>(at)]; }

  void propose(std::int64_t at) {
    if (at < 0 || place(at).next == size()) return;
    const std::int32_t left = place(at).token, right = place(place(at).next).token;
    const auto found = tokenizer_.merges_.find(key(left, right));
    if (found != tokenizer_.merges_.end()) heap_.push({&found->second, at, left, right});
  }

  /// One merge wherever it applies, from left to right; only then what it makes possible.
  void merge_all_of(std::int32_t rank) {
    merged_.clear();
    while (!heap_.empty() && heap_.top().merge->rank == rank) {
      const Candidate candidate = heap_.top();
      heap_.pop();
      Place& left = place(candidate.at);
      if (left.token != candidate.left || left.next == size()) continue;
      Place& right = place(left.next);
      if (right.token != candidate.right) continue;
      left.token = candidate.merge->token;
      left.next = right.next;
      right.token = -1;  // no longer there
      if (left.next < size()) place(left.next).before = candidate.at;
      merged_.push_back(candidate.at);
    }
    for (const std::int64_t at : merged_) {
      propose(place(at).before);
      propose(at);
    }
  }

  const BpeTokenizer& tokenizer_;
  std::vector<Place> places_;
  std::priority_queue<Candidate> heap_;
  std::vector<std::int64_t> merged_;
};

BpeTokenizer::BpeTokenizer(BpeVocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
  const std::vector<std::string>& tokens = vocabulary_.tokens;
  std::unordered_map<std::string_view, std::int32_t> token_of;
  for (const std::string& token : tokens) {
    const auto next = static_cast<std::int32_t>(token_of.size());
    check<ValueError>(!token.empty(), "tokenizer: token {} is empty", next);
    const auto [there, is_new] = token_of.emplace(token, next);
    check<ValueError>(is_new, "tokenizer: tokens {} and {} are the same", there->second, next);
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto found = token_of.find(std::string(1, static_cast<char>(byte)));
    check<ValueError>(found != token_of.end(),
                      "tokenizer: byte {:#04x} is no token, so that not every text can be encoded",
                      byte);
    token_of_byte_[byte] = found->second;
  }
  add_merges(token_of);
  keep();
  const auto mark = token_of.find(end_of_text_mark);
  if (mark != token_of.end()) mark_ = mark->second;
}

const std::string& BpeTokenizer::bytes_of(std::int32_t token) const {
  return vocabulary_.tokens[static_cast<std::size_t>(token)];
}

/// A merge makes a longer token of two shorter ones, so that merges cannot go in circles.
void BpeTokenizer::add_merges(const std::unordered_map<std::string_view, std::int32_t>& token_of) {
  const auto count = static_cast<std::int64_t>(vocabulary_.tokens.size());
  for (const auto& [left, right] : vocabulary_.merges) {
    const auto rank = static_cast<std::int32_t>(merges_.size());
    for (const std::int32_t token : {left, right}) {
      check<ValueError>(token >= 0 && token < count,
                        "tokenizer: merge {} is of token {}, but there are only {}", rank, token,
                        count);
    }
    const std::string bytes = bytes_of(left) + bytes_of(right);
    const auto found = token_of.find(bytes);
    check<ValueError>(found != token_of.end(),
                      "tokenizer: merge {}, of '{}' and '{}', makes what is no token", rank,
                      bytes_of(left), bytes_of(right));
    const bool is_new = merges_.emplace(key(left, right), Merge{rank, found->second}).second;
    check<ValueError>(is_new, "tokenizer: merge {}, of '{}' and '{}', is there twice", rank,
                      bytes_of(left), bytes_of(right));
    parts_of_.emplace(found->second, std::pair(left, right));
  }
}

void BpeTokenizer::keep() {
  const std::size_t count = vocabulary_.tokens.size();
  const std::vector<std::int32_t>& kept = vocabulary_.kept;
  number_of_.assign(count, -1);
  if (kept.empty()) {
    for (std::size_t token = 0; token < count; ++token) {
      number_of_[token] = static_cast<std::int32_t>(token);
    }
    return;
  }
  for (std::size_t number = 0; number < kept.size(); ++number) {
    const std::int32_t token = kept[number];
    check<ValueError>(token >= 0 && static_cast<std::size_t>(token) < count,
                      "tokenizer: token {} is to be kept, but there are only {}", token, count);
    std::int32_t& place = number_of_[static_cast<std::size_t>(token)];
    check<ValueError>(place < 0, "tokenizer: token {} is to be kept twice", token);
    place = static_cast<std::int32_t>(number);
  }
}

std::int64_t BpeTokenizer::vocab_size() const {
  const std::vector<std::int32_t>& kept = vocabulary_.kept;
  return static_cast<std::int64_t>(kept.empty() ? vocabulary_.tokens.size() : kept.size());
}

std::optional<std::int32_t> BpeTokenizer::end_of_text() const {
  if (!mark_) return {};
  const std::int32_t number = number_of_[static_cast<std::size_t>(*mark_)];
  return number < 0 ? std::nullopt : std::optional(number);
}

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> tokens;
  tokens.reserve(text.size() / 4);
  std::size_t begin = 0;
  std::vector<std::int32_t> parts;  // still to be put, the next one last
  const auto put = [&](std::int32_t token) {
    for (parts.assign(1, token); !parts.empty();) {
      const std::int32_t part = parts.back();
      parts.pop_back();
      if (const std::int32_t number = number_of_[static_cast<std::size_t>(part)]; number >= 0) {
        tokens.push_back(number);
        continue;
      }
      const auto whole = parts_of_.find(part);
      check<ValueError>(
          whole != parts_of_.end(),
          "text: the token '{}' at byte {} or soon after is not among the {} that the "
          "model knows",
          bytes_of(part), begin, vocab_size());
      parts.insert(parts.end(), {whole->second.second, whole->second.first});
    }
  };
  std::vector<Seen> words(places_for_words);
  Word word(*this);
  while (true) {
    const std::size_t document_end =
        mark_ ? std::min(text.find(end_of_text_mark, begin), text.size()) : text.size();
    const std::string_view document = text.substr(0, document_end);
    while (begin < document_end) {
      const std::size_t end = gpt2_word_end(document, begin);
      const std::string_view bytes = text.substr(begin, end - begin);
      const std::size_t before = tokens.size();
      Seen& seen = words[std::hash<std::string_view>()(bytes) % places_for_words];
      if (seen.word == bytes) {
        for (std::size_t i = 0; i < seen.count; ++i) tokens.push_back(tokens[seen.first + i]);
      } else {
        word.encode(bytes, put);
        seen = {bytes, before, tokens.size() - before};
      }
      begin = end;
    }
    if (begin == text.size()) return tokens;
    put(*mark_);
    begin += end_of_text_mark.size();
  }
}

std::string BpeTokenizer::decode(const std::vector<std::int64_t>& tokens) const {
  const std::vector<std::int32_t>& kept = vocabulary_.kept;
  std::string text;
  for (const std::int64_t number : tokens) {
    check_token(number);
    text += bytes_of(kept.empty() ? static_cast<std::int32_t>(number)
                                  : kept[static_cast<std::size_t>(number)]);
  }
  return text;
}

}  // namespace scangrad
