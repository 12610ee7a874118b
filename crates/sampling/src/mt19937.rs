//! The generator behind every draw: `mt19937` seeded and read as libstdc++ does, so that seeds mean the same as there.

/// Words of the state.
const N: usize = 624;

/// Distance of the words that are mixed.
const M: usize = 397;

/// The 32-bit Mersenne Twister (Matsumoto and Nishimura 1998, the parameters of C++'s `std::mt19937`).
#[derive(Clone, Debug)]
pub struct Mt19937 {
    state: [u32; N],
    /// The next word to give out; `N` when a new block is due.
    next_idx: usize,
}

impl Mt19937 {
    /// A generator with the given seed.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let before = state[i - 1];
            state[i] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, next_idx: N }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next_idx == N {
            self.renew();
        }
        let mut word = self.state[self.next_idx];
        self.next_idx += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number in `[0, 1)` from two words, the low one first, as `std::uniform_real_distribution<double>` takes them.
    pub fn uniform(&mut self) -> f64 {
        let low = f64::from(self.next_u32());
        let high = f64::from(self.next_u32());
        let value = (low + high * 2_f64.powi(32)) / 2_f64.powi(64);
        // The sum of two large words may round up to 1; libstdc++ takes the number before it then.
        value.min(1.0_f64.next_down())
    }

    fn renew(&mut self) {
        for i in 0..N {
            let bits = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let twist = if bits & 1 == 0 { 0 } else { 0x9908_b0df };
            self.state[i] = self.state[(i + M) % N] ^ (bits >> 1) ^ twist;
        }
        self.next_idx = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_thousandth_word_is_that_of_the_standard() {
        // [rand.predef] of the C++ standard names this value for the default seed.
        let mut generator = Mt19937::new(5489);
        let word = (0..10_000).map(|_| generator.next_u32()).last();
        assert_eq!(word, Some(4_123_659_995));
    }

    #[test]
    fn a_draw_takes_two_words_low_first() {
        let mut words = Mt19937::new(42);
        let (low, high) = (words.next_u32(), words.next_u32());
        let expected = (f64::from(low) + f64::from(high) * 4_294_967_296.0) / 18_446_744_073_709_551_616.0;
        assert_eq!(Mt19937::new(42).uniform(), expected);
    }
}
