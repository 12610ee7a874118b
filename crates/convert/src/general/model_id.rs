//! What a model's name says: `organization/Base-Name-7B-Instruct-v0.2`.

/// The parts of a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ModelId {
    pub(super) name: Option<String>,
    pub(super) organization: Option<String>,
    pub(super) basename: Option<String>,
    pub(super) finetune: Option<String>,
    pub(super) version: Option<String>,
    pub(super) size_label: Option<String>,
}

/// What a part of a name says.
#[derive(Clone, Copy, Debug, Default)]
struct Says {
    basename: bool,
    size: bool,
    finetune: bool,
    version: bool,
    quantization: bool,
}

impl Says {
    fn num(self) -> usize {
        [self.basename, self.size, self.finetune, self.version, self.quantization].iter().filter(|x| **x).count()
    }
}

impl ModelId {
    /// Reads a name; a size in it counts only when it fits a model of `total` weights.
    pub(super) fn parse(id: &str, total: u64) -> Self {
        if id.contains(' ') {
            return Self { name: Some(title(id)), ..Self::default() };
        }
        let (organization, full) = id.split_once('/').map_or((None, id), |(org, name)| (Some(org), name));
        let organization = organization.filter(|o| !o.is_empty() && !o.starts_with('.')).map(title);
        let mut parts: Vec<String> = full.split('-').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        let mut says: Vec<Says> = parts.iter_mut().enumerate().map(|(i, p)| read_part(p, i, total)).collect();
        drop_size_words(&parts, &mut says);
        find_basename(&parts, &mut says);
        let joined = |wanted: fn(&Says) -> bool| {
            let mut chosen: Vec<&str> = Vec::new();
            for (part, _) in parts.iter().zip(&says).filter(|(_, s)| wanted(s)) {
                chosen.push(part);
            }
            (!chosen.is_empty()).then(|| chosen.join("-"))
        };
        let (finetune, version) = (joined(|s| s.finetune), joined(|s| s.version && !s.basename));
        let size_label = joined(|s| s.size).map(|label| without_repeats(&label));
        let is_clear = size_label.is_some() || finetune.is_some() || version.is_some();
        let basename = joined(|s| s.basename).filter(|_| is_clear);
        Self { name: (!full.is_empty()).then(|| title(full)), organization, basename, finetune, version, size_label }
    }
}

fn read_part(part: &mut String, idx: usize, total: u64) -> Says {
    let lower = part.to_ascii_lowercase();
    let mut says = Says::default();
    if is_version(&lower) {
        says.version = true;
    } else if is_quantization(&lower) {
        says.quantization = true;
        *part = part.to_uppercase();
    } else if idx > 0 && is_size(&lower) {
        read_size(part, total, &mut says);
    } else if idx > 0 && matches!(lower.as_str(), "chat" | "instruct" | "vision" | "lora") {
        says.finetune = true;
    }
    says
}

fn read_size(part: &mut String, total: u64, says: &mut Says) {
    let mut size = part.replace('_', ".");
    if size.ends_with(|c: char| c.is_ascii_digit()) {
        // `7b1` means 7.1b.
        let (digit, unit) = (size.pop().unwrap_or('0'), size.pop().unwrap_or('b'));
        size = format!("{size}.{digit}{unit}");
    }
    let before_unit = size.chars().rev().nth(1).is_some_and(|c| c.is_ascii_digit());
    if before_unit && let Some(unit) = size.pop() {
        size.push(unit.to_ascii_uppercase());
    }
    let number: Option<f64> = size.get(..size.len().saturating_sub(1)).and_then(|n| n.parse().ok());
    let unit = " KMBT".find(size.chars().last().unwrap_or(' '));
    if let (Some(number), Some(unit), true) = (number, unit, total > 0) {
        let weights = number * 1000_f64.powi(unit as i32);
        if (weights - total as f64).abs() > (7 * total / 8) as f64 {
            // Likely the length of a context.
            says.finetune = true;
            if let Some(unit) = size.pop() {
                size.push(unit.to_ascii_lowercase());
            }
        }
    }
    says.size = !says.finetune;
    *part = size;
}

/// Words like `mini` are no sizes beside a number.
fn drop_size_words(parts: &[String], says: &mut [Says]) {
    let has_number = parts.iter().zip(says.iter()).any(|(p, s)| s.size && p.chars().any(|c| c.is_ascii_digit()));
    if has_number {
        for (part, says) in parts.iter().zip(says) {
            says.size &= !part.chars().all(char::is_alphabetic);
        }
    }
}

/// The first parts that say nothing else, and versions among them.
fn find_basename(parts: &[String], says: &mut [Says]) {
    let mut at_start = true;
    for (part, says) in parts.iter().zip(says.iter_mut()) {
        if at_start && (says.num() == 0 && part.starts_with(char::is_alphabetic) || says.version) {
            says.basename = true;
        } else {
            at_start = false;
            says.finetune |= says.num() == 0;
        }
    }
    for says in says.iter_mut().rev() {
        if !(says.basename && says.num() > 1) {
            break;
        }
        says.basename = false;
    }
}

fn without_repeats(label: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in label.split('-') {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join("-")
}

/// Capitalizes the words that are in lower case and no version.
fn title(id: &str) -> String {
    let spaced = id.trim().replace('-', " ");
    spaced.split_whitespace().map(title_word).collect::<Vec<_>>().join(" ")
}

fn title_word(word: &str) -> String {
    let starts_with_digit = word.starts_with(|c: char| c.is_ascii_digit());
    let is_version = word.strip_prefix('v').is_some_and(is_dotted_number) || starts_with_digit;
    let is_lower = word.chars().any(char::is_lowercase) && !word.chars().any(char::is_uppercase);
    if is_version || !is_lower {
        return word.to_owned();
    }
    let mut after_letter = false;
    word.chars()
        .map(|c| {
            let titled = if after_letter { c } else { c.to_uppercase().next().unwrap_or(c) };
            after_letter = c.is_alphabetic();
            titled
        })
        .collect()
}

/// `v0.2`, `iter3`, `1.5`.
fn is_version(lower: &str) -> bool {
    is_dotted_number(lower.strip_prefix("iter").or_else(|| lower.strip_prefix('v')).unwrap_or(lower))
}

fn is_dotted_number(text: &str) -> bool {
    text.split('.').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// `q4_k_m`, `iq2_s`, `fp16`, `bf16`.
fn is_quantization(lower: &str) -> bool {
    let bits = lower.strip_prefix('b').unwrap_or(lower);
    let bits = bits.strip_prefix('f').map(|b| b.strip_prefix('p').unwrap_or(b));
    let blocks = lower.strip_prefix('i').unwrap_or(lower).strip_prefix('q');
    bits.is_some_and(|b| matches!(b, "16" | "32"))
        || blocks.is_some_and(|b| {
            let mut parts = b.split('_');
            parts.next().is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()))
                && parts.all(|p| p.len() == 1 && p.bytes().all(|b| b.is_ascii_alphanumeric()))
        })
}

/// `7b`, `0.5B`, `8x7B`, `A3B`, `7b1`, `mini`.
fn is_size(lower: &str) -> bool {
    if matches!(lower, "small" | "mini" | "medium" | "large" | "xl" | "xxl") {
        return true;
    }
    let number = match lower.split_once('x') {
        Some((experts, rest)) if !experts.is_empty() && experts.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => lower.strip_prefix('a').unwrap_or(lower),
    };
    let Some(unit) = number.find(['k', 'm', 'b', 't']) else { return false };
    let (value, rest) = (&number[..unit], &number[unit + 1..]);
    let is_number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    let is_value = match value.split_once(['.', '_']) {
        Some((whole, fraction)) => is_number(whole) && is_number(fraction),
        None => is_number(value),
    };
    is_value && (rest.is_empty() || rest.len() == 1 && is_number(rest))
}

#[cfg(test)]
mod tests {
    use super::ModelId;

    #[test]
    fn names_are_taken_apart_as_the_reference_does() {
        let text = |x: &str| (!x.is_empty()).then(|| x.to_owned());
        // Name, organization, base name, finetune, version and size, as gguf-py 0.19 has them.
        let cases = [
            (
                "Mistral/Mixtral-8x7B-Instruct-v0.1",
                0,
                ["Mixtral 8x7B Instruct v0.1", "Mistral", "Mixtral", "Instruct", "v0.1", "8x7B"],
            ),
            ("Qwen2.5-0.5B-Instruct", 494_032_768, ["Qwen2.5 0.5B Instruct", "", "Qwen2.5", "Instruct", "", "0.5B"]),
            ("meta-llama/Llama-2-7b-hf", 6_738_415_616, ["Llama 2 7b Hf", "Meta Llama", "Llama-2", "hf", "", "7B"]),
            (
                "bigscience/bloom-7b1-petals",
                7_069_016_064,
                ["Bloom 7b1 Petals", "Bigscience", "bloom", "petals", "", "7.1B"],
            ),
            ("Qwen3-30B-A3B", 30_532_122_624, ["Qwen3 30B A3B", "", "Qwen3", "", "", "30B-A3B"]),
            (
                "Phi-3-mini-4k-instruct",
                3_821_079_552,
                ["Phi 3 Mini 4k Instruct", "", "Phi-3", "4k-instruct", "", "mini"],
            ),
            ("tiny", 1000, ["Tiny", "", "", "", "", ""]),
        ];
        for (id, total, [name, organization, basename, finetune, version, size_label]) in cases {
            let expected = ModelId {
                name: text(name),
                organization: text(organization),
                basename: text(basename),
                finetune: text(finetune),
                version: text(version),
                size_label: text(size_label),
            };
            assert_eq!(ModelId::parse(id, total), expected, "{id}");
        }
    }
}
