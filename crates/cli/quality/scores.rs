//! Numbers over many predictions.

/// A mean and how sure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mean {
    num: u64,
    sum: f64,
    squares: f64,
}

impl Mean {
    pub(crate) fn add(&mut self, x: f64) {
        (self.num, self.sum, self.squares) = (self.num + 1, self.sum + x, self.squares + x * x);
    }

    pub(crate) fn num(&self) -> u64 {
        self.num
    }

    pub(crate) fn value(&self) -> f64 {
        self.sum / self.num as f64
    }

    /// The standard error of the mean.
    pub(crate) fn error(&self) -> f64 {
        let variance = (self.squares / self.num as f64 - self.value().powi(2)).max(0.0);
        (variance / (self.num.max(2) - 1) as f64).sqrt()
    }
}

/// Natural logs of the probabilities that raw logits stand for.
pub(crate) fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&x| (f64::from(x) - largest).exp()).sum();
    let log_sum = largest + sum.ln();
    logits.iter().map(|&x| f64::from(x) - log_sum).collect()
}

/// `sum p (ln p - ln q)`: what coding with `q` costs beyond coding with `p`, in nats.
pub(crate) fn kl_divergence(ln_p: &[f64], ln_q: &[f64]) -> f64 {
    // A token that cannot come costs nothing, however unlikely the other finds it.
    let term = |(&p, &q): (&f64, &f64)| if p == f64::NEG_INFINITY { 0.0 } else { p.exp() * (p - q) };
    ln_p.iter().zip(ln_q).map(term).sum::<f64>().max(0.0)
}

/// The place of the largest number.
pub(crate) fn largest(values: &[f64]) -> usize {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b])).unwrap_or(0)
}

/// The value that so large a part of the sorted numbers does not exceed.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = ((sorted.len() as f64 - 1.0) * part).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{Mean, kl_divergence, largest, log_softmax, quantile};

    #[test]
    fn probabilities_sum_to_one_whatever_the_size_of_the_logits() {
        let ln_p = log_softmax(&[1000.0, 1000.0, f32::NEG_INFINITY]);
        assert!((ln_p[0] - 0.5_f64.ln()).abs() < 1e-12 && ln_p[2] == f64::NEG_INFINITY);
    }

    #[test]
    fn divergence_is_zero_of_equals_and_known_of_a_coin() {
        let (even, biased) = ([0.5_f64.ln(); 2], [0.9_f64.ln(), 0.1_f64.ln()]);
        assert_eq!(kl_divergence(&even, &even), 0.0);
        let expected = 0.5 * (0.5_f64 / 0.9).ln() + 0.5 * (0.5_f64 / 0.1).ln();
        assert!((kl_divergence(&even, &biased) - expected).abs() < 1e-12);
        assert!(kl_divergence(&[0.0, f64::NEG_INFINITY], &even).is_finite());
    }

    #[test]
    fn means_know_their_error() {
        let mut mean = Mean::default();
        [1.0, 2.0, 3.0, 4.0].into_iter().for_each(|x| mean.add(x));
        assert_eq!((mean.value(), mean.num()), (2.5, 4));
        assert!((mean.error() - (1.25_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((largest(&[0.0, 2.0, 1.0]), quantile(&[1.0, 2.0, 3.0], 0.5)), (1, 2.0));
    }
}
