//! Rows of the embedding matrix, as the file's type decodes them.

use cuda::ops::embed::{CHOSEN, Embed, EmbedCall};

use crate::{
    support::{assert_close, gpu, poisoned, upload},
    weights::{Weights, golden_blocks, types},
};

#[test]
fn rows_are_the_files_times_the_factor() {
    let Some(gpu) = gpu() else { return };
    for ggml_type in types() {
        for cols in match ggml_type.block_len() {
            256 => [256, 1024],
            1 => [172, 1056],
            64 | 128 => [128, 896],
            _ => [96, 1056],
        } {
            let weights = Weights::new(gpu, ggml_type, 37, cols);
            let rows = [36_u32, 0, 7, 8, 37, 15, 16, 7, 37];
            // The same rows; some through those that were chosen before, one of them beyond its end.
            let ids = [36, 0, CHOSEN, 8, 37, CHOSEN | 2, CHOSEN | 1, 7, u32::MAX];
            let (_ids_room, ids_span) = upload(gpu, &ids);
            let (_chosen_room, chosen) = upload(gpu, &[7_u32, 16, 15]);
            let addend: Vec<f32> = (0..cols).map(|col| col as f32 / 64.0 - 3.0).collect();
            let (_added_room, added) = upload(gpu, &addend);
            for (factor, added) in [(1.0, None), (33.5, None), (33.5, Some(added))] {
                let (_room, out) = poisoned::<f32>(gpu, ids.len() * cols);
                let call = EmbedCall { matrix: &weights.matrix, ids: ids_span, chosen, out, factor, added };
                Embed.run(&gpu.device, &call).expect("a launch");
                let found = gpu.device.download(out).expect("rows");
                for (&id, found) in rows.iter().zip(found.chunks_exact(cols)) {
                    if id == 37 {
                        assert!(found.iter().all(|x| x.is_nan()), "{ggml_type}: padding was written");
                        continue;
                    }
                    // BF16 and F32 are kept as f16; a difference of two products is rounded where the host's was.
                    let exact = if ggml_type.block_len() == 1 { &weights.halves } else { &weights.exact };
                    let exact = &exact[id as usize * cols..][..cols];
                    let addend = |col: usize| if added.is_some() { f64::from(addend[col]) } else { 0.0 };
                    let row = exact.iter().enumerate();
                    let expected: Vec<f64> =
                        row.map(|(col, &w)| f64::from(w) * f64::from(factor) + addend(col)).collect();
                    let sum_atol =
                        if added.is_some() { 1e-6 * addend(0).abs().max(addend(cols - 1).abs()) } else { 0.0 };
                    let atol = 1e-6 * f64::from(factor) * weights.row_max(id as usize) + sum_atol;
                    assert_close(&format!("{ggml_type} row {id} of {cols}"), found, &expected, atol, 1e-6);
                }
            }
        }
    }
}

#[test]
fn a_short_output_is_refused() {
    let Some(gpu) = gpu() else { return };
    let weights = Weights::new(gpu, quant::GgmlType::Q8_0, 4, 64);
    let (_ids_room, ids) = upload(gpu, &[0_u32, 1]);
    let (_room, out) = poisoned::<f32>(gpu, 127);
    let call = EmbedCall { matrix: &weights.matrix, ids, chosen: ids, out, factor: 1.0, added: None };
    let message = Embed.run(&gpu.device, &call).expect_err("a refusal").to_string();
    assert!(message.contains("127 elements, 128"), "{message}");
}

/// Blocks as other engines wrote and decoded them.
#[test]
fn golden_blocks_decode_as_elsewhere() {
    let Some(gpu) = gpu() else { return };
    for ggml_type in types().into_iter().filter(|ggml_type| ggml_type.block_len() > 1) {
        let Some((bytes, values)) = golden_blocks(ggml_type) else { continue };
        let cols = ggml_type.block_len();
        let weights = Weights::from_file(gpu, ggml_type, (values.len() / cols, cols), &bytes);
        let ids: Vec<u32> = (0..weights.rows as u32).collect();
        let (_ids_room, ids) = upload(gpu, &ids);
        let (_room, out) = poisoned::<f32>(gpu, values.len());
        Embed
            .run(&gpu.device, &EmbedCall { matrix: &weights.matrix, ids, chosen: ids, out, factor: 1.0, added: None })
            .expect("a launch");
        let found = gpu.device.download(out).expect("rows");
        for (row, (found, expected)) in found.chunks_exact(cols).zip(values.chunks_exact(cols)).enumerate() {
            let expected: Vec<f64> = expected.iter().map(|&value| f64::from(value)).collect();
            assert_close(&format!("{ggml_type} block {row}"), found, &expected, 1e-6 * weights.row_max(row), 1e-6);
        }
    }
}
