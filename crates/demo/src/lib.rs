//! The demo model as bytes in the binary, so that `serve --demo` needs no file and no network.
//!
//! It is a GGUF v3 file of the `llama` architecture with Q8_0 matrices: 5.2 million parameters, a vocabulary of 2048
//! tokens, a context of 2048. `README.md` beside this crate says what it can do and how `train/` made it.

/// Gives the bytes the alignment that GGUF asks of tensor data (its default, 32 bytes), which `include_bytes!` does not.
#[repr(C, align(32))]
struct Aligned<Bytes: ?Sized>(Bytes);

static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("../demo.gguf"));

/// The whole GGUF file. It starts on a multiple of 32 bytes, so a tensor's offset in the file is its alignment in memory.
pub static DEMO_GGUF: &[u8] = &FILE.0;

#[cfg(test)]
mod tests {
    use super::DEMO_GGUF;

    #[test]
    fn is_gguf_version_3() {
        assert_eq!(&DEMO_GGUF[..4], b"GGUF");
        assert_eq!(DEMO_GGUF[4..8], 3u32.to_le_bytes());
    }

    #[test]
    fn starts_on_32_bytes() {
        assert_eq!(DEMO_GGUF.as_ptr().addr() % 32, 0);
    }

    #[test]
    fn stays_within_six_megabytes() {
        assert!((2_000_000..=6_000_000).contains(&DEMO_GGUF.len()), "the demo model has {} bytes", DEMO_GGUF.len());
    }
}
