// A corpus is tokenized once; what is trained on the tokens can be evaluated and sampled as text.
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/tools/program.h>
#include <scangrad/train/bpe_tokenizer.h>
#include <scangrad/train/config.h>
#include <scangrad/train/files.h>
#include <scangrad/train/token_file.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

namespace fs = std::filesystem;
using namespace scangrad;
using tests::Outcome;
using tests::program;

namespace {

/// GPT-2's two files, of all bytes, a few merges and the documents' end.
std::string vocabulary_folder() {
  const fs::path folder = "tokenize_vocabulary";
  BpeVocabulary vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.emplace_back(1, static_cast<char>(byte));
  }
  vocabulary.tokens.insert(vocabulary.tokens.end(), {"<|endoftext|>", "th", " th", "at", " be"});
  // Its own JSON lists the tokens as GPT-2's files write them.
  nlohmann::json encoder;
  const auto own = nlohmann::json::parse(bpe_vocabulary_to_json(vocabulary));
  for (const auto& token : own["tokens"]) {
    const std::size_t number = encoder.size();
    encoder[token.get<std::string>()] = number;
  }
  fs::create_directories(folder);
  write_file(folder / "encoder.json", encoder.dump());
  write_file(folder / "vocab.bpe", "#version: 0.2\nt h\nĠ th\na t\n");
  return folder.string();
}

std::string tokenize_gpt2(const std::string& out) {
  return "tokenize --tokenizer gpt2 --vocabulary " + vocabulary_folder() + " --out " + out + " ";
}

}  // namespace

TEST_CASE("Texts become one file of tokens, a document's end between them") {
  write_file("one.txt", "that is the question");
  write_file("two.txt", "to be<|endoftext|>or not<|endoftext|>");
  write_file("three.txt", "to be");
  const Outcome outcome = program(tokenize_gpt2("three.bin") + "one.txt two.txt three.txt");
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.out, ContainsSubstring("of a vocabulary of 261, 4 documents"));
  const TokenFile file = map_token_file("three.bin");
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 0; i < file.tokens.size(); ++i) tokens.push_back(file.tokens[i]);
  CHECK(file.tokenizer->decode(tokens) ==
        "that is the question<|endoftext|>to be<|endoftext|>or not<|endoftext|>to be");
  CHECK(tokens[0] == 257);  // th
  CHECK_THAT(program("info three.bin").out, ContainsSubstring("with their tokenizer"));
}

TEST_CASE("Characters need no vocabulary; the file is named after the first text") {
  write_file("letters.txt", "abcab");
  CHECK(program("tokenize --tokenizer char letters.txt").status == 0);
  CHECK(map_token_file("letters.bin").tokens.vocab_size() == 3);
  CHECK(program("tokenize --tokenizer char letters.txt letters.txt").status == 0);
  CHECK(map_token_file("letters.bin").tokens.vocab_size() == 4);  // with the documents' end
}

TEST_CASE("With only the tokens that occur and single bytes, any other text can be encoded too") {
  const std::string text = tests::text_file();
  REQUIRE(program(tokenize_gpt2("kept.bin") + "--keep-used " + text).status == 0);
  const TokenFile kept = map_token_file("kept.bin");
  CHECK(kept.tokens.vocab_size() == 256 + 3);  // of 261: neither " be" nor the documents' end
  write_file("more.txt", "that is to be or not\n");
  CHECK(program("tokenize --tokenizer kept.bin --out more.bin more.txt").status == 0);
  CHECK(map_token_file("more.bin").tokenizer->to_json() == kept.tokenizer->to_json());
  write_file("strange.txt", "that zone");
  CHECK(program("tokenize --tokenizer kept.bin strange.txt").status == 0);
  const TokenFile strange = map_token_file("strange.bin");
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 0; i < strange.tokens.size(); ++i) tokens.push_back(strange.tokens[i]);
  CHECK(kept.tokenizer->decode(tokens) == "that zone");
}

TEST_CASE("A run on a token file keeps its tokenizer: sampled, evaluated and resumed as text") {
  const std::string text = tests::text_file(), run = "tokenize_run";
  fs::remove_all(run);
  REQUIRE(program(tokenize_gpt2("corpus.bin") + "--keep-used " + text).status == 0);
  const Outcome trained =
      program("train " + tests::tiny_run() + " --set data.file=corpus.bin --out " + run);
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  CHECK(read_file(fs::path(run) / "tokenizer.json") ==
        map_token_file("corpus.bin").tokenizer->to_json() + "\n");
  const Outcome sampled = program("sample --run " + run + " --prompt 'that is' --tokens 20");
  CHECK(sampled.status == 0);
  CHECK(sampled.out.substr(0, 7) == "that is");
  const Outcome on_tokens = program("eval --run " + run + " --data corpus.bin");
  CHECK(on_tokens.status == 0);
  CHECK(program("eval --run " + run + " --data " + text).out == on_tokens.out);
  CHECK(program("train --resume --steps 25 --out " + run).status == 0);

  REQUIRE(program("tokenize --tokenizer char --out letters.bin " + text).status == 0);
  const Outcome other = program("eval --run " + run + " --data letters.bin");
  CHECK(other.status == 1);
  CHECK_THAT(other.err, ContainsSubstring("made by another tokenizer than the model's"));
}

TEST_CASE("Documents are kept apart where that is asked for and there are any") {
  std::string stories;
  for (int i = 0; i < 300; ++i)
    stories += i % 2 == 0 ? "to be<|endoftext|>" : "or not<|endoftext|>";
  write_file("stories.txt", stories);
  const std::string run = "tokenize_documents";
  fs::remove_all(run);
  const std::string apart = " --set data.separate_documents=true --out " + run;
  REQUIRE(program(tokenize_gpt2("stories.bin") + "--keep-used stories.txt").status == 0);
  const Outcome trained =
      program("train " + tests::tiny_run(10) + " --set data.file=stories.bin" + apart);
  INFO(trained.err);
  CHECK(trained.status == 0);
  CHECK(load_run_config(fs::path(run) / "config.json").model.document_start ==
        map_token_file("stories.bin").tokenizer->end_of_text());
  CHECK(program("sample --run " + run + " --prompt '<|endoftext|>' --tokens 20").status == 0);

  fs::remove_all(run);
  const Outcome none = program("train " + tests::tiny_run(10) + apart);
  CHECK(none.status == 1);
  CHECK_THAT(none.err, ContainsSubstring("there is no <|endoftext|> in"));
  CHECK_FALSE(fs::exists(run));
}

TEST_CASE("What cannot be tokenized is refused in a sentence, and no file is left") {
  write_file("some.txt", "abc");
  write_file("nothing.txt", "");
  write_token_file("plain.bin", {0, 1}, 2);
  struct Mistake {
    std::string arguments;
    int status;
    const char* sentence;
  };
  for (const Mistake& mistake : std::vector<Mistake>{
           {"--tokenizer char", 2, "FILE"},
           {"some.txt", 2, "--tokenizer"},
           {"--tokenizer gpt2 some.txt", 2, "--vocabulary"},
           {"--tokenizer char --vocabulary . some.txt", 2, "--vocabulary"},
           {"--tokenizer char --keep-used some.txt", 2, "--keep-used"},
           {"--tokenizer gpt2 --vocabulary nowhere some.txt", 1, "nowhere"},
           {"--tokenizer char nothing.txt", 1, "nothing.txt: it is empty"},
           {"--tokenizer char none.txt", 1, "none.txt: cannot be opened"},
           {"--tokenizer plain.bin some.txt", 1, "plain.bin: it holds no tokenizer"},
           {"--tokenizer some.txt some.txt", 1, "some.txt: not a tokenizer"},
       }) {
    INFO(mistake.arguments);
    const Outcome outcome = program("tokenize --out refused.bin " + mistake.arguments);
    CHECK(outcome.status == mistake.status);
    CHECK_THAT(outcome.err, ContainsSubstring(mistake.sentence));
    CHECK_FALSE(fs::exists("refused.bin"));
  }
}
