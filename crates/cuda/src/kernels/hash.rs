//! A 128-bit hash that is the same on every machine and in every build: it names compiled kernels and shows damage.
//! Not for secrets.

/// Hashes the parts in order; where one part ends and the next begins counts.
pub(crate) fn hash(parts: &[&[u8]]) -> u128 {
    // Any two odd constants will do; these are the golden ratio's and splitmix64's.
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xbf58_476d_1ce4_e5b9;
    let (mut a, mut b) = (A, B);
    // Each step is a bijection of the state and of the word, so that one changed word always changes the result.
    let mut mix = |word: u64| {
        a = (a ^ word).wrapping_mul(B);
        a ^= a >> 29;
        b = (b.rotate_left(23) ^ word).wrapping_mul(A);
        b ^= b >> 32;
    };
    for part in parts {
        mix(part.len() as u64);
        let (words, rest) = part.as_chunks::<8>();
        words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        mix(u64::from_le_bytes(last));
    }
    mix(parts.len() as u64);
    u128::from(a) << 64 | u128::from(b)
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn every_bit_and_every_border_counts() {
        let data: Vec<u8> = (0..67).collect();
        let whole = hash(&[&data]);
        for bit in 0..data.len() * 8 {
            let mut changed = data.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(hash(&[&changed]), whole, "bit {bit}");
        }
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b"a"]), hash(&[b"a\0"]));
        assert_ne!(hash(&[]), hash(&[b""]));
    }

    #[test]
    fn packs_of_other_builds_stay_readable() {
        assert_eq!(format!("{:x}", hash(&[b"kernels", b""])), "864a1fd2a7936cbdeb837e70ae98777a");
    }
}
