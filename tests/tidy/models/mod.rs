//! docs/models.md: architectures, golden models and types with the tests that prove them, from the code's own registries.

mod features;
mod goldens;

use cuda::repack::PlaneFormat;
use goldens::Golden;
use quant::Format;

use super::{read, report, root};

const DOCUMENT: &str = "docs/models.md";
/// Names of architectures whose files are those of another.
const ALIASES: &[(&str, &str)] = &[("mistral", "llama")];
/// Tests that prove types of weights: the file, the test, and what it says.
const TYPE_TESTS: &[(&str, &str, &str)] = &[
    (
        "crates/quant/tests/golden.rs",
        "blocks_decode_bit_for_bit_on_every_instruction_set",
        "CPU: blocks of every type decode to the bits that other engines decode them to",
    ),
    (
        "crates/quant/tests/golden.rs",
        "dot_products_are_near_those_of_f64",
        "CPU: products are within 1e-5 of the sum of their terms' sizes of f64's, with int8 activations half a step of each besides",
    ),
    (
        "crates/quant/tests/encode.rs",
        "errors_are_as_small_as_those_of_other_engines",
        "encoding loses no more than other engines' does",
    ),
    (
        "crates/cuda/tests/decode.rs",
        "what_kernels_read_is_what_the_file_says",
        "GPU: what kernels read of every type is what the CPU decodes",
    ),
    (
        "crates/cuda/tests/matmul.rs",
        "products_of_every_format_and_number_of_tokens",
        "GPU: products of every type with 1 to many tokens against the CPU's",
    ),
    ("crates/cuda/tests/moe.rs", "pairs_are_multiplied_by_their_experts", "GPU: products of experts"),
];

#[test]
fn the_document_of_models_is_that_of_the_code() {
    let Some(goldens) = goldens::all() else { return };
    let document = document(&goldens);
    if std::env::var_os("LLCUDA_WRITE_DOCS").is_some_and(|v| v == "1") {
        std::fs::write(root().join(DOCUMENT), &document).expect("the document is writable");
    }
    let found = std::fs::read_to_string(root().join(DOCUMENT)).unwrap_or_default();
    let differing = document.lines().zip(found.lines()).find(|(expected, found)| expected != found);
    assert!(
        found == document,
        "{DOCUMENT} is out of date; write it with LLCUDA_WRITE_DOCS=1. The first line that differs: {differing:?}"
    );
}

#[test]
fn every_architecture_has_a_golden_test() {
    let Some(goldens) = goldens::all() else { return };
    let proven = |arch: &str| goldens.iter().any(|golden| golden.spec.arch == arch && golden.is_tested_on("cpu"));
    let of = |arch| ALIASES.iter().find(|(alias, _)| *alias == arch).map_or(arch, |(_, arch)| *arch);
    let unproven = model::supported_architectures().filter(|arch| !proven(of(arch)));
    report("Make a golden of these architectures (tests/golden):", &unproven.map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn the_document_names_tests_that_exist() {
    let lacks = |(file, test, _): &&(&str, &str, &str)| !read(file.as_ref()).contains(&format!("fn {test}("));
    let missing: Vec<_> = TYPE_TESTS.iter().filter(lacks).map(|(file, test, _)| format!("{file}: {test}")).collect();
    report("tests/tidy/models names tests that are not there:", &missing);
    let ways = [("cpu", "crates/cpu/tests/golden"), ("cuda", "crates/cuda/tests")];
    let sources = ways.map(|(executor, folder)| {
        let files = super::tracked_files().into_iter().filter(|file| file.starts_with(folder));
        (executor, files.map(|file| read(&file)).collect::<String>())
    });
    let unused = goldens::bounds().into_iter().filter(|[kind, executor, way, ..]| {
        kind == "bound" && !sources.iter().any(|(e, source)| e == executor && source.contains(&format!("\"{way}\"")))
    });
    report(
        "No test uses these bounds:",
        &unused.map(|[_, executor, way, ..]| format!("{executor} {way}")).collect::<Vec<_>>(),
    );
}

fn document(goldens: &[Golden]) -> String {
    let archs: String = model::supported_architectures().map(|arch| architecture(arch, goldens)).collect();
    let rows: String = goldens.iter().map(Golden::row).collect();
    let results: String = goldens.iter().map(Golden::results).collect();
    let bounds = goldens::bounds().into_iter().filter(|[kind, ..]| kind == "bound");
    let bounds: String =
        bounds.map(|[_, executor, way, value, why]| format!("| {executor} | {way} | {value} | {why} |\n")).collect();
    let types: String = Format::all().iter().map(weight_type).collect();
    let tests: String = TYPE_TESTS.iter().map(|(file, test, what)| format!("* {what}: `{test}` ({file})\n")).collect();
    format!(
        "# Models and what proves them

Made of the code's registries, the golden models and their tests: `LLCUDA_WRITE_DOCS=1 cargo test --test main models`
writes this page, and the tests fail where it is out of date.

A golden model is a tiny one with random weights, and what `transformers` computes for it in single precision: logits at
every position of three prompts, and greedy continuations of 32 tokens ([tests/golden](../tests/golden/README.md)).

## Architectures
What `general.architecture` may be; another name is refused, and the nearest of these is told.

| architecture | CPU | GPU | golden models |
| --- | --- | --- | --- |
{archs}
## What the golden models have
Kinds of norms and where they stand; how positions come in: which pairs rotate, how they are scaled for contexts beyond the
original; what attention and feed-forward blocks have beyond the plain.

| model | norms | positions | attention | feed-forward | types |
| --- | --- | --- | --- | --- | --- |
{rows}
## How far from the golden files they are
The largest difference of a logit (of encoders: of an element of the hidden states) that was last recorded
(`tests/golden/record.py`), for each way to compute that the tests go through.

| model | tests | worst on the CPU | worst on the GPU |
| --- | --- | --- | --- |
{results}
| executor | way | bound | why |
| --- | --- | --- | --- |
{bounds}
## Types of weights
{tests}
How types lie on the GPU, and how fast they are: [types.md](types.md); mixes and their losses: [quantize.md](quantize.md).

| type | bits a weight | CPU | GPU |
| --- | ---: | --- | --- |
{types}
## Tokenizers
Kinds, pre-tokenizers and the tests of each: [tokenizers.md](tokenizers.md), which is checked against the code as this page is.
"
    )
}

fn architecture(arch: &str, goldens: &[Golden]) -> String {
    if let Some((_, other)) = ALIASES.iter().find(|(alias, _)| *alias == arch) {
        return format!("| `{arch}` | as `{other}` | as `{other}` | |\n");
    }
    let goldens: Vec<_> = goldens.iter().filter(|golden| golden.spec.arch == arch).collect();
    let missing = goldens.iter().filter_map(|golden| cuda::missing_feature(&golden.spec)).map(str::to_owned);
    let missing = features::each(missing);
    let gpu = if missing.is_empty() { "yes".to_owned() } else { format!("but for {missing}") };
    let names: Vec<_> = goldens.iter().map(|golden| format!("`{}`", golden.model)).collect();
    format!("| `{arch}` | yes | {gpu} | {} |\n", names.join(", "))
}

fn weight_type(format: &Format) -> String {
    let ggml_type = format.ggml_type;
    let bits = 8.0 * ggml_type.block_bytes() as f64 / ggml_type.block_len() as f64;
    let gpu = match PlaneFormat::of(ggml_type) {
        None => "no".to_owned(),
        Some(held) if held.ggml_type() == ggml_type => "yes".to_owned(),
        Some(held) => format!("as {}", held.ggml_type()),
    };
    format!("| {ggml_type} | {bits} | yes | {gpu} |\n")
}

impl Golden {
    fn is_tested_on(&self, executor: &str) -> bool {
        self.tests.iter().any(|(e, _)| *e == executor)
    }

    /// A line of the table of features.
    fn row(&self) -> String {
        let Self { model, spec, types, .. } = self;
        let factors = if self.has_rope_factors { "; the file's factors" } else { "" };
        let positions = features::positions(spec) + factors;
        let columns = [features::norms(spec), positions, features::attention(spec)];
        format!("| `{model}` | {} | {} | {types} |\n", columns.join(" | "), features::feed_forward(spec))
    }

    /// A line of the table of results.
    fn results(&self) -> String {
        let tests: Vec<_> = self.tests.iter().map(|(executor, test)| format!("{executor} `{test}`")).collect();
        let worst = |executor: &str| {
            let lines = goldens::bounds().into_iter();
            let of = lines.filter(|[kind, e, _, model, _]| kind == "worst" && e == executor && *model == self.model);
            let words = of.map(|[_, _, way, _, value]| format!("{way}: {value}"));
            words.collect::<Vec<_>>().join("; ")
        };
        format!("| `{}` | {} | {} | {} |\n", self.model, tests.join(", "), worst("cpu"), worst("cuda"))
    }
}
