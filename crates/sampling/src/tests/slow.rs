//! The chain written again: every stage sorts and copies what it likes.

use types::{SamplingParams, TokenId};

type Row = Vec<(u32, f32)>;

/// What [`crate::Sampler::choose`] must give.
pub(super) fn choose(logits: &[f32], params: &SamplingParams, recent: &[TokenId], uniform: f64) -> TokenId {
    let mut row: Row = (0..).zip(logits.iter().copied()).collect();
    for (token, bias) in &params.logit_bias {
        row.iter_mut().filter(|(id, _)| *id == token.0).for_each(|(_, logit)| *logit += bias);
    }
    penalize(&mut row, params, recent);
    row.iter_mut().filter(|(_, logit)| logit.is_nan()).for_each(|(_, logit)| *logit = f32::NEG_INFINITY);
    if params.temperature <= 0.0 {
        return TokenId(descending(row)[0].0);
    }
    if params.top_k > 0 {
        row = descending(row);
        row.truncate(params.top_k as usize);
    }
    if params.top_p < 1.0 {
        let probabilities = softmax(&row);
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].1.total_cmp(&row[a].1));
        let mut reached = 0.0;
        let mut kept = Row::new();
        for i in order {
            kept.push(row[i]);
            reached += probabilities[i];
            if reached >= params.top_p && kept.len() >= params.min_keep as usize {
                break;
            }
        }
        row = kept;
    }
    if params.min_p > 0.0 {
        let least = max(&row) + params.min_p.ln();
        let kept: Row = row.iter().copied().filter(|(_, logit)| *logit >= least).collect();
        let min_keep = params.min_keep.max(1) as usize;
        if kept.len() >= min_keep {
            row = kept;
        } else {
            row = descending(row);
            row.truncate(min_keep);
        }
    }
    draw(&row, params.temperature, uniform)
}

fn penalize(row: &mut Row, params: &SamplingParams, recent: &[TokenId]) {
    let recent = &recent[recent.len().saturating_sub(params.repeat_last_n as usize)..];
    for (id, logit) in row {
        let count = recent.iter().filter(|token| token.0 == *id).count();
        if count > 0 {
            *logit = if *logit <= 0.0 { *logit * params.repeat_penalty } else { *logit / params.repeat_penalty };
            *logit -= count as f32 * params.frequency_penalty + params.presence_penalty;
        }
    }
}

fn draw(row: &Row, temperature: f32, uniform: f64) -> TokenId {
    let scaled: Row = row.iter().map(|(id, logit)| (*id, logit / temperature)).collect();
    let max = max(&scaled);
    let weights: Vec<f64> = scaled.iter().map(|(_, logit)| f64::from((logit - max).exp())).collect();
    let sum: f64 = weights.iter().sum();
    let chosen = (1..=row.len()).find(|&n| {
        let running: f64 = weights[..n].iter().sum();
        running > 0.0 && running >= sum * uniform
    });
    TokenId(chosen.map_or_else(|| descending(row.clone())[0].0, |n| row[n - 1].0))
}

fn softmax(row: &Row) -> Vec<f32> {
    let max = max(row);
    let weights: Vec<f32> = row.iter().map(|(_, logit)| (logit - max).exp()).collect();
    let sum: f32 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

fn max(row: &Row) -> f32 {
    row.iter().map(|(_, logit)| *logit).fold(f32::NEG_INFINITY, f32::max)
}

/// Best first; a stable sort keeps the order of ids among equals.
fn descending(mut row: Row) -> Row {
    row.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap());
    row
}
