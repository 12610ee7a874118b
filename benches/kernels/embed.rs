//! Rows of the embedding matrix.

use cuda::{
    CudaError,
    device::Buffer,
    ops::{
        embed::{Embed, EmbedCall},
        matmul::Uploader,
    },
    repack::PlaneLayout,
};
use quant::GgmlType;

use crate::support::Bench;

const VOCAB: usize = 32_768;

pub(crate) fn run(bench: &Bench) -> Result<(), CudaError> {
    for (ggml_type, cols) in [(GgmlType::Q6_K, 2048), (GgmlType::Q4_K, 4096), (GgmlType::Q8_0, 1152)] {
        let layout =
            PlaneLayout::new(ggml_type, VOCAB, cols).map_err(|error| CudaError::Unsupported(error.to_string()))?;
        let mut uploader = Uploader::new(&bench.gpu)?;
        let matrix = uploader.matrix(&bench.gpu, layout, &vec![1; VOCAB * layout.source_row_bytes()])?;
        uploader.finish()?;
        for tokens in [1_usize, 64, 2048] {
            let ids: Vec<u32> = (0..tokens).map(|i| (i * 7919 % VOCAB) as u32).collect();
            let ids_room = Buffer::new(&bench.gpu.device, 4 * tokens, "bench")?;
            bench.gpu.device.upload(ids_room.all(), &ids)?;
            let out = Buffer::new(&bench.gpu.device, 4 * tokens * cols, "bench")?;
            let (ids, out) = (ids_room.all(), out.all());
            let call = EmbedCall { matrix: &matrix, ids, chosen: ids, out, factor: 1.0, added: None };
            let us = bench.time_us(50, |_| Embed.run(&bench.gpu.device, &call))?;
            let bytes = tokens * (layout.read_bytes() / layout.rows + 4 * cols);
            bench.report_bytes("embed", &format!("{ggml_type} {tokens} x {cols}"), us, bytes);
        }
    }
    Ok(())
}
