//! The registry of device formats: one line a type, beside its file `kernels/formats/NAME.cuh`.

use quant::GgmlType;

use crate::kernels::{Header, Source};

/// What the host knows of a format.
#[derive(Debug)]
pub(crate) struct FormatSpec {
    /// The file's type it holds.
    pub(super) ggml_type: GgmlType,
    /// Its name in kernels and tables.
    pub(super) name: &'static str,
    /// Columns must be a multiple of this.
    pub(super) block_len: usize,
    pub(super) planes: PlaneBytes,
    pub(super) kernels: KernelNames,
    /// Its kernels, compiled by themselves.
    pub(crate) source: Source,
    /// `kernels/formats/NAME.cuh`.
    pub(crate) header: Header,
}

/// Bytes of each plane in a slot: 16 rows, `span` chunks of 128 columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlaneBytes {
    pub(crate) span: usize,
    pub(crate) low: usize,
    pub(crate) high: usize,
    pub(crate) scale: usize,
    pub(crate) super_scale: usize,
}

impl PlaneBytes {
    /// Bytes of a slot.
    pub(crate) fn total(&self) -> usize {
        self.low + self.high + self.scale + self.super_scale
    }
}

/// The kernels that read a format.
#[derive(Debug)]
pub(crate) struct KernelNames {
    pub(crate) repack: &'static str,
    pub(crate) dequant: &'static str,
    pub(crate) rows: &'static str,
    /// Of one token; formats of halves have none.
    pub(crate) expert: &'static str,
    pub(crate) experts: &'static str,
    pub(crate) expert_tiles: &'static str,
    pub(crate) products: ProductNames,
}

/// The kernels of products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProductNames {
    /// What all of them end in.
    pub(crate) format: &'static str,
    /// Of one token.
    pub(crate) gemv: &'static str,
    /// Of several, by the number of their shape; the GPU's generation has all of them or the first.
    pub(crate) tiles: [&'static str; 6],
}

macro_rules! product_names {
    ($name:literal) => {
        ProductNames {
            format: $name,
            gemv: concat!("gemv_", $name),
            tiles: [
                concat!("matmul_8_", $name),
                concat!("matmul_16_", $name),
                concat!("matmul_32_", $name),
                concat!("matmul_64_", $name),
                concat!("matmul_8_short_", $name),
                concat!("matmul_16_short_", $name),
            ],
        }
    };
}
/// The kernels of `kernels/matmul_mixed.cu`.
pub(crate) const MIXED_PRODUCTS: ProductNames = product_names!("mixed");

macro_rules! formats {
    ($($kernels:literal {
        $($ggml_type:ident: $name:literal, $block_len:literal,
            ($span:literal, $low:literal, $high:literal, $scale:literal, $super_scale:literal);)*
    })*) => {
        &[$($(FormatSpec {
            ggml_type: GgmlType::$ggml_type,
            name: $name,
            block_len: $block_len,
            planes: PlaneBytes { span: $span, low: $low, high: $high, scale: $scale, super_scale: $super_scale },
            kernels: KernelNames {
                repack: concat!("repack_", $name),
                dequant: concat!("dequant_f16_", $name),
                rows: concat!("dequant_rows_", $name),
                expert: concat!("moe_gemv_", $name),
                experts: concat!("moe_matmul_", $name),
                expert_tiles: concat!("moe_tile_", $name),
                products: product_names!($name),
            },
            source: Source {
                file: concat!($name, ".cu"),
                text: concat!(
                    "#include \"", $name, ".cuh\"\n#include \"quant_kernels.cuh\"\n",
                    $kernels, "(", $name, ", ", stringify!($ggml_type), ", ",
                    $span, ", ", $low, ", ", $high, ", ", $scale, ", ", $super_scale, ")\n"
                ),
            },
            header: Header {
                file: concat!($name, ".cuh"),
                text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../kernels/formats/", $name, ".cuh")),
            },
        },)*)*]
    };
}

/// Every format: type, name, columns of a block, and its slot: chunks, bytes of planes low, high, scale and super (which the kernels check).
pub(crate) static FORMATS: &[FormatSpec] = formats! {
    // Multiplied by int8 where there is one token.
    "QUANT_KERNELS" {
        Q4_K: "q4_k", 256, (2, 2048, 0, 256, 0);
        Q5_K: "q5_k", 256, (2, 2048, 512, 256, 0);
        Q6_K: "q6_k", 256, (2, 2048, 1024, 256, 32);
        Q8_0: "q8_0", 32, (1, 2048, 0, 128, 0);
        Q4_0: "q4_0", 32, (1, 1024, 0, 128, 0);
        Q4_1: "q4_1", 32, (1, 1024, 0, 256, 0);
        Q5_0: "q5_0", 32, (1, 1024, 256, 128, 0);
        Q5_1: "q5_1", 32, (1, 1024, 256, 256, 0);
        Q2_K: "q2_k", 256, (2, 1024, 0, 256, 64);
        Q3_K: "q3_k", 256, (2, 1024, 512, 256, 32);
        IQ4_NL: "iq4_nl", 32, (1, 1024, 0, 128, 0);
        IQ4_XS: "iq4_xs", 256, (2, 2048, 0, 128, 32);
        MXFP4: "mxfp4", 32, (1, 1024, 0, 64, 0);
        NVFP4: "nvfp4", 64, (1, 1024, 0, 128, 0);
        TQ1_0: "tq1_0", 256, (2, 1024, 0, 0, 32);
        TQ2_0: "tq2_0", 256, (2, 1024, 0, 0, 32);
        IQ1_S: "iq1_s", 256, (2, 768, 0, 128, 32);
        IQ1_M: "iq1_m", 256, (2, 768, 0, 256, 32);
        IQ2_XXS: "iq2_xxs", 256, (2, 512, 512, 128, 32);
        IQ2_XS: "iq2_xs", 256, (2, 576, 512, 256, 32);
        IQ2_S: "iq2_s", 256, (2, 640, 512, 256, 32);
        IQ3_XXS: "iq3_xxs", 256, (2, 1024, 512, 128, 32);
        IQ3_S: "iq3_s", 256, (2, 1152, 512, 128, 32);
        Q1_0: "q1_0", 128, (1, 256, 0, 32, 0);
        Q2_0: "q2_0", 64, (1, 512, 0, 64, 0);
    }
    // Also made from BF16 and F32; multiplied by f16.
    "HALF_KERNELS" {
        F16: "f16", 4, (1, 4096, 0, 0, 0);
    }
};
