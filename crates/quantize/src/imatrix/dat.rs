//! The older format: a count of entries, each a name, a number of chunks and mean squares times that number; then the
//! number of chunks of the whole and the text's name. Little-endian.

use std::{collections::BTreeMap, path::Path};

use gguf::{AsideFile, WriteError};

use super::{File, FileEntry, ImatrixFormat, sums::Sums};

/// Longest name and longest row that a file may have.
const MAX_NAME_BYTES: usize = 1024;
const MAX_VALUES: usize = 1 << 26;

pub(super) fn parse(bytes: &[u8]) -> Result<File, String> {
    let mut rest = Rest(bytes);
    let num_entries = rest.count("number of entries", usize::MAX)?;
    let mut file = File { format: ImatrixFormat::Dat, entries: BTreeMap::new(), datasets: Vec::new(), num_chunks: 0 };
    for i in 0..num_entries {
        let len = rest.count(&format!("name length of entry {i}"), MAX_NAME_BYTES)?;
        let name = String::from_utf8_lossy(rest.take(len, &format!("name of entry {i}"))?).into_owned();
        let num_chunks = rest.count(&format!("number of chunks of `{name}`"), usize::MAX)?;
        let num_values = rest.count(&format!("number of values of `{name}`"), MAX_VALUES)?;
        let values = rest.take(4 * num_values, &format!("values of `{name}`"))?;
        let values = values.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        file.entries.insert(name, FileEntry { values, counts: vec![num_chunks as u64] });
    }
    // Files of long ago end here.
    if !rest.0.is_empty() {
        file.num_chunks = rest.count("number of chunks", usize::MAX)? as u64;
        let len = rest.count("length of the text's name", MAX_NAME_BYTES)?;
        file.datasets.push(String::from_utf8_lossy(rest.take(len, "the text's name")?).into_owned());
    }
    Ok(file)
}

/// What is left of a file.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, num_bytes: usize, field: &str) -> Result<&'a [u8], String> {
        let found = self.0.split_at_checked(num_bytes);
        let (taken, rest) =
            found.ok_or_else(|| format!("{field} needs {num_bytes} bytes, {} are left", self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A 32-bit count that is not negative and at most `max`.
    fn count(&mut self, field: &str, max: usize) -> Result<usize, String> {
        let bytes = self.take(4, field)?;
        let n = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        usize::try_from(n).ok().filter(|n| *n <= max).ok_or_else(|| format!("{field} is {n}; expected 0 to {max}"))
    }
}

/// Writes sums as means; tensors without any row are left out, experts without one count alike.
pub(super) fn write(sums: &Sums, path: &Path, overwrite: bool) -> Result<(), WriteError> {
    let seen: Vec<_> = sums.entries().filter(|(_, entry)| entry.counts.iter().any(|count| *count > 0)).collect();
    let mut out = Vec::new();
    let number = |n: u64| i32::try_from(n).unwrap_or(i32::MAX).to_le_bytes();
    out.extend(number(seen.len() as u64));
    for (name, entry) in seen {
        out.extend(number(name.len() as u64));
        out.extend(name.as_bytes());
        let num_chunks = entry.counts.iter().max().unwrap_or(&0).div_ceil(sums.chunk_size());
        out.extend(number(num_chunks));
        out.extend(number(entry.values.len() as u64));
        let num_columns = (entry.values.len() / entry.counts.len()).max(1);
        for (values, count) in entry.values.chunks(num_columns).zip(&entry.counts) {
            let mean = |sum: &f64| if *count > 0 { (sum / *count as f64) as f32 } else { 1.0 };
            out.extend(values.iter().flat_map(|sum| (mean(sum) * num_chunks as f32).to_le_bytes()));
        }
    }
    out.extend(number(sums.num_chunks()));
    let dataset = sums.datasets.last().map_or(&[][..], String::as_bytes);
    let dataset = &dataset[..dataset.len().min(MAX_NAME_BYTES)];
    out.extend(number(dataset.len() as u64));
    out.extend(dataset);
    let mut file = AsideFile::create(path, out.len() as u64)?;
    file.write(&out)?;
    file.sync()?;
    file.commit(overwrite)
}
