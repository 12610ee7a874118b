//! Parses and checks the header of a safetensors file.
//!
//! A file is hostile until every length, offset and type in it was checked against the bytes that are there.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::Dtype;

/// The limit of the reference implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;
const MAX_DIMS: usize = 8;
/// More than any file holds.
const MAX_ELEMENTS: u64 = 1 << 48;

/// A tensor as the header describes it; offsets count from the start of the data.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) begin: u64,
    end: u64,
}

#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Checks the length that a file of `file_bytes` gives its header.
pub(super) fn check_len(len: u64, file_bytes: u64) -> Result<usize, String> {
    if len > MAX_HEADER_BYTES {
        return Err(format!("says its header has {len} bytes; at most {MAX_HEADER_BYTES} are allowed"));
    }
    if len > file_bytes.saturating_sub(8) {
        return Err(format!("says its header has {len} bytes, but the file ends after {file_bytes}"));
    }
    Ok(len as usize)
}

/// Parses a header whose data has `data_bytes`; entries come in the order of the file.
pub(super) fn parse(header: &[u8], data_bytes: u64) -> Result<Vec<Entry>, String> {
    let Pairs(pairs) = serde_json::from_slice(header).map_err(|e| format!("has a header that cannot be read: {e}"))?;
    let mut names = HashSet::new();
    let mut entries = Vec::with_capacity(pairs.len());
    for (name, raw) in pairs {
        if !names.insert(name.clone()) {
            return Err(format!("lists tensor `{name}` twice"));
        }
        entries.push(check(name, &raw, data_bytes)?);
    }
    check_overlaps(&entries)?;
    Ok(entries)
}

fn check(name: String, raw: &RawEntry, data_bytes: u64) -> Result<Entry, String> {
    let dtype = Dtype::from_name(&raw.dtype)
        .ok_or_else(|| format!("stores tensor `{name}` in the unknown element type `{}`", raw.dtype))?;
    let (begin, end) = raw.data_offsets;
    let num_bytes = raw.shape.iter().try_fold(dtype.num_bytes() as u64, |n, d| n.checked_mul(*d));
    // Also where one side is zero, no product of others shall be too large to count.
    let product = raw.shape.iter().try_fold(1_u64, |n, d| n.checked_mul((*d).max(1)));
    if raw.shape.len() > MAX_DIMS
        || product.is_none_or(|n| n > MAX_ELEMENTS)
        || num_bytes.is_none()
        || end.checked_sub(begin) != num_bytes
    {
        let RawEntry { shape, .. } = raw;
        return Err(format!(
            "gives tensor `{name}` of shape {shape:?} and type {} the bytes {begin} to {end}",
            raw.dtype
        ));
    }
    if end > data_bytes {
        return Err(format!("ends before tensor `{name}` does (byte {end} of {data_bytes}): it is cut off"));
    }
    Ok(Entry { name, dtype, shape: raw.shape.iter().map(|d| *d as usize).collect(), begin, end })
}

fn check_overlaps(entries: &[Entry]) -> Result<(), String> {
    let mut by_offset: Vec<_> = entries.iter().filter(|e| e.begin < e.end).collect();
    by_offset.sort_by_key(|e| e.begin);
    match by_offset.windows(2).find(|pair| pair[0].end > pair[1].begin) {
        Some(pair) => Err(format!("stores tensors `{}` and `{}` in the same bytes", pair[0].name, pair[1].name)),
        None => Ok(()),
    }
}

/// The pairs of an object without those of `__metadata__`; keeps duplicates, so that they can be refused.
struct Pairs(Vec<(String, RawEntry)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if key == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        pairs.push((key, map.next_value()?));
                    }
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn error(header: &str) -> String {
        parse(header.as_bytes(), 16).map(drop).expect_err(header)
    }

    #[test]
    fn a_sound_header_is_read_in_file_order() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,2],"data_offsets":[8,16]},
            "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"n":{"dtype":"I8","shape":[0],"data_offsets":[3,3]}} "#;
        let names: Vec<_> = parse(header.as_bytes(), 16).expect("sound").into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["b", "a", "n"]);
    }

    #[test]
    fn lies_are_refused() {
        let entry = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        for (header, expected) in [
            (entry("F32", "[5]", "[0,20]"), "cut off"),
            (entry("F32", "[2]", "[0,16]"), "bytes 0 to 16"),
            (entry("F32", "[2]", "[16,8]"), "bytes 16 to 8"),
            (entry("F32", "[4294967296,4294967296,4294967296]", "[0,0]"), "bytes 0 to 0"),
            (entry("F32", "[4294967296,4294967296,0]", "[0,0]"), "bytes 0 to 0"),
            (entry("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "bytes 0 to 4"),
            (entry("F31", "[2]", "[0,8]"), "unknown element type `F31`"),
            (entry("F32", "[-2]", "[0,8]"), "cannot be read"),
            ("[]".to_owned(), "cannot be read"),
            ("{".to_owned(), "cannot be read"),
        ] {
            assert!(error(&header).contains(expected), "{header}: {}", error(&header));
        }
        let w = r#""w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}"#;
        assert!(error(&format!("{{{w},{w}}}")).contains("twice"));
        let v = r#""v":{"dtype":"U8","shape":[8],"data_offsets":[7,15]}"#;
        assert!(error(&format!("{{{v},{w}}}")).contains("`w` and `v` in the same bytes"));
    }
}
