//! Mixes against those of llama-quantize, tensor by tensor, for models of several shapes.

use std::collections::BTreeMap;

use gguf::{Builder, GgmlType, Gguf, Value};
use quantize::{FileType, Imatrix, Options, Plan};

/// What llama-quantize says; see its first line.
const EXPECTED: &str = include_str!("mixes.txt");

struct Shape {
    num_layers: usize,
    num_kv_heads: usize,
    num_heads: usize,
    is_tied: bool,
    num_experts: usize,
}

fn shape(name: &str) -> Shape {
    let shape = |num_layers, num_heads, num_kv_heads, is_tied, num_experts| Shape {
        num_layers,
        num_kv_heads,
        num_heads,
        is_tied,
        num_experts,
    };
    match name {
        "gqa16" => shape(16, 8, 2, false, 0),
        "mha16t" => shape(16, 4, 4, true, 0),
        "moe8" => shape(16, 8, 2, false, 8),
        "moe4" => shape(9, 8, 4, false, 4),
        other => panic!("a model {other}"),
    }
}

fn model(shape: &Shape) -> Gguf {
    const HIDDEN: usize = 256;
    let number = |n: usize| Value::Uint(n as u64);
    let mut builder = Builder::new()
        .value("general.architecture", Value::String("llama".into()))
        .value("llama.block_count", number(shape.num_layers))
        .value("llama.attention.head_count", number(shape.num_heads))
        .value("llama.attention.head_count_kv", number(shape.num_kv_heads));
    if shape.num_experts > 0 {
        builder = builder.value("llama.expert_count", number(shape.num_experts));
    }
    let mut add = |name: &str, dims: &[usize]| {
        let data = vec![0; 2 * dims.iter().product::<usize>()];
        builder = std::mem::take(&mut builder).tensor(name, dims, GgmlType::F16, data);
    };
    add("token_embd.weight", &[HIDDEN, 8]);
    add("output_norm.weight", &[HIDDEN]);
    if !shape.is_tied {
        add("output.weight", &[HIDDEN, 8]);
    }
    for layer in 0..shape.num_layers {
        let mut add = |name: &str, dims: &[usize]| add(&format!("blk.{layer}.{name}.weight"), dims);
        add("attn_norm", &[HIDDEN]);
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            add(name, &[HIDDEN, 8]);
        }
        if shape.num_experts > 0 {
            add("ffn_gate_inp", &[HIDDEN, shape.num_experts]);
        }
        for name in ["ffn_gate", "ffn_up", "ffn_down"] {
            match shape.num_experts {
                0 => add(name, &[HIDDEN, 8]),
                n => add(&format!("{name}_exps"), &[HIDDEN, 8, n]),
            }
        }
    }
    Gguf::from_bytes(builder.build()).expect("a sound GGUF")
}

/// Of each kind of tensor the types by layer, `TYPE*COUNT,...`.
fn shown(plan: &Plan) -> BTreeMap<String, String> {
    let mut by_role: BTreeMap<String, Vec<(&str, usize)>> = BTreeMap::new();
    for t in plan.tensors.iter().filter(|t| t.to != t.source.ggml_type) {
        let name = t.source.name.trim_end_matches(".weight");
        let role = if name.starts_with("blk.") { name.splitn(3, '.').nth(2).expect("a layer") } else { name };
        let runs = by_role.entry(role.to_owned()).or_default();
        match runs.last_mut() {
            Some((last, count)) if *last == t.to.name() => *count += 1,
            _ => runs.push((t.to.name(), 1)),
        }
    }
    let run = |(name, count): &(&str, usize)| if *count > 1 { format!("{name}*{count}") } else { (*name).to_owned() };
    by_role.iter().map(|(role, runs)| (role.clone(), runs.iter().map(run).collect::<Vec<_>>().join(","))).collect()
}

#[test]
fn every_tensor_gets_the_type_that_llama_quantize_gives_it() {
    let mut models = BTreeMap::new();
    let mut num_cases = 0;
    for line in EXPECTED.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a word");
        let (name, imatrix, file_type) = (word(), word(), word());
        let gguf = models.entry(name).or_insert_with(|| model(&shape(name)));
        let mut options = Options::new(file_type.parse::<FileType>().expect("a file type"));
        if imatrix == "imatrix" {
            let mut importance = Imatrix::default();
            importance.insert("blk.0.attn_q.weight", vec![1.0; 256]);
            options.imatrix = Some(importance);
        }
        let expected: BTreeMap<String, String> = words
            .map(|word| word.split_once('=').expect("KIND=TYPES"))
            .map(|(role, types)| (role.to_owned(), types.to_owned()))
            .collect();
        let plan = Plan::new(gguf, &options).expect("a plan");
        assert_eq!(shown(&plan), expected, "{name} {imatrix} {file_type}");
        num_cases += 1;
    }
    assert!(num_cases > 200, "{num_cases} cases");
}
