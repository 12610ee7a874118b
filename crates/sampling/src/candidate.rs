//! Tokens that may still be chosen, and the search for the best of a row.

use std::cmp::Reverse;

use types::TokenId;

/// Logits looked at together when most of them are below the best ones found so far.
const SCAN: usize = 64;

/// Independent maxima of a scan, as many as a vector register holds.
const LANES: usize = 16;

/// A token with its logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) id: TokenId,
    pub(crate) logit: f32,
}

impl Candidate {
    /// A candidate; a logit that is no number counts as impossible.
    #[inline]
    pub(crate) fn new(id: TokenId, logit: f32) -> Self {
        Self { id, logit: if logit.is_nan() { f32::NEG_INFINITY } else { logit } }
    }

    /// Sorts descending by logit, equal ones ascending by id.
    #[inline]
    fn rank(&self) -> Reverse<u64> {
        // Adding zero makes -0 to 0; then the bits of a float order as integers, the negative ones backwards.
        let bits = (self.logit + 0.0).to_bits();
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Reverse(u64::from(ordered) << 32 | u64::from(!self.id.0))
    }
}

/// The token with the largest logit; of equal ones the first, and the very first where none is above `-inf`.
pub(crate) fn argmax(logits: &[f32]) -> TokenId {
    let max = max(logits);
    // Whole scans first: a loop that may end at any element does not become vector code.
    let holds_max = |scan: &[f32]| scan.iter().fold(false, |any, &logit| any | (logit == max));
    let first = logits.chunks(SCAN).position(holds_max).unwrap_or(0) * SCAN;
    let offset = logits[first..].iter().position(|&logit| logit == max).unwrap_or(0);
    TokenId((first + offset) as u32)
}

/// The largest logit; `-inf` where there is none.
pub(crate) fn max(logits: &[f32]) -> f32 {
    // Comparisons with NaN are false, so that NaN never becomes a maximum.
    let larger = |max: f32, x: &f32| if *x > max { *x } else { max };
    let (chunks, rest) = logits.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (max, x) in lanes.iter_mut().zip(chunk) {
            *max = larger(*max, x);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, larger)
}

/// Fills `out` with the `k` best of a row, best first: one pass that keeps what is above the `k`-th best so far.
pub(crate) fn best(logits: &[f32], k: usize, out: &mut Vec<Candidate>) {
    out.clear();
    // Above `floor`, no later token reaches the first k: an equal one has the larger id.
    let mut floor = None;
    for (scan_idx, scan) in logits.chunks(SCAN).enumerate() {
        if floor.is_some_and(|floor| !scan.iter().fold(false, |any, &logit| any | (logit > floor))) {
            continue;
        }
        for (i, &logit) in scan.iter().enumerate() {
            if floor.is_none_or(|floor| logit > floor) {
                out.push(Candidate::new(TokenId((scan_idx * SCAN + i) as u32), logit));
            }
        }
        if out.len() >= 2 * k + SCAN {
            floor = keep_best(out, k).or(floor);
        }
    }
    keep_best(out, k);
    sort(out);
}

/// Sorts best first.
pub(crate) fn sort(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by_key(Candidate::rank);
}

/// Drops all but the `k` best, in no order; gives the least logit that stays if there were more.
fn keep_best(candidates: &mut Vec<Candidate>, k: usize) -> Option<f32> {
    if candidates.len() <= k || k == 0 {
        candidates.truncate(k);
        return None;
    }
    let (_, last, _) = candidates.select_nth_unstable_by_key(k - 1, Candidate::rank);
    let floor = last.logit;
    candidates.truncate(k);
    Some(floor)
}
