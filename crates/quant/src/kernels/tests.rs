//! Every instruction set gives the portable kernels' bits.

use super::{dot_floats, dot_ints, interleave, portable};
use crate::{
    Isa, Lanes, Superblock,
    superblock::{LANES, SUPERBLOCK_LEN},
};

/// A small generator: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in `[-1, 1)`.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn lanes(&mut self, len: usize) -> Vec<Lanes> {
        (0..len).map(|_| Lanes(std::array::from_fn(|_| self.float()))).collect()
    }

    fn superblocks(&mut self, len: usize, q: impl Fn(u64) -> u8) -> Vec<Superblock> {
        let block = |random: &mut Self| Superblock {
            q: std::array::from_fn(|_| q(random.next())),
            scales: std::array::from_fn(|_| random.float()),
            terms: std::array::from_fn(|_| random.float()),
        };
        (0..len).map(|_| block(self)).collect()
    }
}

#[test]
fn interleaving_is_the_same_everywhere() {
    let blocks = Random(1).superblocks(3, |bits| bits as u8);
    let mut expected = blocks.clone();
    portable::interleave(8.0, &mut expected);
    for isa in Isa::available() {
        let mut found = blocks.clone();
        interleave(isa, 8, &mut found);
        assert_eq!(found, expected, "{}", isa.name());
    }
}

#[test]
fn interleaving_gathers_each_group_in_one_lane() {
    let mut block = Superblock {
        q: std::array::from_fn(|i| i as u8),
        scales: std::array::from_fn(|group| group as f32),
        terms: [0.0; LANES],
    };
    portable::interleave(0.0, std::slice::from_mut(&mut block));
    for i in 0..SUPERBLOCK_LEN {
        let group = usize::from(block.q[i]) / 16;
        assert_eq!(block.scales[i / 4 % 16], group as f32, "byte {i}");
    }
}

#[test]
fn dots_have_the_same_bits_everywhere_and_in_every_tile() {
    let mut random = Random(2);
    let rows = [random.lanes(5), random.lanes(5)];
    let tokens = [random.lanes(5), random.lanes(5), random.lanes(5)];
    let expected = portable::dot_floats([&rows[0], &rows[1]], [&tokens[0], &tokens[1], &tokens[2]]);
    for isa in Isa::available() {
        let found = dot_floats(isa, [&rows[0], &rows[1]], [&tokens[0], &tokens[1], &tokens[2]]);
        assert_eq!(found, expected, "{}", isa.name());
        assert_eq!(dot_floats(isa, [&rows[1]], [&tokens[2]]), [[expected[1][2]]], "{}", isa.name());
    }
}

#[test]
fn integer_dots_have_the_same_bits_everywhere_and_in_every_tile() {
    let mut random = Random(3);
    // The extremes make 16-bit sums of products saturate where a kernel is careless.
    let activation = |bits: u64| [127_i8, -127, bits as i8 / 2][bits as usize % 3].cast_unsigned();
    let x: Vec<_> = (0..4).map(|_| random.superblocks(3, activation)).collect();
    for max_q in [15, 127, 255] {
        let weight = |bits: u64| if bits.is_multiple_of(2) { max_q } else { (bits >> 8) as u8 % max_q };
        let w = [random.superblocks(3, weight), random.superblocks(3, weight)];
        let expected = portable::dot_ints([&w[0], &w[1]], [&x[0], &x[1], &x[2], &x[3]]);
        for isa in Isa::available() {
            let found = dot_ints(isa, max_q, [&w[0], &w[1]], [&x[0], &x[1], &x[2], &x[3]]);
            assert_eq!(found, expected, "{} up to {max_q}", isa.name());
            let single = dot_ints(isa, max_q, [&w[1]], [&x[3]]);
            assert_eq!(single, [[expected[1][3]]], "{} up to {max_q}", isa.name());
        }
    }
}
