//! How many prompt tokens a step may take without holding up the sequences that decode beside them.

use std::time::Duration;

/// Fewer would not use the device; also the fewest whose time tells something about its speed.
const MIN_PREFILL_TOKENS: usize = 16;

/// Before anything was measured.
const FIRST_GUESS: usize = 64;

/// Follows the measured steps towards a step time.
///
/// With a step of `n` prompt tokens that took `t`, the next limit is `n * target / t`. Where a step takes `a + b * n`,
/// this settles at the `n` for which that is the target.
#[derive(Debug)]
pub(crate) struct Pace {
    target: Duration,
    ceiling: usize,
    limit: usize,
}

impl Pace {
    pub(crate) fn new(target: Duration, ceiling: usize) -> Self {
        Self { target, ceiling, limit: FIRST_GUESS.min(ceiling) }
    }

    /// Prompt tokens in the next step at most, if others decode in it.
    pub(crate) fn max_prefill_tokens(&self) -> usize {
        self.limit
    }

    /// Takes in a step's time.
    pub(crate) fn observe(&mut self, num_prompt_tokens: usize, step_time: Duration) {
        if num_prompt_tokens >= MIN_PREFILL_TOKENS {
            let share = self.target.as_secs_f64() / step_time.as_secs_f64().max(1e-9);
            let limit = (num_prompt_tokens as f64 * share) as usize;
            self.limit = limit.clamp(MIN_PREFILL_TOKENS.min(self.ceiling), self.ceiling);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of a device that takes `base` and then `per_token`.
    fn settle(pace: &mut Pace, base_ms: f64, per_token_ms: f64) -> usize {
        for _ in 0..20 {
            let num_tokens = pace.max_prefill_tokens();
            let time = Duration::from_secs_f64((base_ms + per_token_ms * num_tokens as f64) / 1000.0);
            pace.observe(num_tokens, time);
        }
        pace.max_prefill_tokens()
    }

    fn check(base_ms: f64, per_token_ms: f64, expect: std::ops::RangeInclusive<usize>) {
        let mut pace = Pace::new(Duration::from_millis(200), 512);
        let settled = settle(&mut pace, base_ms, per_token_ms);
        assert!(expect.contains(&settled), "{base_ms} ms and {per_token_ms} ms a token: {settled}");
    }

    #[test]
    fn the_step_time_is_met() {
        check(0.0, 1.0, 199..=200);
        check(100.0, 1.0, 98..=101);
        check(40.0, 0.5, 315..=320);
    }

    #[test]
    fn the_limits_hold() {
        check(0.0, 0.001, 512..=512);
        check(130.0, 40.0, 16..=16);
        check(300.0, 1.0, 16..=16);
    }

    #[test]
    fn a_step_without_decodes_tells_the_speed_too() {
        let mut pace = Pace::new(Duration::from_millis(200), 512);
        pace.observe(2048, Duration::from_secs(2));
        assert_eq!(pace.max_prefill_tokens(), 204);
        pace.observe(3, Duration::from_millis(50));
        assert_eq!(pace.max_prefill_tokens(), 204, "the end of a prompt says nothing about speed");
    }

    #[test]
    fn a_small_ceiling_is_kept() {
        let mut pace = Pace::new(Duration::from_millis(200), 4);
        assert_eq!(pace.max_prefill_tokens(), 4);
        pace.observe(2048, Duration::from_secs(2));
        assert_eq!(pace.max_prefill_tokens(), 4);
    }
}
