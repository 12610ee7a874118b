//! Which mixes and KV types fit, and which of them to take.

use clap::ValueEnum;
use cuda::KvType;
use gguf::Gguf;
use types::BLOCK_SIZE;

use super::{
    gpu::Gpu,
    mix::{MIXES, Mix},
    room::Room,
    shape::{Shape, Weights},
    speed::Speed,
};

/// How much quality to give for size and speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// The smallest with at most 11 % loss
    Aggressive,
    /// The smallest with at most 3 % loss
    Balanced,
    /// The smallest with at most 1 % loss
    Quality,
    /// As little quantization as fits
    Minimal,
}

impl Strategy {
    /// The loss that is accepted for size; none for [`Strategy::Minimal`].
    fn bound(self) -> f64 {
        match self {
            Self::Aggressive => 0.11,
            Self::Balanced => 0.03,
            Self::Quality => 0.01,
            Self::Minimal => 0.0,
        }
    }
}

/// What shall fit where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) gpu: Gpu,
    /// Whether it is this machine's.
    pub(crate) is_present: bool,
    /// Memory that stays free.
    pub(crate) margin_bytes: u64,
    pub(crate) users: usize,
    /// Tokens of each user.
    pub(crate) context: usize,
    pub(crate) strategy: Strategy,
    /// Take what gives the longest context instead of looking for this one.
    pub(crate) fit_context: bool,
}

/// A mix of types with a KV type.
pub(crate) struct Candidate {
    pub(crate) name: String,
    /// The mix to quantize to; `None` for the file as it is.
    pub(crate) mix: Option<Mix>,
    /// Relative rise of the perplexity, where that is known.
    pub(crate) loss: Option<f64>,
    pub(crate) kv_type: KvType,
    /// Its sizes, or why the GPU cannot take it.
    pub(crate) sizes: Result<Sizes, String>,
}

/// What a candidate takes, and what is left for users.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) weights: Weights,
    pub(crate) workspace_bytes: u64,
    /// Memory that keys and values can take; 0 where weights and workspace do not fit.
    pub(crate) kv_bytes: u64,
    /// What they take for the users and the context that were asked for (or found): layers with a window keep no more
    /// than the window.
    pub(crate) kv_bytes_needed: u64,
    /// Of one token in all layers.
    pub(crate) kv_bytes_per_token: u64,
    /// Users with the context that was asked for.
    pub(crate) max_users: usize,
    /// The longest context of the users that were asked for; at most the model's own.
    pub(crate) max_context: usize,
    pub(crate) speed: Speed,
}

impl Candidate {
    pub(crate) fn fits(&self, wanted: &Wanted) -> bool {
        self.sizes.as_ref().is_ok_and(|sizes| sizes.max_users >= wanted.users)
    }

    pub(crate) fn max_context(&self) -> usize {
        self.sizes.as_ref().map_or(0, |sizes| sizes.max_context)
    }

    fn device_bytes(&self) -> u64 {
        self.sizes.as_ref().map_or(u64::MAX, |sizes| sizes.weights.device_bytes)
    }

    /// What choosing it loses: nothing more where the file stays as it is.
    fn further_loss(&self) -> f64 {
        self.mix.map_or(0.0, |mix| mix.loss())
    }
}

/// The file as it is, named `own`, and every smaller mix, each with f16 and q8_0 keys and values.
pub(crate) fn candidates(gguf: &Gguf, shape: &Shape, own: &str, wanted: &Wanted) -> Vec<Candidate> {
    let own_types = shape.types();
    // Less than a hundredth smaller is the same mix with another name.
    let limit = shape.file_bytes(&own_types) / 100 * 99;
    let known = MIXES.iter().find(|mix| mix.name() == own).map(Mix::loss);
    let own_loss = if matches!(own, "F32" | "BF16") { Some(0.0) } else { known };
    let mut rows = vec![(own.to_owned(), None, own_loss, Ok(own_types))];
    for mix in MIXES {
        let types = mix.types(gguf);
        if types.as_ref().is_ok_and(|types| shape.file_bytes(types) >= limit) {
            continue;
        }
        rows.push((mix.name().to_owned(), Some(mix), Some(mix.loss()), types));
    }
    let with_kv = rows.iter().flat_map(|(name, mix, loss, types)| {
        [KvType::F16, KvType::Q8_0].map(|kv_type| {
            let weights = types.as_ref().map_err(String::clone).and_then(|types| shape.weights(types));
            let sizes = weights.and_then(|weights| sizes(shape, weights, kv_type, wanted));
            Candidate { name: name.clone(), mix: *mix, loss: *loss, kv_type, sizes }
        })
    });
    with_kv.collect()
}

/// As `serve` divides the memory: weights and workspace first, keys and values take what is left.
fn sizes(shape: &Shape, weights: Weights, kv_type: KvType, wanted: &Wanted) -> Result<Sizes, String> {
    let block_bytes = shape.kv_block_bytes(kv_type)?;
    let own_context = shape.spec.max_positions().unwrap_or(shape.spec.context_length).min(shape.spec.context_length);
    let room = Room { spec: &shape.spec, weight_bytes: weights.device_bytes, kv_type, wanted };
    let max_context = room.max_context(wanted.users, own_context);
    let context = if wanted.fit_context { max_context.max(BLOCK_SIZE) } else { wanted.context };
    let workspace_bytes = room.workspace_bytes(wanted.users, context).map_err(|e| e.to_string())?;
    let fixed = weights.device_bytes + workspace_bytes + wanted.margin_bytes;
    Ok(Sizes {
        weights,
        workspace_bytes,
        kv_bytes: wanted.gpu.free_bytes.saturating_sub(fixed),
        kv_bytes_needed: room.kv_bytes(wanted.users, context).map_err(|e| e.to_string())?,
        kv_bytes_per_token: block_bytes / BLOCK_SIZE as u64,
        max_users: room.max_users(wanted.context),
        max_context,
        speed: Speed::predict(&wanted.gpu, shape, weights, (block_bytes, context), wanted.users),
    })
}

/// The candidate that the strategy prefers; `None` when none fits.
pub(crate) fn choose<'a>(candidates: &'a [Candidate], wanted: &Wanted) -> Option<&'a Candidate> {
    let is_accepted = |c: &&Candidate| c.further_loss() <= wanted.strategy.bound();
    let by_loss = |a: &&Candidate, b: &&Candidate| a.further_loss().total_cmp(&b.further_loss());
    if wanted.fit_context {
        let usable = || candidates.iter().filter(|c| c.max_context() >= BLOCK_SIZE);
        // Of equally long contexts the least loss; `max_by` takes the last of equals, `f16` stands first.
        let longest = |a: &&Candidate, b: &&Candidate| a.max_context().cmp(&b.max_context()).then(by_loss(b, a));
        return usable().filter(is_accepted).rev().max_by(longest).or_else(|| usable().rev().max_by(longest));
    }
    let fitting = |kv_type: KvType| candidates.iter().filter(move |c| c.kv_type == kv_type && c.fits(wanted));
    let smallest = |kv_type| fitting(kv_type).filter(is_accepted).min_by_key(|c| c.device_bytes());
    let least_loss = |kv_type| fitting(kv_type).min_by(by_loss);
    // Keys and values of 8 bits only where those of 16 do not fit.
    let kv_types = [KvType::F16, KvType::Q8_0];
    kv_types.into_iter().find_map(smallest).or_else(|| kv_types.into_iter().filter_map(least_loss).min_by(by_loss))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cuda::KvType;
    use gguf::{GgmlType, Gguf, Metadata, NewTensor, Value};

    use super::{
        super::gpu::{Gpu, GpuName},
        Candidate, Strategy, Wanted, candidates, choose,
    };
    use crate::recommend::shape::Shape;

    /// Llama 3.1 8B in f16, without its weights.
    fn llama_8b() -> (Gguf, Shape) {
        let mut metadata = Metadata::default();
        metadata.insert("general.architecture", Value::String("llama".into()));
        metadata.insert("llama.attention.layer_norm_rms_epsilon", Value::Float(1e-5));
        for (name, size) in [
            ("embedding_length", 4096),
            ("block_count", 32),
            ("feed_forward_length", 14336),
            ("context_length", 131_072),
            ("attention.head_count", 32),
            ("attention.head_count_kv", 8),
        ] {
            metadata.insert(format!("llama.{name}"), Value::Uint(size));
        }
        let gguf = Gguf::describe(metadata, &llama_8b_tensors()).unwrap();
        let shape = Shape::of(&gguf).unwrap();
        (gguf, shape)
    }

    fn llama_8b_tensors() -> Vec<NewTensor> {
        let tensor = |name: String, shape: &[usize], ggml_type| NewTensor { name, shape: shape.to_vec(), ggml_type };
        let matrix = |name: String, cols: usize, rows: usize| tensor(name, &[cols, rows], GgmlType::F16);
        let vector = |name: String| tensor(name, &[4096], GgmlType::F32);
        let mut tensors = vec![
            matrix("token_embd.weight".into(), 4096, 128_256),
            matrix("output.weight".into(), 4096, 128_256),
            vector("output_norm.weight".into()),
            tensor("rope_freqs.weight".into(), &[64], GgmlType::F32),
        ];
        for i in 0..32 {
            let name = |kind: &str| format!("blk.{i}.{kind}.weight");
            for (kind, cols, rows) in [
                ("attn_q", 4096, 4096),
                ("attn_k", 4096, 1024),
                ("attn_v", 4096, 1024),
                ("attn_output", 4096, 4096),
                ("ffn_gate", 4096, 14336),
                ("ffn_up", 4096, 14336),
                ("ffn_down", 14336, 4096),
            ] {
                tensors.push(matrix(name(kind), cols, rows));
            }
            tensors.extend([vector(name("attn_norm")), vector(name("ffn_norm"))]);
        }
        tensors
    }

    fn wanted(gpu: GpuName, users: usize, context: usize, strategy: Strategy) -> Wanted {
        let gpu = Gpu::named(gpu);
        Wanted { gpu, is_present: false, margin_bytes: 1 << 30, users, context, strategy, fit_context: false }
    }

    fn find<'a>(all: &'a [Candidate], name: &str, kv_type: KvType) -> &'a Candidate {
        all.iter().find(|c| c.name == name && c.kv_type == kv_type).unwrap()
    }

    #[test]
    fn bytes_are_those_of_real_files() {
        let (gguf, shape) = llama_8b();
        assert_eq!(shape.num_weights(), 8_030_261_312);
        let all = candidates(&gguf, &shape, "F16", &wanted(GpuName::T4, 8, 4096, Strategy::Balanced));
        // GiB as llama.cpp's scoreboard of Llama 3 8B has them (files, with 8 MB of metadata).
        let files =
            [("F16", 14.97), ("Q6_K", 6.14), ("Q5_K_M", 5.33), ("Q5_K_S", 5.21), ("Q4_K_M", 4.58), ("Q4_K_S", 4.37)];
        for (name, expected) in files {
            let sizes = find(&all, name, KvType::F16).sizes.as_ref().unwrap();
            let gib = sizes.weights.file_bytes as f64 / f64::from(1 << 30);
            assert!((gib - expected).abs() < 0.015, "{name}: {gib}");
        }
        let kv = |kv_type| find(&all, "Q4_K_M", kv_type).sizes.as_ref().unwrap().kv_bytes_per_token;
        assert_eq!((kv(KvType::F16), kv(KvType::Q8_0)), (131_072, 69_632));
    }

    /// The models in the repository, and those in `LLCUDA_TEST_DATA` where they are.
    #[test]
    fn golden_models_are_measured_to_the_byte() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let shared = std::env::var_os("LLCUDA_TEST_DATA").map_or_else(|| root.join("../shared/data"), Into::into);
        let folders = [root.join("tests/data/golden"), shared.join("golden"), shared.join("golden/quantized")];
        let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
        let files = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "gguf"));
        let mut num_models = 0;
        for path in files {
            let gguf = Gguf::open(&path).unwrap();
            // Encoders, and architectures that are not served.
            let Ok(shape) = Shape::of(&gguf) else { continue };
            assert_eq!(shape.file_bytes(&shape.types()), gguf.weight_bytes(), "{}", path.display());
            match shape.weights(&shape.types()) {
                Ok(weights) => assert_eq!(weights.file_bytes, gguf.weight_bytes(), "{}", path.display()),
                Err(reason) => assert!(!reason.is_empty()),
            }
            num_models += 1;
        }
        assert!(num_models > 0, "the repository has a model");
    }

    #[test]
    fn strategies_give_quality_for_size() {
        let (gguf, shape) = llama_8b();
        let pick = |strategy| {
            let wanted = wanted(GpuName::H100, 8, 4096, strategy);
            choose(&candidates(&gguf, &shape, "F16", &wanted), &wanted).unwrap().name.clone()
        };
        assert_eq!(pick(Strategy::Minimal), "F16");
        assert_eq!(pick(Strategy::Quality), "Q5_K_M");
        assert_eq!(pick(Strategy::Balanced), "Q4_K_M");
        assert!(["Q4_0", "Q4_K_S", "Q3_K_M"].contains(&pick(Strategy::Aggressive).as_str()));
    }

    #[test]
    fn what_fits_on_a_t4_is_chosen() {
        let (gguf, shape) = llama_8b();
        let pick = |users, context, strategy| {
            let wanted = wanted(GpuName::T4, users, context, strategy);
            choose(&candidates(&gguf, &shape, "F16", &wanted), &wanted).map(|c| (c.name.clone(), c.kv_type))
        };
        assert_eq!(pick(8, 4096, Strategy::Balanced), Some(("Q4_K_M".into(), KvType::F16)));
        // 10 GiB of f16 keys and values do not fit beside it; half of it does.
        assert_eq!(pick(20, 4096, Strategy::Balanced), Some(("Q4_K_M".into(), KvType::Q8_0)));
        assert_eq!(pick(1, 4096, Strategy::Minimal), Some(("Q8_0".into(), KvType::F16)));
        assert_eq!(pick(64, 131_072, Strategy::Aggressive), None);
    }

    #[test]
    fn the_longest_context_is_found_and_bounded_by_the_model() {
        let (gguf, shape) = llama_8b();
        let fit = |gpu, users| {
            let wanted = Wanted { fit_context: true, ..wanted(gpu, users, 4096, Strategy::Balanced) };
            let all = candidates(&gguf, &shape, "F16", &wanted);
            let chosen = choose(&all, &wanted).unwrap();
            (chosen.name.clone(), chosen.kv_type, chosen.max_context())
        };
        let (name, kv_type, context) = fit(GpuName::T4, 1);
        assert_eq!((name.as_str(), kv_type), ("Q4_K_M", KvType::Q8_0));
        assert!((100_000..=131_072).contains(&context), "{context}");
        assert_eq!(fit(GpuName::H200, 1), ("F16".into(), KvType::F16, 131_072));
    }

    /// Measured speeds of docs/performance.md (an H200, files of this shape): predictions come within a fifth.
    #[test]
    fn predictions_are_near_what_was_measured() {
        let (gguf, shape) = llama_8b();
        let speed = |users| {
            let all = candidates(&gguf, &shape, "F16", &wanted(GpuName::H200, users, 576, Strategy::Balanced));
            find(&all, "Q4_K_M", KvType::F16).sizes.as_ref().unwrap().speed
        };
        let near = |predicted: f64, measured: f64| {
            assert!((predicted / measured - 1.0).abs() < 0.2, "{predicted} predicted, {measured} measured");
        };
        near(speed(1).decode_one, 521.0);
        for (users, measured) in [(8, 2_895.0), (16, 4_539.0), (32, 7_150.0), (64, 9_846.0)] {
            near(speed(users).decode_all, measured);
        }
        near(speed(1).prompt, 35_006.0);
    }
}
