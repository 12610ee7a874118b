//! One compiled file as bytes: what the disk cache and packs hold. Nothing in it is believed before its checksum.

use super::{KernelResources, Source, Target, hash::hash};

/// The first bytes; the last digit is the version of the layout.
const MAGIC: &[u8; 8] = b"LLKERNL1";
const CHECKSUM_BYTES: usize = 16;

/// What compiling one source for one target gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The source's name, e.g. `norm.cu`.
    pub file: String,
    /// What it is for.
    pub target: Target,
    /// Which sources, headers and options it was made from.
    pub(crate) key: u128,
    /// Version of the compiler, major and minor.
    pub nvrtc: (u32, u32),
    /// How long it took.
    pub compile_ms: u32,
    /// The kernels in it.
    pub kernels: Vec<KernelResources>,
    /// The cubin, or the PTX with a zero byte at its end.
    pub image: Vec<u8>,
}

impl Compiled {
    /// Whether it is what this binary's source gives for the target.
    #[must_use]
    pub fn is_of(&self, source: &Source, target: Target) -> bool {
        self.file == source.file && self.target == target && self.key == source.key(target)
    }

    /// All fields, then a checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, number) = match self.target {
            Target::Cubin(number) => (0, number),
            Target::Ptx(number) => (1, number),
        };
        let mut out = MAGIC.to_vec();
        put_bytes(&mut out, self.file.as_bytes());
        for n in [kind, number, self.nvrtc.0, self.nvrtc.1, self.compile_ms, self.kernels.len() as u32] {
            out.extend(n.to_le_bytes());
        }
        out.extend(self.key.to_le_bytes());
        for kernel in &self.kernels {
            put_bytes(&mut out, kernel.name.as_bytes());
            for n in [kernel.registers, kernel.shared_bytes, kernel.stack_bytes, kernel.spill_bytes] {
                out.extend(n.to_le_bytes());
            }
        }
        put_bytes(&mut out, &self.image);
        let checksum = hash(&[&out]);
        out.extend(checksum.to_le_bytes());
        out
    }

    /// The target alone, unchecked: enough to pass over what is for other devices.
    pub(super) fn peek_target(bytes: &[u8]) -> Option<Target> {
        let mut reader = Reader(bytes.strip_prefix(MAGIC)?);
        reader.bytes()?;
        reader.target()
    }

    /// Reads what [`Compiled::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes, for a log line.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let (fields, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or("it is truncated")?;
        if !fields.starts_with(MAGIC) {
            return Err("it is no compiled kernel of this version");
        }
        if hash(&[fields]) != u128::from_le_bytes(*checksum) {
            return Err("its checksum is wrong");
        }
        // The checksum is right, so a field can only be missing if another program wrote the bytes.
        decode_fields(fields).ok_or("its fields do not fit")
    }
}

fn decode_fields(bytes: &[u8]) -> Option<Compiled> {
    let mut reader = Reader(&bytes[MAGIC.len()..]);
    let file = reader.string()?;
    let target = reader.target()?;
    let nvrtc = (reader.number()?, reader.number()?);
    let compile_ms = reader.number()?;
    let num_kernels = reader.number()?;
    let key = u128::from_le_bytes(*reader.array()?);
    let mut kernels = Vec::new();
    for _ in 0..num_kernels {
        kernels.push(KernelResources {
            name: reader.string()?,
            registers: reader.number()?,
            shared_bytes: reader.number()?,
            stack_bytes: reader.number()?,
            spill_bytes: reader.number()?,
        });
    }
    let image = reader.bytes()?.to_vec();
    reader.0.is_empty().then_some(Compiled { file, target, key, nvrtc, compile_ms, kernels, image })
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

/// Takes fields off the front; `None` when there are too few bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(head)
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u64::from_le_bytes(*self.array()?);
        let (head, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(head)
    }

    fn target(&mut self) -> Option<Target> {
        let (kind, number) = (self.number()?, self.number()?);
        match kind {
            0 => Some(Target::Cubin(number)),
            1 => Some(Target::Ptx(number)),
            _ => None,
        }
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::Compiled;

    #[test]
    fn what_is_written_is_read() {
        let compiled = example();
        assert_eq!(Compiled::decode(&compiled.encode()), Ok(compiled));
    }

    #[test]
    fn no_damage_goes_unseen() {
        let bytes = example().encode();
        for len in 0..bytes.len() {
            assert!(Compiled::decode(&bytes[..len]).is_err(), "cut to {len} bytes");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Compiled::decode(&damaged).is_err(), "byte {at} changed");
        }
        assert!(Compiled::decode(&[bytes.as_slice(), &[0]].concat()).is_err(), "a byte too many");
    }
}
