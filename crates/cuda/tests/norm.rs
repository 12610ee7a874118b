//! The norms and what surrounds them, against f64.

use cuda::{
    device::Span,
    gpu::Gpu,
    ops::norm::{Branch, Norm, NormCall, Normed, Norms, Rows},
};

use crate::{
    act_rows::{ActRows, Wanted},
    support::{Random, assert_close, gpu, upload},
};

const EPS: f32 = 1e-5;
/// Of f32 results: sums of up to 16384 squares in a tree, and three roundings.
const RTOL: f64 = 2e-6;
/// Of differences to the mean, and of sums with a bias: in units of the largest values.
const LAYER_ATOL: f64 = 6e-6;
/// What branches are multiplied by.
const SCALE: f32 = 0.22;

/// The norms under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Rms,
    Layer,
    LayerWithBias,
    /// Without weights, too (OLMo).
    PlainLayer,
}

struct Data {
    rows: usize,
    cols: usize,
    x: Vec<f32>,
    branch: Vec<f32>,
    branch_weight: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Data {
    fn new(rows: usize, cols: usize) -> Self {
        let mut random = Random::new((rows * 100_000 + cols) as u64);
        let mut x = random.floats(rows * cols, 3.0);
        // One row is tiny, so that epsilon counts, and one all zero.
        x.chunks_mut(cols).skip(1).take(1).for_each(|row| row.iter_mut().for_each(|x| *x *= 1e-3));
        x.chunks_mut(cols).skip(2).take(1).for_each(|row| row.fill(0.0));
        let branch = random.floats(rows * cols, 20.0);
        let branch_weight = random.floats(cols, 1.0);
        let (weight, bias) = (random.floats(cols, 2.0), random.floats(cols, 1.0));
        Self { rows, cols, x, branch, branch_weight, weight, bias }
    }

    fn normed_as(&self, kind: Kind, row: &[f64]) -> Vec<f64> {
        let mean = row.iter().sum::<f64>() / self.cols as f64;
        let centered: Vec<f64> = row.iter().map(|x| x - mean).collect();
        match kind {
            Kind::None => row.to_vec(),
            Kind::Rms => self.normed(row, &self.weight),
            Kind::Layer => self.normed(&centered, &self.weight),
            Kind::LayerWithBias => {
                let normed = self.normed(&centered, &self.weight).into_iter();
                normed.zip(&self.bias).map(|(x, bias)| x + f64::from(*bias)).collect()
            }
            Kind::PlainLayer => self.normed(&centered, &vec![1.0; self.cols]),
        }
    }

    fn normed(&self, row: &[f64], weight: &[f32]) -> Vec<f64> {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / self.cols as f64;
        let inverse = 1.0 / (mean + f64::from(EPS)).sqrt();
        row.iter().zip(weight).map(|(x, weight)| x * inverse * f64::from(*weight)).collect()
    }

    /// The residual stream after the branch.
    fn added(&self, with_weight: bool) -> Vec<f64> {
        let mut out = Vec::new();
        for (x, branch) in self.x.chunks(self.cols).zip(self.branch.chunks(self.cols)) {
            let branch: Vec<f64> = branch.iter().map(|x| f64::from(*x)).collect();
            let branch = if with_weight { self.normed(&branch, &self.branch_weight) } else { branch };
            out.extend(x.iter().zip(branch).map(|(x, branch)| f64::from(*x) + f64::from(SCALE) * branch));
        }
        out
    }
}

fn floats(span: Span<f32>, gpu: &Gpu) -> Vec<f32> {
    gpu.device.download(span).expect("the copy works")
}

fn check(gpu: &Gpu, data: &Data, kind: Kind, wanted: Wanted) {
    let Data { rows, cols, .. } = *data;
    let op = Norms::new(gpu).expect("kernels");
    let (_x, x) = upload(gpu, &data.x);
    let (_branch, values) = upload(gpu, &data.branch);
    let (_branch_weight, branch_weight) = upload(gpu, &data.branch_weight);
    let (_weight, weight) = upload(gpu, &data.weight);
    let (_bias, bias) = upload(gpu, &data.bias);
    let (norm, atol) = match kind {
        Kind::None => (Norm::None, 0.0),
        Kind::Rms => (Norm::Rms { weight }, 0.0),
        Kind::Layer => (Norm::Layer { weight: Some(weight), bias: None }, LAYER_ATOL),
        Kind::LayerWithBias => (Norm::Layer { weight: Some(weight), bias: Some(bias) }, LAYER_ATOL),
        Kind::PlainLayer => (Norm::Layer { weight: None, bias: None }, LAYER_ATOL),
    };
    for branch in [None, Some(None), Some(Some(branch_weight))] {
        let what = format!("{kind:?}: {rows} rows of {cols}, {wanted:?}, branch {branch:?}");
        gpu.device.upload(x, &data.x).expect("the copy works");
        let act = ActRows::new(gpu, wanted, rows, cols);
        let call = NormCall {
            x,
            cols,
            rows: Rows::First(rows),
            branch: branch.map(|weight| Branch { values, weight, scale: SCALE, sum_scale: None }),
            norm: Some((norm, act.out().into())),
            eps: EPS,
        };
        op.run(&gpu.device, &call).expect("the launch works");
        let added = match branch {
            None => data.x.iter().map(|x| f64::from(*x)).collect(),
            Some(weight) => data.added(weight.is_some()),
        };
        let found = floats(x, gpu);
        assert_close(&what, &found, &added, 4e-6, RTOL);
        // From the sums as they are: where x and the branch cancel, little is left of their precision.
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        let normed: Vec<f64> = found.chunks(cols).flat_map(|row| data.normed_as(kind, row)).collect();
        act.check_within(gpu, &what, &normed, (RTOL * 2.0, atol));
    }
}

#[test]
fn norms_are_those_of_f64() {
    let Some(gpu) = gpu() else { return };
    for kind in [Kind::None, Kind::Rms, Kind::Layer, Kind::LayerWithBias, Kind::PlainLayer] {
        for (rows, cols) in
            [(3, 32), (1, 96), (17, 160), (5, 1152), (3, 2048), (3, 2080), (2, 4096), (3, 5120), (3, 8192)]
        {
            check(gpu, &Data::new(rows, cols), kind, Wanted::Both);
        }
        check(gpu, &Data::new(3, 14_336), kind, Wanted::Int8);
        // Columns that are no whole blocks can only be f16.
        for cols in [4, 36, 1000, 2052] {
            check(gpu, &Data::new(4, cols), kind, Wanted::Half);
        }
    }
}

#[test]
fn a_branch_can_be_added_without_a_norm_behind_it() {
    let Some(gpu) = gpu() else { return };
    let data = Data::new(4, 1152);
    let op = Norms::new(gpu).expect("kernels");
    let (_x, x) = upload(gpu, &data.x);
    let (_branch, values) = upload(gpu, &data.branch);
    let (_weight, weight) = upload(gpu, &data.branch_weight);
    let branch = Some(Branch { values, weight: Some(weight), scale: SCALE, sum_scale: None });
    let call = NormCall { x, cols: 1152, rows: Rows::First(4), branch, norm: None, eps: EPS };
    op.run(&gpu.device, &call).expect("the launch works");
    assert_close("added", &floats(x, gpu), &data.added(true), 4e-6, RTOL);
}

#[test]
fn sums_can_be_scaled() {
    let Some(gpu) = gpu() else { return };
    let data = Data::new(5, 288);
    let (_x, x) = upload(gpu, &data.x);
    let (_branch, values) = upload(gpu, &data.branch);
    let (_scale, sum_scale) = upload(gpu, &[0.37_f32]);
    let branch = Some(Branch { values, weight: None, scale: SCALE, sum_scale: Some(sum_scale) });
    let act = ActRows::new(gpu, Wanted::Both, 5, 288);
    let call =
        NormCall { x, cols: 288, rows: Rows::First(5), branch, norm: Some((Norm::None, act.out().into())), eps: EPS };
    Norms::new(gpu).and_then(|op| op.run(&gpu.device, &call)).expect("the launch works");
    let expected: Vec<f64> = data.added(false).iter().map(|x| f64::from(0.37_f32) * x).collect();
    assert_close("scaled", &floats(x, gpu), &expected, 4e-6, RTOL);
    let found: Vec<f64> = floats(x, gpu).into_iter().map(f64::from).collect();
    act.check(gpu, "scaled", &found, RTOL);
}

/// As blocks that norm the residual stream itself want it: the sum, normed, in place and as inputs.
#[test]
fn rows_can_be_normed_in_place() {
    let Some(gpu) = gpu() else { return };
    let op = Norms::new(gpu).expect("kernels");
    for (rows, cols) in [(5, 64), (3, 768), (4, 2052), (2, 8192)] {
        let data = Data::new(rows, cols);
        let (_weight, weight) = upload(gpu, &data.weight);
        let (_bias, bias) = upload(gpu, &data.bias);
        let (_branch, values) = upload(gpu, &data.branch);
        let layer = Norm::Layer { weight: Some(weight), bias: Some(bias) };
        for (norm, kind, atol) in [
            (layer, Kind::LayerWithBias, LAYER_ATOL),
            (Norm::Rms { weight }, Kind::Rms, 0.0),
            (Norm::None, Kind::None, 0.0),
        ] {
            let what = format!("{kind:?}: {rows} rows of {cols} in place");
            let expected: Vec<f64> = data.added(false).chunks(cols).flat_map(|row| data.normed_as(kind, row)).collect();
            let act = ActRows::new(gpu, Wanted::Half, rows, cols);
            for out in [None, Some(act.out())] {
                let (_x, x) = upload(gpu, &data.x);
                let branch = Some(Branch { values, weight: None, scale: SCALE, sum_scale: None });
                let norm = Some((norm, Normed { act: out, rows: Some(x) }));
                let call = NormCall { x, cols, rows: Rows::First(rows), branch, norm, eps: EPS };
                op.run(&gpu.device, &call).expect("the launch works");
                // The sum is rounded before it is normed.
                let found = floats(x, gpu);
                assert_close(&what, &found, &expected, atol + 2e-5, RTOL * 4.0);
                if out.is_some() {
                    let found: Vec<f64> = found.into_iter().map(f64::from).collect();
                    act.check(gpu, &what, &found, RTOL);
                }
            }
        }
    }
}

#[test]
fn picked_rows_are_normed_in_their_order() {
    let Some(gpu) = gpu() else { return };
    let data = Data::new(9, 288);
    let op = Norms::new(gpu).expect("kernels");
    let (_x, x) = upload(gpu, &data.x);
    let (_weight, weight) = upload(gpu, &data.weight);
    let picked = [7, 0, 7, 3_u32];
    let (_ids, ids) = upload(gpu, &picked);
    let act = ActRows::new(gpu, Wanted::Both, 4, 288);
    let mut call = NormCall {
        x,
        cols: 288,
        rows: Rows::Picked(ids),
        branch: None,
        norm: Some((Norm::Rms { weight }, act.out().into())),
        eps: EPS,
    };
    op.run(&gpu.device, &call).expect("the launch works");
    let row = |id: &u32| data.x[*id as usize * 288..][..288].iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    let expected: Vec<f64> = picked.iter().flat_map(|id| data.normed(&row(id), &data.weight)).collect();
    act.check(gpu, "picked", &expected, RTOL);
    // Padding leaves its rows alone.
    let before = act.bytes(gpu);
    let (_padding, padding) = upload(gpu, &[u32::MAX; 4]);
    call.rows = Rows::Picked(padding);
    op.run(&gpu.device, &call).expect("the launch works");
    assert!(act.bytes(gpu) == before);
}

#[test]
fn a_row_alone_is_the_row_in_a_batch_to_the_bit() {
    let Some(gpu) = gpu() else { return };
    let data = Data::new(33, 4096);
    let op = Norms::new(gpu).expect("kernels");
    let (_weight, weight) = upload(gpu, &data.weight);
    let (_branch_weight, branch_weight) = upload(gpu, &data.branch_weight);
    let run = |first: usize, rows: usize| {
        let part = first * 4096..(first + rows) * 4096;
        let (_x, x) = upload(gpu, &data.x[part.clone()]);
        let (_branch, values) = upload(gpu, &data.branch[part]);
        let act = ActRows::new(gpu, Wanted::Half, rows, 4096);
        let branch = Some(Branch { values, weight: Some(branch_weight), scale: SCALE, sum_scale: None });
        let norm = Some((Norm::Rms { weight }, act.out().into()));
        let call = NormCall { x, cols: 4096, rows: Rows::First(rows), branch, norm, eps: EPS };
        op.run(&gpu.device, &call).expect("the launch works");
        act.bytes(gpu)
    };
    let all = run(0, 33);
    for row in [0, 1, 2, 31, 32] {
        assert!(run(row, 1) == all[row * 8192..][..8192], "row {row}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(gpu) = gpu() else { return };
    let op = Norms::new(gpu).expect("kernels");
    let (_x, x) = upload(gpu, &[1.0_f32; 256]);
    let act = ActRows::new(gpu, Wanted::Int8, 2, 128);
    let fits = NormCall {
        x,
        cols: 128,
        rows: Rows::First(2),
        branch: None,
        norm: Some((Norm::Rms { weight: x }, act.out().into())),
        eps: EPS,
    };
    assert!(op.run(&gpu.device, &fits).is_ok());
    let misfits = [
        NormCall { rows: Rows::First(3), ..fits },
        NormCall { cols: 64, ..fits },
        NormCall { x: x.slice(1..256), rows: Rows::First(1), ..fits },
        NormCall {
            branch: Some(Branch { values: x.slice(0..128), weight: None, scale: SCALE, sum_scale: None }),
            ..fits
        },
    ];
    for call in misfits {
        assert!(op.run(&gpu.device, &call).is_err(), "{call:?}");
    }
}
