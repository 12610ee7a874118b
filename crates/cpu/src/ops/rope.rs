//! Rotary position embedding: rotates pairs of each query and key head by an angle that grows with the position.

use model::{DecoderSpec, Rope, RopeStyle};

use super::Compute;

/// Sines and cosines of a step, for each distinct rotation of the model's layers.
pub(crate) struct RopeTables {
    /// Which table a layer uses.
    layer_tables: Vec<usize>,
    tables: Vec<RopeTable>,
}

/// `[num_tokens, dim / 2]` pairs of cosine and sine.
pub(crate) struct RopeTable {
    rope: Rope,
    inv_freqs: Vec<f32>,
    cos_sin: Vec<(f32, f32)>,
}

impl RopeTables {
    /// The rotations of a model; `factors` divide the frequencies.
    pub(crate) fn new(spec: &DecoderSpec, factors: Option<&[f32]>) -> Self {
        let mut tables: Vec<RopeTable> = Vec::new();
        let layer_tables = spec.layers.iter().map(|layer| {
            let rope = &layer.attention.rope;
            tables.iter().position(|t| t.rope == *rope).unwrap_or_else(|| {
                let inv_freqs = rope.inv_freqs(factors);
                tables.push(RopeTable { rope: rope.clone(), inv_freqs, cos_sin: Vec::new() });
                tables.len() - 1
            })
        });
        Self { layer_tables: layer_tables.collect(), tables }
    }

    /// Computes the angles of a step's positions.
    pub(crate) fn set_positions(&mut self, positions: &[u32]) {
        for table in &mut self.tables {
            let angle = |position: u32| table.inv_freqs.iter().map(move |f| position as f32 * f);
            table.cos_sin.clear();
            let magnitude = table.rope.magnitude;
            let rotation = |a: f32| (magnitude * a.cos(), magnitude * a.sin());
            table.cos_sin.extend(positions.iter().flat_map(|&p| angle(p)).map(rotation));
        }
    }

    /// The rotation of a layer.
    pub(crate) fn layer(&self, layer_idx: usize) -> &RopeTable {
        &self.tables[self.layer_tables[layer_idx]]
    }
}

/// Rotates all heads of `x`, `[num_tokens, row_len]`, each of `head_dim` elements, from its element `start` on, in place.
pub(crate) fn rope(
    compute: &mut Compute,
    table: &RopeTable,
    (row_len, head_dim, start): (usize, usize, usize),
    x: &mut [f32],
) {
    let pairs = table.rope.dim / 2;
    if pairs == 0 {
        return;
    }
    compute.pool.for_each_chunk(x, row_len, |token, row, _| {
        let cos_sin = &table.cos_sin[token * pairs..][..pairs];
        for head in row.chunks_exact_mut(head_dim) {
            for (i, &(cos, sin)) in cos_sin.iter().enumerate() {
                let (a, b) = match table.rope.style {
                    RopeStyle::Norm => (2 * i, 2 * i + 1),
                    RopeStyle::Neox => (i, i + pairs),
                };
                let (a, b) = (start + a, start + b);
                (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
            }
        }
    });
}
