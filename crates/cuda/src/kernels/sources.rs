//! The kernels' sources, inside this binary.

use super::{Target, hash::hash};
use crate::repack::FORMATS;

/// A file that is compiled by itself.
#[derive(Debug)]
pub struct Source {
    /// Its name in `kernels/`, e.g. `norm.cu`.
    pub file: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// A header in `kernels/include/` or `kernels/formats/`.
#[derive(Debug)]
pub(crate) struct Header {
    /// The name that `#include` says.
    pub(crate) file: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! table {
    ($kind:ident in $folder:literal: $($file:literal)*) => {
        &[$($kind {
            file: $file,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $folder, "/", $file)),
        }),*]
    };
}

/// Every `kernels/*.cu` that any model may need.
pub const SOURCES: &[Source] = table!(Source in "kernels":
    "attention.cu"
    "attention_decode.cu"
    "attention_prefill.cu"
    "attention_wide.cu"
    "gated_act.cu"
    "input_sums.cu"
    "matmul_init.cu"
    "moe_route.cu"
    "norm.cu"
    "pool.cu"
    "quantize_act.cu"
    "rope_kv.cu"
    "rope_latent.cu"
    "sampling.cu"
);

/// Products of several formats in one launch, for models that mix them.
pub(crate) static MIXED: Source = Source {
    file: "matmul_mixed.cu",
    text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../kernels/matmul_mixed.cu")),
};

/// Everything that is compiled: [`SOURCES`], and what only models of certain formats need.
pub fn all_sources() -> impl Iterator<Item = &'static Source> {
    SOURCES.iter().chain([&MIXED]).chain(FORMATS.iter().map(|format| &format.source))
}

/// Every `kernels/include/*.cuh`.
const HEADERS: &[Header] = table!(Header in "kernels/include":
    "act_out.cuh"
    "attention.cuh"
    "attention_fragment.cuh"
    "attention_join.cuh"
    "attention_mma.cuh"
    "attention_split.cuh"
    "attention_stage.cuh"
    "half_gemv.cuh"
    "half_repack.cuh"
    "iq1_grid.cuh"
    "kv_cache.cuh"
    "mma.cuh"
    "moe_matmul.cuh"
    "moe_tile.cuh"
    "quant_act.cuh"
    "quant_bits.cuh"
    "quant_dequant.cuh"
    "quant_dot.cuh"
    "quant_formats.cuh"
    "quant_gemv.cuh"
    "quant_grid.cuh"
    "quant_kernels.cuh"
    "quant_matmul.cuh"
    "quant_planes.cuh"
    "quant_repack.cuh"
    "quant_scales.cuh"
    "quant_segment.cuh"
    "quant_sums.cuh"
    "quant_tile.cuh"
    "quant_wide.cuh"
    "quant_words.cuh"
    "reduce.cuh"
    "rope.cuh"
    "sampling.cuh"
    "sampling_chain.cuh"
    "sampling_select.cuh"
    "weight_ring.cuh"
    "wgmma.cuh"
);

fn headers() -> impl Iterator<Item = &'static Header> {
    HEADERS.iter().chain(FORMATS.iter().map(|format| &format.header))
}

impl Source {
    /// The source of that name.
    #[must_use]
    pub fn named(file: &str) -> Option<&'static Self> {
        all_sources().find(|source| source.file == file)
    }

    /// The headers it includes, directly or through others, each once.
    pub(crate) fn headers(&self) -> Vec<&'static Header> {
        let mut found: Vec<&Header> = Vec::new();
        let mut open = vec![self.text];
        while let Some(text) = open.pop() {
            for header in headers().filter(|header| includes(text, header.file)) {
                if !found.iter().any(|known| known.file == header.file) {
                    found.push(header);
                    open.push(header.text);
                }
            }
        }
        found.sort_by_key(|header| header.file);
        found
    }

    /// Its length with its headers, in bytes: how much there is to compile.
    pub(super) fn num_bytes(&self) -> usize {
        self.text.len() + self.headers().iter().map(|header| header.text.len()).sum::<usize>()
    }

    /// Names what compiling it for `target` gives, whichever compiler does it: all that goes in is hashed.
    pub(crate) fn key(&self, target: Target) -> u128 {
        let options = options(target).join(" ");
        let mut parts = vec![self.file, self.text, &options];
        parts.extend(self.headers().iter().flat_map(|header| [header.file, header.text]));
        hash(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>())
    }
}

fn includes(text: &str, header: &str) -> bool {
    text.lines().any(|line| {
        line.trim_start().strip_prefix("#include \"").and_then(|rest| rest.strip_suffix('"')) == Some(header)
    })
}

/// The compiler's options. Machine code comes with what each kernel uses (`-v`), which the tests watch.
pub(crate) fn options(target: Target) -> Vec<String> {
    // Products of four warps are of this one generation; its code runs on no other anyway.
    let own = if target == Target::Cubin(90) { "a" } else { "" };
    let mut options = vec![format!("--gpu-architecture={target}{own}")];
    options.extend(["--std=c++17", "-default-device", "--fmad=true"].map(str::to_owned));
    if matches!(target, Target::Cubin(_)) {
        options.push("--ptxas-options=-v".to_owned());
    }
    options
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{HEADERS, MIXED, SOURCES, Source, Target, all_sources, headers};
    use crate::repack::FORMATS;

    fn files(folder: &str, ending: &str) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(ending))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_tables_are_the_folders() {
        let mut sources: Vec<&str> = SOURCES.iter().chain([&MIXED]).map(|source| source.file).collect();
        sources.sort_unstable();
        assert_eq!(sources, files("kernels", ".cu"), "SOURCES (left), kernels/*.cu (right)");
        let headers: Vec<&str> = HEADERS.iter().map(|header| header.file).collect();
        assert_eq!(headers, files("kernels/include", ".cuh"), "HEADERS (left), kernels/include/*.cuh (right)");
        let mut formats: Vec<&str> = FORMATS.iter().map(|format| format.header.file).collect();
        formats.sort_unstable();
        assert_eq!(formats, files("kernels/formats", ".cuh"), "the registry (left), kernels/formats/*.cuh (right)");
    }

    #[test]
    fn every_include_is_a_header_of_ours() {
        let texts = all_sources().map(|s| (s.file, s.text)).chain(headers().map(|h| (h.file, h.text)));
        for (file, text) in texts {
            for line in text.lines().filter(|line| line.trim_start().starts_with("#include")) {
                let known = headers().any(|header| super::includes(line, header.file));
                assert!(known, "{file}: `{line}` names no header in kernels/include (write it on a line of its own)");
            }
        }
    }

    #[test]
    fn keys_tell_files_and_targets_apart() {
        let mut keys: Vec<u128> =
            all_sources().flat_map(|source| Target::PACKED.map(|target| source.key(target))).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all_sources().count() * Target::PACKED.len());
    }

    #[test]
    fn headers_are_found_through_headers() {
        let top = Source { file: "x.cu", text: "#include \"quant_dot.cuh\"\n" };
        let names: Vec<&str> = top.headers().iter().map(|header| header.file).collect();
        assert!(names.contains(&"quant_dot.cuh") && names.contains(&"mma.cuh"), "{names:?}");
        assert!(Source { file: "y.cu", text: "// #include \"mma.cuh\"" }.headers().is_empty());
    }
}
