//! Whole files: what is written, what is refused, and that nothing is left where something failed.

use std::path::Path;

use gguf::{Array, Builder, GgmlType, Gguf, Metadata, NewTensor, Split, Value, ValueType, Writer, WriterOptions};
use quant::{Format, Isa};
use quantize::{FileType, Imatrix, Options, Plan, QuantizeError, Report, RunOptions};

/// Numbers around zero that depend on `seed` alone.
fn weights(seed: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
}

/// A model of one layer with two experts of 256 columns and 24 rows each.
fn model(experts: &[f32]) -> Gguf {
    let builder = Builder::new()
        .value("general.architecture", Value::String("llama".into()))
        .value("general.name", Value::String("small".into()))
        .value("llama.block_count", Value::Uint(1))
        .value("llama.attention.head_count", Value::Uint(1))
        .tensor_f32("token_embd.weight", &[256, 16], &weights(1, 4096))
        .tensor_f32("blk.0.attn_norm.weight", &[256], &weights(2, 256))
        .tensor_f32("blk.0.attn_v.weight", &[256, 8], &weights(3, 2048))
        .tensor_f32("blk.0.ffn_down_exps.weight", &[256, 24, 2], experts);
    Gguf::from_bytes(builder.build()).expect("a sound GGUF")
}

fn sound_model() -> Gguf {
    model(&weights(4, 2 * 24 * 256))
}

fn run_options() -> RunOptions {
    RunOptions { overwrite: false, num_threads: 2, imatrix_name: None }
}

fn quantize(gguf: &Gguf, options: &Options, output: &Path) -> Result<Report, QuantizeError> {
    Plan::new(gguf, options)?.run(gguf, output, &run_options(), |_| {})
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|e| e.expect("an entry").file_name().display().to_string()).collect()
}

/// The weights of a tensor.
fn values(gguf: &Gguf, name: &str) -> Vec<f32> {
    let tensor = gguf.tensor(name).expect("the tensor");
    let mut values = vec![0.0; tensor.num_weights()];
    Format::of(tensor.ggml_type).expect("a format").decode_row(Isa::detect(), gguf.data(tensor), &mut values);
    values
}

#[test]
fn a_file_has_the_types_of_its_mix_and_all_metadata() {
    let folder = tempfile::tempdir().expect("a folder");
    let (gguf, output) = (sound_model(), folder.path().join("out.gguf"));
    let report = quantize(&gguf, &Options::new(FileType::Q4_K_M), &output).expect("a file");
    assert_eq!((report.paths, files(folder.path())), (vec![output.clone()], vec!["out.gguf".to_owned()]));
    let found = Gguf::open(&output).expect("a sound GGUF");
    let types: Vec<_> = found.tensors().iter().map(|t| t.ggml_type).collect();
    assert_eq!(types, [GgmlType::Q6_K, GgmlType::F32, GgmlType::Q6_K, GgmlType::Q6_K]);
    assert_eq!(found.metadata().uint("general.file_type").ok().flatten(), Some(15));
    assert_eq!(found.metadata().str("general.name").ok().flatten(), Some("small"));
    assert_eq!(values(&found, "blk.0.attn_norm.weight"), weights(2, 256));
    for (t, loss) in found.tensors().iter().zip(&report.losses) {
        let pairs = values(&gguf, &t.name).into_iter().zip(values(&found, &t.name));
        let squares: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let rmse = (squares / t.num_weights() as f64).sqrt();
        assert!((rmse - loss.rmse()).abs() <= 1e-9, "{}: {rmse}, reported {}", t.name, loss.rmse());
        assert!(loss.relative() < 0.03, "{}: {}", t.name, loss.relative());
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let gguf = model(&weights(5, 2 * 24 * 256));
    let plan = Plan::new(&gguf, &Options::new(FileType::IQ3_XXS)).expect("a plan");
    let bytes = [1, 2, 5].map(|num_threads| {
        let output = folder.path().join(format!("{num_threads}.gguf"));
        plan.run(&gguf, &output, &RunOptions { num_threads, ..run_options() }, |_| {}).expect("a file");
        std::fs::read(output).expect("a readable file")
    });
    assert!(bytes[0] == bytes[1] && bytes[0] == bytes[2]);
}

#[test]
fn progress_ends_at_the_size_of_the_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let gguf = sound_model();
    let plan = Plan::new(&gguf, &Options::new(FileType::Q8_0)).expect("a plan");
    let mut done = 0;
    plan.run(&gguf, &folder.path().join("a"), &run_options(), |n| done += n).expect("a file");
    assert_eq!(done, plan.num_bytes().0);
}

#[test]
fn every_expert_has_its_own_importance() {
    let folder = tempfile::tempdir().expect("a folder");
    // Equal experts, but the first is all about even columns and the second about odd ones.
    let expert = weights(6, 24 * 256);
    let gguf = model(&[&expert[..], &expert[..]].concat());
    let mut importance = Imatrix::default();
    let matters = |column: usize, parity: usize| if column % 2 == parity { 100.0 } else { 1.0 };
    let of_both = (0..2).flat_map(|parity| (0..256).map(move |column| matters(column, parity)));
    importance.insert("blk.0.ffn_down_exps.weight", of_both.collect());
    let options = Options { imatrix: Some(importance), pure: true, ..Options::new(FileType::Q2_K) };
    let output = folder.path().join("out.gguf");
    quantize(&gguf, &options, &output).expect("a file");
    let found = values(&Gguf::open(&output).expect("a sound GGUF"), "blk.0.ffn_down_exps.weight");
    for (parity, found) in found.chunks(24 * 256).enumerate() {
        let error = |of: usize| -> f32 {
            let columns = found.iter().zip(&expert).enumerate().filter(|(i, _)| i % 2 == of);
            columns.map(|(_, (a, b))| (a - b).powi(2)).sum()
        };
        assert!(error(parity) < 0.5 * error(1 - parity), "expert {parity}: {} {}", error(parity), error(1 - parity));
    }
}

#[test]
fn options_choose_single_types() {
    let gguf = sound_model();
    let types = |options: Options| -> Vec<&'static str> {
        Plan::new(&gguf, &options).expect("a plan").tensors.iter().map(|t| t.to.name()).collect()
    };
    let base = || Options::new(FileType::Q4_K_M);
    assert_eq!(types(Options { pure: true, ..base() }), ["Q4_K", "F32", "Q4_K", "Q4_K"]);
    let overrides = vec!["ffn_.*exps=q8_0".parse().expect("an override"), "ffn=Q5_0".parse().expect("an override")];
    assert_eq!(types(Options { overrides, ..base() }), ["Q6_K", "F32", "Q6_K", "Q8_0"]);
    assert_eq!(types(Options { output_type: Some(GgmlType::F16), ..base() })[0], "F16");
    assert_eq!(types(Options { token_embedding_type: Some(GgmlType::BF16), ..base() })[0], "BF16");
    assert_eq!(types(Options { file_type: None, ..base() }), ["F32"; 4]);
    for (text, reason) in [("ffn", "no `=`"), ("(=Q4_K", "unclosed group"), ("ffn=Q9", "`Q9` is no tensor type")] {
        let error = text.parse::<quantize::Override>().expect_err("no override").to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("out.gguf");
    let check = |gguf: &Gguf, options: &Options, expected: &str| {
        let error = quantize(gguf, options, &output).expect_err("refused").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(files(folder.path()).is_empty(), "{expected}: {:?}", files(folder.path()));
    };
    let with = |i: usize, value: f32| {
        let mut experts = weights(4, 2 * 24 * 256);
        experts[i] = value;
        model(&experts)
    };
    let q4_k = Options::new(FileType::Q4_K_S);
    check(&with(30 * 256 + 7, f32::NAN), &q4_k, "`blk.0.ffn_down_exps.weight`: weight 7 of row 30 is NaN");
    check(&with(1, f32::INFINITY), &q4_k, "weight 1 of row 0 is inf");
    check(&with(1, 1e9), &Options::new(FileType::F16), "row 0 has values up to 1e9, more than F16 can hold");
    let imatrix = |tensor: &str, len: usize| {
        let mut imatrix = Imatrix::default();
        imatrix.insert(tensor, vec![1.0; len]);
        Options { imatrix: Some(imatrix), ..q4_k.clone() }
    };
    check(&sound_model(), &imatrix("blk.0.attn_v.weight", 128), "has 128 columns, the model's tensor 256");
    check(&sound_model(), &imatrix("blk.7.attn_v.weight", 256), "none of its 1 entries names a tensor");
}

#[test]
fn what_exists_is_replaced_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (gguf, output) = (sound_model(), folder.path().join("out.gguf"));
    std::fs::write(&output, "mine").expect("a writable folder");
    let error = quantize(&gguf, &Options::new(FileType::Q8_0), &output).expect_err("refused").to_string();
    assert!(error.contains("exists"), "{error}");
    assert_eq!(std::fs::read(&output).expect("the file"), b"mine");
    // What a killed run left is taken over.
    std::fs::write(folder.path().join("out.gguf.part"), vec![7; 1 << 20]).expect("a writable folder");
    let plan = Plan::new(&gguf, &Options::new(FileType::Q8_0)).expect("a plan");
    plan.run(&gguf, &output, &RunOptions { overwrite: true, ..run_options() }, |_| {}).expect("a file");
    assert_eq!(files(folder.path()), ["out.gguf"]);
    let once = Gguf::open(&output).expect("a sound GGUF");
    let again = folder.path().join("again.gguf");
    let options = Options::new(FileType::Q4_0);
    let error = quantize(&once, &options, &again).expect_err("quantized already").to_string();
    assert!(error.contains("`token_embd.weight` is Q8_0 already") && error.contains("--allow-requantize"), "{error}");
    quantize(&once, &Options { allow_requantize: true, ..options }, &again).expect("a file");
}

/// Four layers; each one's matrix of values is told by its first weight. Two files: the first has the layers 0 and 1.
fn split_model(folder: &Path) -> Gguf {
    let mut metadata = Metadata::default();
    metadata.insert("general.architecture", Value::String("llama".into()));
    metadata.insert_as("llama.block_count", Value::Uint(4), ValueType::U32);
    metadata.insert("llama.attention.head_count", Value::Uint(4));
    metadata.insert("llama.attention.head_count_kv", Value::Array(Array::Uint(vec![1, 2, 3, 4])));
    metadata.insert("llama.rope.dimension_sections", Value::Array(Array::Uint(vec![1, 2])));
    let tensor = |name: String, shape: &[usize]| NewTensor { name, shape: shape.to_vec(), ggml_type: GgmlType::F32 };
    let mut tensors = vec![tensor("token_embd.weight".into(), &[256, 2])];
    tensors.extend((0..4).map(|i| tensor(format!("blk.{i}.attn_v.weight"), &[256, 1])));
    let options = WriterOptions { split: Split::Tensors(vec![3, 2]), ..WriterOptions::default() };
    let mut writer = Writer::create(&folder.join("m.gguf"), &metadata, tensors.clone(), &options).expect("a file");
    for (i, NewTensor { name, shape, .. }) in tensors.iter().enumerate() {
        let values = (0..shape.iter().product()).map(|column| if column == 0 { i as f32 } else { 0.5 });
        writer.write_tensor(name, &values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()).expect("room");
    }
    let paths = writer.finish().expect("two files");
    assert_eq!(paths.len(), 2);
    Gguf::open(&paths[0]).expect("a sound split")
}

#[test]
fn a_split_stays_one_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let gguf = split_model(folder.path());
    let options = Options { keep_split: true, ..Options::new(FileType::Q8_0) };
    assert_eq!(Plan::new(&gguf, &options).expect("a plan").num_files(), 2);
    let report = quantize(&gguf, &options, &folder.path().join("out.gguf")).expect("files");
    let names: Vec<_> =
        report.paths.iter().map(|path| path.file_name().expect("a name").display().to_string()).collect();
    assert_eq!(names, ["out-00001-of-00002.gguf", "out-00002-of-00002.gguf"]);
    let found = Gguf::open(&report.paths[0]).expect("a sound split");
    let places: Vec<_> = found.tensors().iter().map(|t| (t.name.as_str(), found.file_of(t))).collect();
    let expected: Vec<_> = gguf.tensors().iter().map(|t| (t.name.as_str(), gguf.file_of(t))).collect();
    assert_eq!(places, expected);
    let report = quantize(&gguf, &Options::new(FileType::Q8_0), &folder.path().join("one.gguf")).expect("a file");
    assert_eq!(Gguf::open(&report.paths[0]).expect("a sound file").num_files(), 1);
}

#[test]
fn layers_are_left_out_and_the_rest_numbered_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let gguf = split_model(folder.path());
    let mut imatrix = Imatrix::default();
    imatrix.insert("blk.3.attn_v.weight", vec![1.0; 256]);
    let prune = |layers: &[usize]| Options {
        prune: layers.iter().copied().collect(),
        imatrix: Some(imatrix.clone()),
        keep_split: true,
        ..Options::new(FileType::F16)
    };
    let report = quantize(&gguf, &prune(&[0, 2]), &folder.path().join("out.gguf")).expect("files");
    let found = Gguf::open(&report.paths[0]).expect("a sound split");
    let firsts: Vec<_> = found.tensors().iter().map(|t| (t.name.as_str(), values(&found, &t.name)[0])).collect();
    assert_eq!(firsts, [("token_embd.weight", 0.0), ("blk.0.attn_v.weight", 2.0), ("blk.1.attn_v.weight", 4.0)]);
    let uints = |key: &str| found.metadata().uints(key).ok().flatten();
    assert_eq!(uints("llama.block_count"), Some(vec![2]));
    assert_eq!(uints("llama.attention.head_count_kv"), Some(vec![2, 4]));
    assert_eq!(uints("llama.rope.dimension_sections"), Some(vec![1, 2]), "no list of layers");
    // The importance of layer 3 is that of layer 1 now; layer 1 had none.
    let plan = Plan::new(&gguf, &Options { file_type: Some(FileType::Q4_0), ..prune(&[0, 2]) }).expect("a plan");
    let unknown: Vec<_> = plan.tensors.iter().filter(|t| t.is_unknown).map(|t| t.name.as_str()).collect();
    assert_eq!(unknown, ["blk.0.attn_v.weight"]);
    // A file without tensors is no file.
    let options = Options { imatrix: None, ..prune(&[2, 3]) };
    assert_eq!(Plan::new(&gguf, &options).expect("a plan").num_files(), 1);
    for (layers, layer) in [(&[4][..], "layer 4 "), (&[0, 1, 2, 3], "layer 0 ")] {
        let error = Plan::new(&gguf, &prune(layers)).map(drop).expect_err("refused").to_string();
        assert!(error.contains(layer) && error.contains("4 layers"), "{error}");
    }
}
