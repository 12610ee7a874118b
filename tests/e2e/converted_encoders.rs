//! Encoders as Hugging Face's folders, to files whose vectors are golden.

use std::{fs, path::Path};

use convert::safetensors::{Dtype, OutTensor, write};
use gguf::{GgmlType, Gguf};
use serde_json::{Value, json};

use super::{
    embeddings::{ask, assert_near, encoder, floats, golden, golden_floats},
    server::{Server, command},
};

/// Names of tensors in GGUF and in a folder.
type Names = &'static [(&'static str, &'static str)];

const EMBEDDINGS: Names = &[
    ("token_embd.", "embeddings.word_embeddings."),
    ("position_embd.", "embeddings.position_embeddings."),
    ("token_types.", "embeddings.token_type_embeddings."),
];

const BERT: Names = &[
    ("token_embd_norm.", "embeddings.LayerNorm."),
    ("attn_q.", "attention.self.query."),
    ("attn_k.", "attention.self.key."),
    ("attn_v.", "attention.self.value."),
    ("attn_output.", "attention.output.dense."),
    ("attn_output_norm.", "attention.output.LayerNorm."),
    ("ffn_up.", "intermediate.dense."),
    ("ffn_down.", "output.dense."),
    ("layer_output_norm.", "output.LayerNorm."),
];

const NOMIC: Names = &[
    ("token_embd_norm.", "emb_ln."),
    ("attn_qkv.", "attn.Wqkv."),
    ("attn_output.", "attn.out_proj."),
    ("attn_output_norm.", "norm1."),
    ("ffn_up.", "mlp.fc11."),
    ("ffn_gate.", "mlp.fc12."),
    ("ffn_down.", "mlp.fc2."),
    ("layer_output_norm.", "norm2."),
];

/// The folder's name of a tensor.
fn name_in_folder(name: &str, layers: &str, names: Names) -> String {
    let (layer, rest) = match name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
        Some((layer, rest)) => (format!("{layers}.{layer}."), rest),
        None => (String::new(), name),
    };
    let found = EMBEDDINGS.iter().chain(names).find_map(|(ours, theirs)| Some((theirs, rest.strip_prefix(ours)?)));
    let (theirs, suffix) = found.unwrap_or_else(|| panic!("no name for {name}"));
    format!("{layer}{theirs}{suffix}")
}

fn write_tensors(path: &Path, gguf: &Gguf, layers: &str, names: Names) {
    let tensors: Vec<_> = gguf.tensors().iter().collect();
    let out = tensors.iter().map(|tensor| OutTensor {
        name: name_in_folder(&tensor.name, layers, names),
        dtype: if tensor.ggml_type == GgmlType::F32 { Dtype::F32 } else { Dtype::F16 },
        shape: tensor.shape.iter().rev().copied().collect(),
    });
    write(path, &out.collect::<Vec<_>>(), |idx| Ok(gguf.data(tensors[idx]).to_vec())).expect("a file");
}

/// WordPiece's own way to write a vocabulary: what continues a word is marked, not what begins one.
fn tokenizer(gguf: &Gguf) -> Value {
    let tokens = gguf.metadata().strings("tokenizer.ggml.tokens").expect("strings").expect("a vocabulary");
    let texts: Vec<String> = tokens
        .iter()
        .map(|token| match token.strip_prefix('\u{2581}') {
            Some(text) => text.to_owned(),
            None if token.starts_with('[') => token.to_owned(),
            None => format!("##{token}"),
        })
        .collect();
    let added = texts.iter().take(5).enumerate().map(|(id, text)| json!({"id": id, "content": text, "special": true}));
    json!({
        "added_tokens": added.collect::<Vec<_>>(),
        "model": {
            "type": "WordPiece",
            "vocab": texts.iter().zip(0..).map(|(text, id)| (text.clone(), json!(id))).collect::<serde_json::Map<_, _>>(),
        },
    })
}

/// Writes the folder of a golden encoder.
fn write_folder(folder: &Path, name: &str) {
    let gguf = Gguf::open(&encoder(name)).expect("a golden model");
    let (metadata, arch) = (gguf.metadata(), if name == "bert" { "bert" } else { "nomic-bert" });
    let size = |key: &str| metadata.uint(&format!("{arch}.{key}")).expect("a size").expect("it is there");
    let epsilon = metadata.float(&format!("{arch}.attention.layer_norm_epsilon")).expect("a number");
    let num_tokens = gguf.tensor("token_embd.weight").expect("the embeddings").shape[1];
    let config = if name == "bert" {
        json!({
            "architectures": ["BertModel"], "hidden_size": size("embedding_length"), "layer_norm_eps": epsilon,
            "intermediate_size": size("feed_forward_length"), "num_hidden_layers": size("block_count"),
            "num_attention_heads": size("attention.head_count"), "max_position_embeddings": size("context_length"),
            "vocab_size": num_tokens,
        })
    } else {
        json!({
            "architectures": ["NomicBertModel"], "n_embd": size("embedding_length"), "layer_norm_epsilon": epsilon,
            "n_inner": size("feed_forward_length"), "n_layer": size("block_count"),
            "n_head": size("attention.head_count"), "n_positions": size("context_length"),
            "rotary_emb_base": metadata.float("nomic-bert.rope.freq_base").expect("a number"),
            "activation_function": "swiglu", "vocab_size": num_tokens,
        })
    };
    fs::create_dir(folder).expect("a folder");
    let modules = json!([
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]);
    fs::create_dir(folder.join("1_Pooling")).expect("a folder");
    for (name, json) in [
        ("config.json", config),
        ("tokenizer.json", tokenizer(&gguf)),
        ("tokenizer_config.json", json!({"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"})),
        ("modules.json", modules),
        ("1_Pooling/config.json", json!({"pooling_mode_mean_tokens": true})),
    ] {
        fs::write(folder.join(name), json.to_string()).expect("a file");
    }
    let (layers, names) = if name == "bert" { ("encoder.layer", BERT) } else { ("encoder.layers", NOMIC) };
    write_tensors(&folder.join("model.safetensors"), &gguf, layers, names);
}

#[test]
fn a_converted_encoder_gives_golden_vectors() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["bert", "nomic_bert"] {
        write_folder(&folder.path().join(name), name);
        let out = format!("{name}.gguf");
        let convert = command().args(["convert", name, "-o", &out]).current_dir(folder.path()).output();
        let convert = convert.expect("the binary starts");
        assert!(convert.status.success(), "{}", String::from_utf8_lossy(&convert.stderr));
        let said = String::from_utf8_lossy(&convert.stdout).into_owned();
        assert!(!said.contains("cannot serve"), "{said}");
        let model = format!("--model={}", folder.path().join(&out).display());
        let server = Server::start(&model, &["--device", "cpu"], &[]);
        let ids: Vec<_> = (0..4).map(|i| golden(name, &format!("embed{i}.ids"))).collect();
        let answer = ask(&server, "/v1/embeddings", &json!({ "input": ids }));
        for i in 0..4 {
            let expected = golden_floats(name, &format!("embed{i}.mean_l2"));
            assert_near(&floats(&answer["data"][i]["embedding"]), &expected, 1e-3);
        }
    }
}
