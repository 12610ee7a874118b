//! Head norms, rotation and the write into the cache, against f64.

use cuda::{
    KvType,
    gpu::Gpu,
    kv_cache::{KvCache, KvLayout},
    ops::rope::{RopeKv, RopeKvInputs},
};
use model::{Attention, QkNorm, RopeStyle, Temperature, Values};
use quant::f16_to_f32;
use types::KvPools;

use crate::{
    paged::{BLOCK, LAYER, plain_attention, spec},
    support::{Random, gpu, poisoned, upload},
};

const NUM_BLOCKS: usize = 9;
/// Slots of the tokens, in scattered blocks; two are padding.
const SLOTS: [u32; 6] = [5, u32::MAX, 8 * 16 + 15, 0, u32::MAX, 3 * 16 + 1];
/// Near and far: angles of up to 131071 radians.
const POSITIONS: [u32; 6] = [0, 3, 1, 4095, 9, 131_071];
const EPS: f32 = 1e-6;

struct Case {
    attention: Attention,
    kv_type: KvType,
    /// Whether norms of heads subtract the mean.
    centered: bool,
    /// Values of the input are up to so large.
    size: f32,
}

struct Data {
    qkv: Vec<f32>,
    q_norm: Vec<f32>,
    k_norm: Vec<f32>,
    inv_freqs: Vec<f32>,
}

/// What a launch left: query bits, and the bytes of the layer's planes.
struct Found {
    queries: Vec<u16>,
    keys: Plane,
    values: Plane,
    /// The whole cache.
    bytes: Vec<u8>,
}

struct Plane {
    values: Vec<u8>,
    scales: Vec<u8>,
}

impl Case {
    fn data(&self) -> Data {
        let a = &self.attention;
        let mut random = Random::new((a.head_dim * 100 + a.rope.dim + a.num_heads) as u64);
        Data {
            qkv: random.floats(SLOTS.len() * (a.q_size() + 2 * a.kv_size()), self.size),
            q_norm: random.floats(a.q_size(), 2.0),
            k_norm: random.floats(a.kv_size(), 2.0),
            inv_freqs: a.rope.inv_freqs(None),
        }
    }

    fn run(&self, gpu: &Gpu, data: &Data) -> Found {
        let a = &self.attention;
        // The one layer has a place in the cache, whether or not it writes there.
        let own = Attention { kv_source: None, ..a.clone() };
        let layout = KvLayout::new(&spec(&own), self.kv_type).expect("a head size for the cache");
        let cache = KvCache::new(&gpu.device, layout, KvPools::full(NUM_BLOCKS)).expect("room for the cache");
        gpu.device.fill_bytes(cache.bytes(), 0xff).expect("the fill works");
        let (_qkv, qkv) = upload(gpu, &data.qkv);
        let (_q_norm, q_norm) = upload(gpu, &data.q_norm);
        let (_k_norm, k_norm) = upload(gpu, &data.k_norm);
        let (_freqs, inv_freqs) = upload(gpu, &data.inv_freqs);
        let (_positions, positions) = upload(gpu, &POSITIONS);
        let (_slots, slot_mapping) = upload(gpu, &SLOTS);
        let (_queries, queries) = poisoned::<u16>(gpu, SLOTS.len() * a.q_size());
        let inputs = RopeKvInputs {
            attention: a,
            norm_eps: EPS,
            centered_norms: self.centered,
            qkv,
            q_norm: Some(q_norm),
            k_norm: Some(k_norm),
            inv_freqs,
            positions,
            slot_mapping,
            queries,
            cache: cache.layer(LAYER),
        };
        RopeKv::new(gpu).expect("the kernel").run(&gpu.device, &inputs).expect("a launch");
        let queries = gpu.device.download(queries).expect("the copy works");
        let bytes = gpu.device.download(cache.bytes()).expect("the copy works");
        let planes = cache.layer(LAYER).planes;
        let rows = NUM_BLOCKS * BLOCK * a.num_kv_heads;
        let part = |ptr: cuda::device::DevicePtr, len: usize| {
            let start = if ptr.0 == 0 { 0 } else { (ptr.0 - cache.bytes().ptr().0) as usize };
            bytes[start..start + len].to_vec()
        };
        let (value_bytes, scale_bytes) = match self.kv_type {
            KvType::F16 => (2 * rows * a.head_dim, 0),
            KvType::Q8_0 => (rows * a.head_dim, 2 * rows * (a.head_dim / 32)),
        };
        let plane = |ptr, scales| Plane { values: part(ptr, value_bytes), scales: part(scales, scale_bytes) };
        let (keys, values) = (plane(planes.k, planes.k_scale), plane(planes.v, planes.v_scale));
        Found { queries, keys, values, bytes }
    }

    /// Head `head` of the query or key heads in `row`, normed and rotated.
    fn head(&self, row: &[f32], head: usize, position: u32, (norm, data): (&[f32], &Data)) -> Vec<f64> {
        let a = &self.attention;
        let floats = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
        let own = head * a.head_dim..(head + 1) * a.head_dim;
        let mut x = floats(&row[own.clone()]);
        let ones = vec![1.0; a.head_dim];
        match a.qk_norm {
            QkNorm::None | QkNorm::UnitAfterRope => {}
            QkNorm::PerHead => self.norm(&mut x, &floats(&norm[..a.head_dim])),
            QkNorm::PerHeadOwn => self.norm(&mut x, &floats(&norm[own])),
            QkNorm::AllHeads => {
                let mut all = floats(row);
                self.norm(&mut all, &floats(&norm[..row.len()]));
                x = all[own].to_vec();
            }
        }
        self.rotate(&mut x, position, data);
        if a.qk_norm == QkNorm::UnitAfterRope {
            self.norm(&mut x, &ones);
        }
        x
    }

    fn norm(&self, x: &mut [f64], weight: &[f64]) {
        let mean = if self.centered { x.iter().sum::<f64>() / x.len() as f64 } else { 0.0 };
        let square = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / x.len() as f64;
        let inverse = 1.0 / (square + f64::from(EPS)).sqrt();
        x.iter_mut().zip(weight).for_each(|(x, w)| *x = (*x - mean) * inverse * w);
    }

    fn rotate(&self, x: &mut [f64], position: u32, data: &Data) {
        let (a, magnitude) = (&self.attention, f64::from(self.attention.rope.magnitude));
        for (i, freq) in data.inv_freqs.iter().enumerate() {
            // The angle is rounded to f32, as on the CPU.
            let (sin, cos) = f64::from(position as f32 * freq).sin_cos();
            let (first, second) = match a.rope.style {
                RopeStyle::Norm => (2 * i, 2 * i + 1),
                RopeStyle::Neox => (i, i + a.rope.dim / 2),
            };
            let (sin, cos) = (sin * magnitude, cos * magnitude);
            (x[first], x[second]) = (x[first] * cos - x[second] * sin, x[first] * sin + x[second] * cos);
        }
    }

    fn check(&self, gpu: &Gpu) {
        let (a, data) = (&self.attention, self.data());
        let found = self.run(gpu, &data);
        assert!(found.bytes == self.run(gpu, &data).bytes, "a rerun differs");
        let stride = a.q_size() + 2 * a.kv_size();
        for (token, (&slot, &position)) in SLOTS.iter().zip(&POSITIONS).enumerate() {
            let row = &data.qkv[token * stride..][..stride];
            let queries = &found.queries[token * a.q_size()..][..a.q_size()];
            if slot == u32::MAX {
                assert!(queries.iter().all(|&q| q == 0xffff), "token {token} is padding");
                continue;
            }
            let (q_row, k_row) = (&row[..a.q_size()], &row[a.q_size()..a.q_size() + a.kv_size()]);
            let scale = a.scale * a.temperature.map_or(1.0, |temperature| temperature.at(position));
            for (head, found) in queries.chunks(a.head_dim).enumerate() {
                let expected = self.head(q_row, head, position, (&data.q_norm, &data));
                let found: Vec<f64> = found.iter().map(|&q| f64::from(f16_to_f32(q))).collect();
                let expected: Vec<f64> = expected.iter().map(|x| x * f64::from(scale)).collect();
                self.compare(&format!("token {token}, query head {head}"), &found, &expected, None);
            }
            for head in 0..a.num_kv_heads {
                let value = &row[a.q_size() + a.kv_size() + head * a.head_dim..][..a.head_dim];
                let key = self.head(k_row, head, position, (&data.k_norm, &data));
                let mut value: Vec<f64> = value.iter().map(|x| f64::from(*x)).collect();
                if a.values == Values::UnitNorm {
                    self.norm(&mut value, &vec![1.0; a.head_dim]);
                }
                for (what, plane, expected) in [("key", &found.keys, key), ("value", &found.values, value)] {
                    let (found, scales) = self.stored(plane, slot as usize, head);
                    self.compare(&format!("token {token}, {what} head {head}"), &found, &expected, scales.as_deref());
                }
            }
        }
        self.check_untouched(&found);
    }

    /// A head of a slot and, for q8_0, the scale of each element.
    fn stored(&self, plane: &Plane, slot: usize, head: usize) -> (Vec<f64>, Option<Vec<f64>>) {
        let a = &self.attention;
        let row = (slot / BLOCK * a.num_kv_heads + head) * BLOCK + slot % BLOCK;
        let half = |bytes: &[u8], i: usize| f64::from(f16_to_f32(u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]])));
        match self.kv_type {
            KvType::F16 => ((0..a.head_dim).map(|i| half(&plane.values, row * a.head_dim + i)).collect(), None),
            KvType::Q8_0 => {
                let scale = |i: usize| half(&plane.scales, row * (a.head_dim / 32) + i / 32);
                let value = |i: usize| scale(i) * f64::from(plane.values[row * a.head_dim + i] as i8);
                ((0..a.head_dim).map(value).collect(), Some((0..a.head_dim).map(scale).collect()))
            }
        }
    }

    /// f16 within half a unit in the last place, q8_0 within half a step, and what f32 rotation adds: its sine is right
    /// to 1e-7, twice, of the larger element of the pair.
    fn compare(&self, what: &str, found: &[f64], expected: &[f64], scales: Option<&[f64]>) {
        let largest = expected.iter().fold(0.0_f64, |max, x| max.max(x.abs()));
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            let rounding = scales.map_or(b.abs() / 2048.0 + 3e-8, |scales| 0.5001 * scales[i] + largest * 5e-4);
            let bound = rounding + largest * 1e-6;
            let case = (self.attention.head_dim, self.attention.rope.dim, self.kv_type);
            assert!((a - b).abs() <= bound, "{case:?}: {what}, element {i} is {a}, expected {b}");
        }
    }

    /// Every byte of the cache that no slot names is as it was.
    fn check_untouched(&self, found: &Found) {
        let a = &self.attention;
        let num_written = found.bytes.iter().filter(|&&byte| byte != 0xff).count();
        let tokens = SLOTS.iter().filter(|&&slot| slot != u32::MAX).count();
        let per_token = match self.kv_type {
            KvType::F16 => 4 * a.kv_size(),
            KvType::Q8_0 => 2 * a.kv_size() / 32 * 34,
        };
        assert!(num_written <= tokens * per_token, "{num_written} bytes written, {tokens} tokens");
    }
}

fn case(style: RopeStyle, (num_heads, num_kv_heads, head_dim): (usize, usize, usize), dim: usize) -> Case {
    let mut attention = plain_attention(num_heads, num_kv_heads, head_dim);
    attention.rope.style = style;
    attention.rope.dim = dim;
    attention.scale = 1.0 / (head_dim as f32).sqrt();
    Case { attention, kv_type: KvType::F16, centered: false, size: 3.0 }
}

#[test]
fn heads_of_every_size_turn() {
    let Some(gpu) = gpu() else { return };
    for style in [RopeStyle::Norm, RopeStyle::Neox] {
        for (shape, dim) in [
            ((1, 1, 2), 2),
            ((4, 2, 8), 8),
            ((3, 3, 20), 10),
            ((7, 1, 64), 64),
            ((2, 2, 80), 32),
            ((5, 5, 96), 96),
            ((32, 8, 128), 128),
            ((4, 1, 256), 256),
            ((9, 3, 250), 100),
            ((2, 1, 16), 0),
        ] {
            case(style, shape, dim).check(gpu);
        }
    }
}

/// A case whose heads are normed.
fn normed(qk_norm: QkNorm, mut case: Case) -> Case {
    case.attention.qk_norm = qk_norm;
    case
}

#[test]
fn heads_are_normed() {
    let Some(gpu) = gpu() else { return };
    for shape in [(4, 2, 16), (16, 8, 128), (4, 1, 256), (9, 3, 20)] {
        for qk_norm in [QkNorm::PerHead, QkNorm::PerHeadOwn, QkNorm::AllHeads, QkNorm::UnitAfterRope] {
            normed(qk_norm, case(RopeStyle::Neox, shape, shape.2)).check(gpu);
            // Tiny values, so that epsilon counts.
            normed(qk_norm, Case { size: 1e-3, ..case(RopeStyle::Norm, shape, shape.2) }).check(gpu);
            if qk_norm != QkNorm::AllHeads {
                normed(qk_norm, Case { centered: true, ..case(RopeStyle::Neox, shape, shape.2 / 2) }).check(gpu);
            }
        }
    }
}

#[test]
fn values_are_normed_and_queries_come_alone() {
    let Some(gpu) = gpu() else { return };
    for shape in [(4, 2, 16), (2, 1, 320), (8, 1, 512)] {
        let mut case = normed(QkNorm::PerHead, case(RopeStyle::Neox, shape, shape.2));
        case.attention.values = Values::UnitNorm;
        case.check(gpu);
        // The same rows cut shorter give the same queries, and no keys.
        let data = case.data();
        let queries = case.run(gpu, &data).queries;
        let width = case.attention.q_size() + 2 * case.attention.kv_size();
        let rows = data.qkv.chunks(width).flat_map(|row| row[..case.attention.q_size()].to_vec()).collect();
        case.attention.kv_source = Some(0);
        let found = case.run(gpu, &Data { qkv: rows, ..data });
        assert!(found.queries == queries && found.bytes.iter().all(|&byte| byte == 0xff));
    }
}

#[test]
fn rotations_scale_and_queries_sharpen_with_the_position() {
    let Some(gpu) = gpu() else { return };
    for shape in [(4, 2, 16), (7, 1, 64)] {
        let mut case = case(RopeStyle::Norm, shape, shape.2 / 2);
        case.attention.rope.magnitude = 1.19;
        case.attention.temperature = Some(Temperature { scale: 0.1, floor: 8, offset: 1 });
        case.check(gpu);
    }
}

#[test]
fn keys_and_values_become_q8_0() {
    let Some(gpu) = gpu() else { return };
    for shape in [(2, 2, 32), (7, 1, 64), (3, 1, 96), (8, 2, 128), (4, 1, 256)] {
        Case { kv_type: KvType::Q8_0, ..case(RopeStyle::Neox, shape, shape.2) }.check(gpu);
        normed(QkNorm::PerHead, Case { kv_type: KvType::Q8_0, ..case(RopeStyle::Norm, shape, shape.2 / 2) }).check(gpu);
        // All zero but for signs: a scale of zero.
        Case { kv_type: KvType::Q8_0, size: 0.0, ..case(RopeStyle::Norm, shape, shape.2) }.check(gpu);
    }
}

#[test]
fn large_queries_shrink_before_they_become_f16() {
    let Some(gpu) = gpu() else { return };
    let mut case = case(RopeStyle::Neox, (2, 1, 64), 64);
    case.size = 40_000.0;
    case.attention.scale = 0.01;
    case.attention.rope.dim = 0;
    case.check(gpu);
    // Rotated, keys may exceed f16's range: they become its largest.
    case.attention.rope.dim = 64;
    let data = case.data();
    let found = case.run(gpu, &data);
    let finite = |bits: u16| f16_to_f32(bits).is_finite();
    assert!(found.queries[..case.attention.q_size()].iter().all(|&q| finite(q)));
    let (key, _) = case.stored(&found.keys, SLOTS[5] as usize, 0);
    assert!(key.iter().all(|x| x.is_finite()), "{key:?}");
}
