//! Which of a repository's files is the model.

use crate::HubError;

/// Taken where nobody says which, in this order, before the first file.
const PREFERRED: [&str; 2] = ["Q4_K_M", "Q8_0"];
/// GGUF files beside a model that are none.
const SIDECARS: [&str; 6] = ["mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-"];
/// Parts of a split model; a name can say five digits.
const MAX_PARTS: usize = 9_999;

/// The model's file among `files`, the first of its parts; llama-server's rule.
///
/// `quant` is looked for at the end of a word of the name, as in `model-Q4_K_M.gguf`, capitals or not. Without it
/// Q4_K_M is taken, else Q8_0, else the first model.
pub(crate) fn model<'a>(files: &'a [String], quant: Option<&str>) -> Option<&'a str> {
    let models: Vec<&str> = files.iter().map(String::as_str).filter(|f| is_model(f)).collect();
    let tagged = |tag: &str| {
        let whole_word = models.iter().find(|f| has_tag(f, tag, true));
        whole_word.or_else(|| models.iter().find(|f| has_tag(f, tag, false))).copied()
    };
    match quant {
        Some(tag) => tagged(tag),
        None => PREFERRED.iter().find_map(|tag| tagged(tag)).or_else(|| models.first().copied()),
    }
}

/// A GGUF file that is a model by itself or the first part of one.
fn is_model(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.ends_with(".gguf")
        && !SIDECARS.iter().any(|word| name.contains(word))
        && Split::of(name).is_none_or(|split| split.part == 1)
}

/// Whether `tag` stands in the path, a `.` or `-` behind it and, for a whole word, no letter or digit before it.
fn has_tag(path: &str, tag: &str, whole_word: bool) -> bool {
    let (path, tag) = (path.to_ascii_lowercase(), tag.to_ascii_lowercase());
    path.match_indices(&tag).any(|(at, _)| {
        let before = path[..at].chars().next_back();
        path[at + tag.len()..].starts_with(['.', '-'])
            && (!whole_word || !before.is_some_and(|c| c.is_ascii_alphanumeric()))
    })
}

/// What the name `STEM-00002-of-00003.gguf` says.
struct Split<'a> {
    stem: &'a str,
    part: usize,
    count: usize,
}

impl<'a> Split<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let (rest, count) = path.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, part) = rest.rsplit_once('-')?;
        let number = |digits: &str| digits.parse().ok().filter(|_| digits.len() == 5);
        let (part, count) = (number(part)?, number(count)?);
        ((1..=MAX_PARTS).contains(&count) && (1..=count).contains(&part)).then_some(Self { stem, part, count })
    }
}

/// The files of the model whose first one is `path`: itself, or all parts in order.
pub(crate) fn parts(path: &str) -> Vec<String> {
    match Split::of(path) {
        Some(Split { stem, count, .. }) => {
            (1..=count).map(|part| format!("{stem}-{part:05}-of-{count:05}.gguf")).collect()
        }
        None => vec![path.to_owned()],
    }
}

/// All parts of the model at `path`, which must be among `files`.
///
/// # Errors
/// [`HubError::MissingPart`] when one is not.
pub(crate) fn parts_of(path: &str, files: &[String], repo: &str) -> Result<Vec<String>, HubError> {
    let parts = parts(path);
    match parts.iter().position(|part| !files.contains(part)) {
        None => Ok(parts),
        Some(i) => {
            Err(HubError::MissingPart { repo: repo.to_owned(), file: path.to_owned(), part: i + 1, count: parts.len() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{model, parts, parts_of};

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn q4_k_m_is_taken_then_q8_0_then_the_first() {
        let all = files(&["README.md", "m-Q2_K.gguf", "m-q8_0.gguf", "m-Q4_K_M.gguf", "mmproj-m-Q4_K_M.gguf"]);
        assert_eq!(model(&all, None), Some("m-Q4_K_M.gguf"));
        assert_eq!(model(&all[..3], None), Some("m-q8_0.gguf"));
        assert_eq!(model(&all[..2], None), Some("m-Q2_K.gguf"));
        assert_eq!(model(&all[..1], None), None);
        assert_eq!(model(&files(&["imatrix.gguf", "mmproj.gguf"]), None), None);
    }

    #[test]
    fn a_tag_is_found_whatever_its_capitals() {
        let all = files(&["m.IQ4_XS.gguf", "m.Q4_XS.gguf", "m.Q4_K_S.gguf", "UD/m-UD-Q4_K_XL.gguf"]);
        assert_eq!(model(&all, Some("q4_k_s")), Some("m.Q4_K_S.gguf"));
        assert_eq!(model(&all, Some("Q4_XS")), Some("m.Q4_XS.gguf"));
        assert_eq!(model(&all[..1], Some("Q4_XS")), Some("m.IQ4_XS.gguf"));
        assert_eq!(model(&all, Some("UD-Q4_K_XL")), Some("UD/m-UD-Q4_K_XL.gguf"));
        assert_eq!(model(&all, Some("Q4_K")), None);
        assert_eq!(model(&all, Some("Q8_0")), None);
    }

    #[test]
    fn all_parts_of_a_split_model_belong_to_it() {
        let all = files(&["q/m-Q8_0-00002-of-00002.gguf", "q/m-Q8_0-00001-of-00002.gguf"]);
        let first = model(&all, Some("Q8_0")).unwrap();
        assert_eq!(first, "q/m-Q8_0-00001-of-00002.gguf");
        assert_eq!(parts_of(first, &all, "a/b").unwrap(), [all[1].clone(), all[0].clone()]);
        let missing = parts_of(first, &all[1..], "a/b").unwrap_err().to_string();
        assert!(missing.contains("part 2 of 2"), "{missing}");
        assert_eq!(parts("m.gguf"), ["m.gguf"]);
        assert_eq!(parts("m-00001-of-99999.gguf"), ["m-00001-of-99999.gguf"]);
        assert_eq!(parts("m-00000-of-00002.gguf").len(), 1);
    }
}
