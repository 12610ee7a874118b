//! Experts: the choice, products with chosen experts, and the weighted sum, against f64.

use cuda::{
    device::{Buffer, Span},
    gpu::Gpu,
    ops::{
        act_out::{ActOut, ActPlanes, ActQ8},
        matmul::{ActivationKind, QuantizeAct, Scale},
        moe::{
            ExpertMatmul, ExpertMatmulCall, ExpertSum, ExpertSumCall, Grouping, Route, RouteCall, Routes, SharedOut,
            max_tiles, padded_rows,
        },
    },
};
use model::{ExpertGroups, GroupScore, Moe, Scoring};
use quant::{GgmlType, f16_to_f32, f32_to_f16};

use crate::{
    support::{Random, assert_close, gpu, poisoned, upload},
    weights::{Weights, types},
};

/// Error of f32 sums relative to the sum of magnitudes.
const SUM_ERROR: f64 = 1e-5;
/// Of f32 probabilities: an exponential, a sum and two divisions.
const PROB_ERROR: f64 = 1e-5;

fn spec(num_experts: usize, num_used: usize, normalize: bool) -> Moe {
    Moe { normalize, ..Moe::plain((num_used, num_experts), 16) }
}

/// Routes on the device with their memory.
struct Room {
    routes: Routes,
    _buffers: [Buffer; 4],
}

impl Room {
    fn new(gpu: &Gpu, pairs: usize, num_experts: usize) -> Self {
        let (a, experts) = poisoned(gpu, pairs);
        let (b, weights) = poisoned(gpu, pairs);
        let (c, order) = poisoned(gpu, pairs);
        let (d, tiles) = poisoned(gpu, 4 * max_tiles(pairs, num_experts));
        let grouping = Grouping::Few;
        Self { routes: Routes { experts, weights, order, tiles, grouping }, _buffers: [a, b, c, d] }
    }

    /// Chooses by these logits.
    fn route(gpu: &Gpu, logits: &[f32], spec: &Moe) -> Self {
        Self::route_padded(gpu, logits, spec, None)
    }

    /// The same, listed so.
    fn route_grouped(gpu: &Gpu, logits: &[f32], spec: &Moe, grouping: Grouping) -> Self {
        let mut room = Self::route(gpu, logits, spec);
        room.routes.grouping = grouping;
        let counts = (logits.len() / spec.num_experts * spec.num_used, spec.num_experts);
        Route::new(gpu).and_then(|op| op.group(&gpu.device, counts, room.routes)).expect("the launch works");
        room
    }

    /// The same; tokens whose slot is `u32::MAX` are padding.
    fn route_padded(gpu: &Gpu, logits: &[f32], spec: &Moe, slots: Option<Span<u32>>) -> Self {
        let tokens = logits.len() / spec.num_experts;
        let room = Self::new(gpu, tokens * spec.num_used, spec.num_experts);
        let (_logits, span) = upload(gpu, logits);
        let call = RouteCall { logits: span, tokens, slots, spec, bias: None, routes: room.routes };
        Route::new(gpu).and_then(|op| op.run(&gpu.device, &call)).expect("the launches work");
        gpu.device.synchronize().expect("the kernels work");
        room
    }

    fn experts(&self, gpu: &Gpu) -> Vec<u32> {
        gpu.device.download(self.routes.experts).expect("a copy")
    }

    fn weights(&self, gpu: &Gpu) -> Vec<f32> {
        gpu.device.download(self.routes.weights).expect("a copy")
    }

    /// Every pair stands in one tile, which is its expert's.
    fn check_groups(&self, gpu: &Gpu, what: &str) {
        let experts = self.experts(gpu);
        let order = gpu.device.download(self.routes.order).expect("a copy");
        let tiles = gpu.device.download(self.routes.tiles).expect("a copy");
        let mut seen: Vec<i32> = experts.iter().map(|&expert| i32::from(expert == u32::MAX)).collect();
        for tile in tiles.chunks_exact(4) {
            let [expert, first, count, _] = tile.try_into().expect("four words");
            assert!(count as usize <= self.routes.grouping.tile_pairs(), "{what}: a tile of {count} pairs");
            for &pair in &order[first as usize..(first + count) as usize] {
                assert_eq!(experts[pair as usize], expert, "{what}: pair {pair}");
                seen[pair as usize] += 1;
            }
        }
        assert!(seen.iter().all(|&n| n == 1), "{what}: tiles hold pairs so often: {seen:?}");
    }
}

/// Experts and weights of one token.
fn expected_route(logits: &[f32], spec: &Moe) -> (Vec<u32>, Vec<f64>) {
    let top = logits.iter().fold(f64::NEG_INFINITY, |top, &x| top.max(f64::from(x)));
    let powers: Vec<f64> = logits.iter().map(|&x| (f64::from(x) - top).exp()).collect();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    order.truncate(spec.num_used);
    let sum: f64 = if spec.normalize { order.iter().map(|&i| powers[i]).sum() } else { powers.iter().sum() };
    order.iter().map(|&i| (i as u32, powers[i] / sum)).unzip()
}

#[test]
fn the_most_probable_experts_are_chosen() {
    let Some(gpu) = gpu() else { return };
    for (tokens, num_experts, num_used) in
        [(1, 4, 2), (3, 5, 5), (9, 8, 1), (33, 60, 4), (130, 128, 8), (7, 1024, 32), (700, 4, 3), (2, 1, 1)]
    {
        for normalize in [true, false] {
            let spec = spec(num_experts, num_used, normalize);
            let what = format!("{tokens} tokens, {num_used} of {num_experts}, normalize {normalize}");
            // Multiples of 1/64: many are equal, and none so near to another that f32 could confuse them.
            let mut random = Random::new((tokens * 7 + num_experts) as u64);
            let logits: Vec<f32> = (0..tokens * num_experts).map(|_| random.below(512) as f32 / 64.0 - 4.0).collect();
            let room = Room::route(gpu, &logits, &spec);
            let (mut experts, mut weights) = (Vec::new(), Vec::new());
            for row in logits.chunks_exact(num_experts) {
                let (chosen, share) = expected_route(row, &spec);
                experts.extend(chosen);
                weights.extend(share);
            }
            assert_eq!(room.experts(gpu), experts, "{what}");
            assert_close(&what, &room.weights(gpu), &weights, 0.0, PROB_ERROR);
            room.check_groups(gpu, &what);
        }
    }
}

/// Experts and weights of one token, by any scoring and choice.
fn chosen_by_score(logits: &[f32], bias: &[f32], spec: &Moe) -> (Vec<u32>, Vec<f64>) {
    let top = logits.iter().fold(f64::NEG_INFINITY, |top, &x| top.max(f64::from(x)));
    let powers: f64 = logits.iter().map(|&x| (f64::from(x) - top).exp()).sum();
    let score = |&x: &f32| match spec.scoring {
        Scoring::Softmax => (f64::from(x) - top).exp() / powers,
        Scoring::Sigmoid => 1.0 / (1.0 + (-f64::from(x)).exp()),
    };
    let scores: Vec<f64> = logits.iter().map(score).collect();
    let mut choices: Vec<f64> = scores.iter().zip(bias).map(|(score, &bias)| score + f64::from(bias)).collect();
    if let Some(ExpertGroups { count, used, score }) = spec.groups {
        let size = choices.len() / count;
        let best = |group: &[f64]| {
            let mut group = group.to_vec();
            group.sort_by(|a, b| b.total_cmp(a));
            group[0] + if score == GroupScore::BestTwo && size > 1 { group[1] } else { 0.0 }
        };
        let group_scores: Vec<f64> = choices.chunks(size).map(best).collect();
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| group_scores[b].total_cmp(&group_scores[a]).then(a.cmp(&b)));
        order[used..].iter().for_each(|&group| choices[group * size..(group + 1) * size].fill(f64::NEG_INFINITY));
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| choices[b].total_cmp(&choices[a]).then(a.cmp(&b)));
    order.truncate(spec.num_used);
    let sum: f64 = if spec.normalize { order.iter().map(|&i| scores[i]).sum() } else { 1.0 };
    order.iter().map(|&i| (i as u32, scores[i] / sum * f64::from(spec.weight_scale))).unzip()
}

#[test]
fn scores_biases_and_groups_decide() {
    let Some(gpu) = gpu() else { return };
    for (tokens, num_experts, num_used, groups) in [
        (3, 8, 2, None),
        (9, 64, 6, Some((8, 3))),
        (33, 160, 6, Some((8, 3))),
        (5, 256, 8, Some((8, 4))),
        (2, 32, 4, Some((32, 5))),
        (2, 64, 32, Some((2, 1))),
    ] {
        for scoring in [Scoring::Softmax, Scoring::Sigmoid] {
            for (score, normalize) in [(GroupScore::Best, true), (GroupScore::BestTwo, false)] {
                let spec = Moe {
                    scoring,
                    groups: groups.map(|(count, used)| ExpertGroups { count, used, score }),
                    weight_scale: 2.5,
                    ..spec(num_experts, num_used, normalize)
                };
                let mut random = Random::new((tokens * 7 + num_experts) as u64);
                let logits = random.floats(tokens * num_experts, 3.0);
                let bias = random.floats(num_experts, 0.3);
                let room = Room::new(gpu, tokens * num_used, num_experts);
                let (_logits, logits_span) = upload(gpu, &logits);
                let (_bias, bias_span) = upload(gpu, &bias);
                let (bias_in, routes) = (Some(bias_span), room.routes);
                let call = RouteCall { logits: logits_span, tokens, slots: None, spec: &spec, bias: bias_in, routes };
                Route::new(gpu).and_then(|op| op.run(&gpu.device, &call)).expect("the launches work");
                let (mut experts, mut weights) = (Vec::new(), Vec::new());
                for row in logits.chunks_exact(num_experts) {
                    let (chosen, share) = chosen_by_score(row, &bias, &spec);
                    experts.extend(chosen);
                    weights.extend(share);
                }
                let what = format!("{tokens} tokens, {spec:?}");
                assert_eq!(room.experts(gpu), experts, "{what}");
                assert_close(&what, &room.weights(gpu), &weights, 0.0, PROB_ERROR);
                room.check_groups(gpu, &what);
            }
        }
    }
}

#[test]
fn padding_passes_no_expert() {
    let Some(gpu) = gpu() else { return };
    let logits = Random::new(4).floats(9 * 6, 3.0);
    let slots: Vec<u32> = (0..9).map(|i| if i % 3 == 1 { u32::MAX } else { i }).collect();
    let (_slots, span) = upload(gpu, &slots);
    let spec = spec(6, 2, true);
    let (padded, plain) = (Room::route_padded(gpu, &logits, &spec, Some(span)), Room::route(gpu, &logits, &spec));
    padded.check_groups(gpu, "padded");
    let found = padded.experts(gpu).into_iter().zip(padded.weights(gpu));
    for (i, (found, unpadded)) in found.zip(plain.experts(gpu).into_iter().zip(plain.weights(gpu))).enumerate() {
        let expected = if slots[i / 2] == u32::MAX { (u32::MAX, 0.0) } else { unpadded };
        assert_eq!(found, expected, "pair {i}");
    }
}

#[test]
fn logits_that_are_no_numbers_still_choose_experts() {
    let Some(gpu) = gpu() else { return };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
        let mut logits = vec![bad; 3 * 40];
        logits[45] = 1.0;
        let room = Room::route(gpu, &logits, &spec(40, 6, true));
        for chosen in room.experts(gpu).chunks_exact(6) {
            let mut chosen = chosen.to_vec();
            chosen.sort_unstable();
            chosen.dedup();
            assert!(chosen.len() == 6 && chosen.iter().all(|&expert| expert < 40), "{bad}: {chosen:?}");
        }
        room.check_groups(gpu, &format!("{bad}"));
    }
}

/// Inputs on the device, and the numbers they stand for.
struct Inputs {
    act: ActOut,
    /// `[rows, cols]`.
    values: Vec<f64>,
    _buffers: Vec<Buffer>,
}

impl Inputs {
    fn new(gpu: &Gpu, kind: ActivationKind, rows: usize, cols: usize) -> Self {
        let padded = ActQ8::padded_cols(cols);
        let x = Random::new((rows * 3 + cols) as u64).floats(rows * cols, 2.0);
        if kind == ActivationKind::Half {
            let mut halves = vec![0_u16; rows * padded];
            for (row, x) in halves.chunks_exact_mut(padded).zip(x.chunks_exact(cols)) {
                row.iter_mut().zip(x).for_each(|(half, &x)| *half = f32_to_f16(x));
            }
            let (buffer, span) = upload(gpu, &halves);
            let values = x.iter().map(|&x| f64::from(f16_to_f32(f32_to_f16(x)))).collect();
            return Self { act: ActOut::half(span, rows, cols).expect("inputs"), values, _buffers: vec![buffer] };
        }
        let (q_room, q) = poisoned::<i8>(gpu, rows * padded);
        let (d_room, d) = poisoned::<f32>(gpu, rows * padded / 32);
        let (s_room, s) = poisoned::<f32>(gpu, rows * padded / 32);
        let (x_room, span) = upload(gpu, &x);
        let q8 = ActQ8::new(ActPlanes { q, d, s }, rows, cols).expect("inputs");
        QuantizeAct::new(gpu).and_then(|op| op.run(&gpu.device, span, q8)).expect("inputs");
        let (q, d) = (gpu.device.download(q).expect("a copy"), gpu.device.download(d).expect("a copy"));
        let value = |row: usize, col: usize| {
            f64::from(d[row * (padded / 32) + col / 32]) * f64::from(q[row * padded + int8_place(col)])
        };
        let values = (0..rows * cols).map(|i| value(i / cols, i % cols)).collect();
        Self { act: ActOut::q8(q8, rows), values, _buffers: vec![q_room, d_room, s_room, x_room] }
    }
}

/// Where a column of a row of int8 inputs lies: `kernels/include/quant_act.cuh`.
fn int8_place(col: usize) -> usize {
    col / 64 * 64 + col % 32 / 8 * 16 + col % 64 / 32 * 8 + col % 8 / 4 * 4 + [0, 2, 1, 3][col % 4]
}

/// Experts of one or two matrices, and which of them the pairs go to.
struct Case<'a> {
    /// `[num_experts * padded_rows(rows), cols]`.
    matrices: &'a [Weights],
    rows: usize,
    spec: Moe,
    tokens: usize,
    pairs_per_input: usize,
    /// `[num_experts * rows]` of each matrix, here and on the device.
    biases: [Option<(&'a [f32], Span<f32>)>; 2],
    /// `[num_experts]` of each matrix, which has them on the device.
    scales: [Option<&'a [f32]>; 2],
    weighted: bool,
    grouping: Grouping,
}

impl<'a> Case<'a> {
    fn new(matrices: &'a [Weights], spec: Moe, tokens: usize, pairs_per_input: usize) -> Self {
        let rows = matrices[0].rows / spec.num_experts;
        Self {
            matrices,
            rows,
            spec,
            tokens,
            pairs_per_input,
            biases: [None; 2],
            scales: [None; 2],
            weighted: false,
            grouping: Grouping::Few,
        }
    }
}

impl Case<'_> {
    fn run(&self, gpu: &Gpu, inputs: &Inputs, routes: Routes, out: Span<f32>) {
        let matrices: Vec<_> = self.matrices.iter().map(|weights| &weights.matrix).collect();
        let Self { spec: Moe { num_experts, num_used, .. }, tokens, pairs_per_input, .. } = *self;
        let pairs = tokens * num_used;
        let (act, matrices) = (inputs.act, matrices.as_slice());
        let rows = self.rows;
        let (biases, weighted) = (self.biases.map(|bias| bias.map(|(_, span)| span)), self.weighted);
        let call = ExpertMatmulCall {
            act,
            pairs_per_input,
            pairs,
            matrices,
            rows,
            biases,
            weighted,
            num_experts,
            routes,
            out,
        };
        ExpertMatmul.run(&gpu.device, &call).expect("the launches work");
    }

    fn check(&self, gpu: &Gpu, what: &str) {
        let Self { matrices, spec, tokens, pairs_per_input, .. } = self;
        let (pairs, cols, rows) = (tokens * spec.num_used, matrices[0].cols, self.rows);
        let logits = Random::new(*tokens as u64).floats(tokens * spec.num_experts, 3.0);
        let room = Room::route_grouped(gpu, &logits, spec, self.grouping);
        let kind = ExpertMatmul::activation_kind(&matrices[0].matrix, self.grouping);
        let inputs = Inputs::new(gpu, kind, pairs / pairs_per_input, cols);
        let (_out, out) = poisoned::<f32>(gpu, pairs * matrices.len() * rows);
        self.run(gpu, &inputs, room.routes, out);
        let found = gpu.device.download(out).expect("a product");
        let (experts, pair_weights) = (room.experts(gpu), room.weights(gpu));
        for (i, &found) in found.iter().enumerate() {
            let (pair, column) = (i / (matrices.len() * rows), i % (matrices.len() * rows));
            let weights = &matrices[column / rows];
            let row = experts[pair] as usize * padded_rows(rows) + column % rows;
            let numbers = if kind == ActivationKind::Int8 { &weights.exact } else { &weights.halves };
            let x = &inputs.values[pair / pairs_per_input * cols..][..cols];
            let product = numbers[row * cols..][..cols].iter().zip(x).map(|(&w, x)| f64::from(w) * x);
            let (expected, magnitude): (f64, f64) = (product.sum(), x.iter().map(|x| x.abs()).sum());
            let weight = if self.weighted { f64::from(pair_weights[pair]) } else { 1.0 };
            let at = experts[pair] as usize * rows + column % rows;
            let bias = self.biases[column / rows].map_or(0.0, |(bias, _)| f64::from(bias[at]));
            let scale = self.scales[column / rows].map_or(1.0, |scales| f64::from(scales[experts[pair] as usize]));
            let expected = weight * scale * expected + bias;
            let error = (f64::from(found) - expected).abs();
            // A bias has its last bit too.
            let bound = SUM_ERROR * 2.0 * scale.abs().max(1.0) * weights.row_max(row) * magnitude
                + expected.abs() * 1e-7
                + 1e-12;
            assert!(error <= bound, "{what}: pair {pair}, row {column} is {found}, expected {expected}");
        }
        // Another choice in between moves pairs to other places.
        let again = Room::route_grouped(gpu, &logits, spec, self.grouping);
        let (_second, second) = poisoned::<f32>(gpu, out.len());
        self.run(gpu, &inputs, again.routes, second);
        assert!(gpu.device.download(second).expect("a product") == found, "{what}: the second run differs");
    }
}

#[test]
fn pairs_are_multiplied_by_their_experts() {
    let Some(gpu) = gpu() else { return };
    for ggml_type in types() {
        let all_cols: &[usize] = match ggml_type.block_len() {
            256 => &[256, 1024],
            1 => &[36, 320],
            64 | 128 => &[128, 384],
            _ => &[32, 352],
        };
        for (&cols, (num_experts, rows)) in all_cols.iter().zip([(5, 16), (9, 48)]) {
            let matrices = [Weights::new(gpu, ggml_type, num_experts * rows, cols)];
            for (tokens, num_used) in [(1, 2), (3, 1), (20, 4), (70, 3)] {
                for pairs_per_input in [1, num_used] {
                    let spec = spec(num_experts, num_used, true);
                    let groupings = [Grouping::Few, Grouping::Many, Grouping::Single];
                    for grouping in groupings.into_iter().take(if tokens == 1 { 3 } else { 2 }) {
                        let case = Case { grouping, ..Case::new(&matrices, spec, tokens, pairs_per_input) };
                        let what = format!(
                            "{ggml_type}, {grouping:?}: {num_experts} experts {rows}x{cols}, {tokens} tokens, {num_used} used, input for {pairs_per_input}"
                        );
                        case.check(gpu, &what);
                    }
                }
            }
        }
    }
}

#[test]
fn gate_and_up_stand_side_by_side() {
    let Some(gpu) = gpu() else { return };
    for types in [[GgmlType::Q4_K, GgmlType::Q4_K], [GgmlType::Q4_K, GgmlType::Q6_K], [GgmlType::F16, GgmlType::BF16]] {
        let matrices = types.map(|ggml_type| Weights::new(gpu, ggml_type, 8 * 32, 512));
        for tokens in [1, 17] {
            let case = Case::new(&matrices, spec(8, 2, true), tokens, 2);
            case.check(gpu, &format!("{types:?}, {tokens} tokens"));
        }
    }
}

#[test]
fn products_are_weighted_and_scaled_and_biases_added() {
    let Some(gpu) = gpu() else { return };
    for types in [[GgmlType::Q4_K, GgmlType::Q4_K], [GgmlType::Q8_0, GgmlType::Q6_K], [GgmlType::F16, GgmlType::F16]] {
        let mut matrices = types.map(|ggml_type| Weights::new(gpu, ggml_type, 8 * 32, 512));
        let scales = Random::new(7).floats(8, 3.0);
        let (_scales, scales_span) = upload(gpu, &scales);
        matrices[1].matrix.set_scale(Scale::Each(scales_span));
        let scales = [None, Some(&scales[..])];
        let [a, b] = [5, 6].map(|seed| Random::new(seed).floats(8 * 32, 100.0));
        let (_a, a_span) = upload(gpu, &a);
        let (_b, b_span) = upload(gpu, &b);
        let both = [Some((&a[..], a_span)), Some((&b[..], b_span))];
        for (biases, weighted) in [(both, false), ([None, both[1]], false), ([None; 2], true), (both, true)] {
            // The last rows of an expert may only fill it up.
            for rows in [32, 17, 24] {
                for grouping in [Grouping::Few, Grouping::Many] {
                    let case = Case::new(&matrices, spec(8, 2, false), 170, 2);
                    let case = Case { biases, scales, weighted, rows, grouping, ..case };
                    case.check(gpu, &format!("{types:?}, {grouping:?}, {rows} rows, biases, weighted {weighted}"));
                }
            }
        }
    }
}

/// What a pair gives does not depend on the others: the same bits alone and among many.
#[test]
fn other_pairs_change_nothing() {
    let Some(gpu) = gpu() else { return };
    let matrices = [Weights::new(gpu, GgmlType::Q4_K, 4 * 32, 768)];
    for grouping in [Grouping::Few, Grouping::Many] {
        let inputs = Inputs::new(gpu, ExpertMatmul::activation_kind(&matrices[0].matrix, grouping), 40, 768);
        let logits = Random::new(3).floats(40 * 4, 3.0);
        let run = |tokens: usize| {
            let spec = spec(4, 2, true);
            let room = Room::route_grouped(gpu, &logits[..tokens * 4], &spec, grouping);
            let (_out, out) = poisoned::<f32>(gpu, tokens * 2 * 32);
            Case::new(&matrices, spec, tokens, 2).run(gpu, &inputs, room.routes, out);
            gpu.device.download(out).expect("a product")
        };
        let all = run(40);
        for tokens in [1, 2, 9] {
            assert!(run(tokens) == all[..tokens * 64], "{grouping:?}, {tokens} tokens");
        }
    }
}

#[test]
fn sums_are_weighted_and_the_shared_expert_adds() {
    let Some(gpu) = gpu() else { return };
    for (tokens, num_used, cols) in [(1, 1, 4), (3, 2, 36), (5, 8, 1028), (2, 3, 4096)] {
        let mut random = Random::new((tokens + cols) as u64);
        let rows = random.floats(tokens * num_used * cols, 1.0);
        let weights = random.floats(tokens * num_used, 1.0);
        let shared = random.floats(tokens * cols, 1.0);
        let router = random.floats(cols, 0.2);
        let inputs = Inputs::new(gpu, ActivationKind::Half, tokens, cols);
        let (_rows, rows_span) = upload(gpu, &rows);
        let (_weights, weights_span) = upload(gpu, &weights);
        let (_shared, shared_span) = upload(gpu, &shared);
        let (_router, router_span) = upload(gpu, &router);
        for with_shared in [false, true] {
            let (_out, out) = poisoned::<f32>(gpu, tokens * cols);
            let router_in = (cols != 36).then_some(router_span);
            let shared_out = SharedOut { rows: shared_span, router: router_in, x: inputs.act };
            let (rows_in, shared_in) = (rows_span, with_shared.then_some(shared_out));
            let weighted = num_used != 8;
            let call = ExpertSumCall {
                rows: rows_in,
                weights: weights_span,
                weighted,
                num_used,
                tokens,
                cols,
                shared: shared_in,
                out,
            };
            ExpertSum::new(gpu).and_then(|op| op.run(&gpu.device, &call)).expect("the launch works");
            let expected: Vec<f64> = (0..tokens * cols)
                .map(|i| {
                    let (token, col) = (i / cols, i % cols);
                    let pairs = token * num_used..(token + 1) * num_used;
                    let weight = |p: usize| if weighted { f64::from(weights[p]) } else { 1.0 };
                    let sum: f64 = pairs.map(|p| weight(p) * f64::from(rows[p * cols + col])).sum();
                    let x = &inputs.values[token * cols..][..cols];
                    let dot: f64 = router.iter().zip(x).map(|(&r, x)| f64::from(r) * x).sum();
                    let share = if cols == 36 { 1.0 } else { 1.0 / (1.0 + (-dot).exp()) };
                    sum + if with_shared { f64::from(shared[i]) * share } else { 0.0 }
                })
                .collect();
            let what = format!("{tokens} tokens, {num_used} experts, {cols} columns, shared {with_shared}");
            // Eight products and a sigmoid of a dot product of hundreds.
            assert_close(&what, &gpu.device.download(out).expect("a sum"), &expected, 2e-5, 0.0);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = gpu() else { return };
    let weights = Weights::new(gpu, GgmlType::Q8_0, 4 * 16, 64);
    let inputs = Inputs::new(gpu, ActivationKind::Int8, 3, 64);
    let room = Room::new(gpu, 6, 8);
    let (_out, out) = poisoned::<f32>(gpu, 6 * 16);
    let matrices = [&weights.matrix];
    let fits = ExpertMatmulCall {
        act: inputs.act,
        pairs_per_input: 2,
        pairs: 6,
        matrices: &matrices,
        rows: 16,
        biases: [None; 2],
        weighted: false,
        num_experts: 4,
        routes: room.routes,
        out,
    };
    let op = ExpertMatmul;
    let halves = Inputs::new(gpu, ActivationKind::Half, 3, 64);
    for (call, expect) in [
        (ExpertMatmulCall { pairs: 8, ..fits }, "8 pairs of 4 experts"),
        (ExpertMatmulCall { pairs_per_input: 1, ..fits }, "6 pairs, 1 to each of 3 inputs"),
        (ExpertMatmulCall { num_experts: 8, ..fits }, "for 8 experts of 16 rows"),
        (ExpertMatmulCall { matrices: &[], ..fits }, "0 matrices"),
        (ExpertMatmulCall { act: halves.act, ..fits }, "inputs of the other kind"),
        (ExpertMatmulCall { biases: [None, Some(out.slice(0..63))], ..fits }, "a bias of 63 elements"),
        (ExpertMatmulCall { out: out.slice(0..95), ..fits }, "out has 95 elements, 96"),
    ] {
        let message = op.run(&gpu.device, &call).expect_err("a refusal").to_string();
        assert!(message.contains(expect), "{message:?} does not hold {expect:?}");
    }
    let (_logits, logits) = upload(gpu, &[0.0_f32; 12]);
    let route = Route::new(gpu).expect("kernels");
    for (spec, expect) in
        [(spec(4, 5, true), "5 of 4 experts"), (spec(40, 33, true), "33 of 40"), (spec(5, 2, true), "12 logits")]
    {
        let call = RouteCall { logits, tokens: 3, slots: None, spec: &spec, bias: None, routes: room.routes };
        let message = route.run(&gpu.device, &call).expect_err("a refusal").to_string();
        assert!(message.contains(expect), "{message:?} does not hold {expect:?}");
    }
}
