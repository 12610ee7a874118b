//! Chat formats that are built in, for files without a Jinja template and for those whose template is not to be run.
//!
//! A format is a row of [`FORMATS`]: how a message of each role is written. Names and what they mean are llama-server's.

mod detect;
mod rows;

use serde_json::Value as Json;

pub(super) use detect::detect;
pub(super) use rows::FORMATS;

/// A chat format. A pattern is text with `{role}`, `{Role}` and `{ROLE}` (the role as it is, with a capital letter, in
/// capitals), `{content}`, `{trimmed}` (the same without white space around it) and `{system}` (what
/// [`System::IntoNext`] has kept, and a blank line) for parts of the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// llama-server's name for it.
    pub(super) name: &'static str,
    /// Before all messages.
    pub(super) begin: &'static str,
    /// Before the first message, where that is not the system's.
    pub(super) no_system: &'static str,
    /// Before each message but the first.
    pub(super) between: &'static str,
    /// Before the first message, and before those behind an answer.
    pub(super) exchange: Option<[&'static str; 2]>,
    pub(super) system: System,
    pub(super) user: &'static str,
    pub(super) assistant: &'static str,
    /// Roles with a pattern of their own.
    pub(super) more: &'static [(&'static str, &'static str)],
    /// All other roles; empty leaves their messages out.
    pub(super) other: &'static str,
    pub(super) answer: Answer,
}

/// Where system messages go.
#[derive(Clone, Copy, Debug)]
pub(super) enum System {
    /// Where they stand, by this pattern.
    Here(&'static str),
    /// By this pattern, the first message alone; others are left out.
    FirstOnly(&'static str),
    /// Into the next message whose pattern has a place for it. The pattern is what is kept.
    IntoNext(&'static str),
}

/// How an answer begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// With this text, where the beginning of an answer is asked for.
    Asked(&'static str),
    /// With this text behind a last message of the user, asked for or not.
    BehindUser(&'static str),
}

impl Format {
    /// The format with this name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// The prompt for a conversation.
    pub(super) fn render(&self, messages: &[Json], add_generation_prompt: bool) -> String {
        let mut out = self.begin.to_owned();
        let mut kept = String::new();
        let mut is_open = false;
        for (idx, message) in messages.iter().enumerate() {
            let (role, content) = (role(message), content(message));
            if idx == 0 && role != "system" {
                out += self.no_system;
            }
            if idx > 0 {
                out += self.between;
            }
            if let Some(opening) = self.exchange.filter(|_| !is_open) {
                out += opening[usize::from(idx > 0)];
                is_open = true;
            }
            let pattern = match (role, self.system) {
                ("system", System::Here(pattern)) => pattern,
                ("system", System::FirstOnly(pattern)) => Some(pattern).filter(|_| idx == 0).unwrap_or_default(),
                ("system", System::IntoNext(pattern)) => {
                    kept += &fill(pattern, role, &content, &mut String::new());
                    continue;
                }
                ("user", _) => self.user,
                ("assistant", _) => self.assistant,
                (role, _) => {
                    self.more.iter().find(|(name, _)| *name == role).map_or(self.other, |(_, pattern)| pattern)
                }
            };
            out += &fill(pattern, role, &content, &mut kept);
            is_open &= matches!(role, "system" | "user");
        }
        match self.answer {
            Answer::Asked(text) if add_generation_prompt => out += text,
            Answer::BehindUser(text) if messages.last().is_some_and(|m| role(m) == "user") => out += text,
            _ => {}
        }
        out
    }
}

/// Writes a message by a pattern. `kept` is emptied where the pattern has a place for it.
fn fill(pattern: &str, role: &str, content: &str, kept: &mut String) -> String {
    let mut out = String::with_capacity(pattern.len() + content.len());
    let mut rest = pattern;
    while let Some((text, behind)) = rest.split_once('{') {
        out += text;
        let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
        match name {
            "role" => out += role,
            "ROLE" => out += &role.to_ascii_uppercase(),
            "Role" => {
                let mut chars = role.chars();
                out.extend(chars.next().map(|c| c.to_ascii_uppercase()));
                out += chars.as_str();
            }
            "content" => out += content,
            "trimmed" => out += content.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b'),
            "system" if !kept.is_empty() => {
                out += &std::mem::take(kept);
                out += "\n\n";
            }
            _ => {}
        }
        rest = behind;
    }
    out + rest
}

fn role(message: &Json) -> &str {
    message.get("role").and_then(Json::as_str).unwrap_or_default()
}

/// The text of a message; that of parts, a line each.
fn content(message: &Json) -> String {
    match message.get("content") {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Array(parts)) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_patterns_know_their_parts() {
        let mut names: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FORMATS.len());
        let known = ["role", "Role", "ROLE", "content", "trimmed", "system"];
        for format in FORMATS {
            let (System::Here(system) | System::FirstOnly(system) | System::IntoNext(system)) = format.system;
            let more = format.more.iter().map(|(_, pattern)| *pattern);
            for pattern in [system, format.user, format.assistant, format.other].into_iter().chain(more) {
                for part in pattern.split('{').skip(1) {
                    let name = part.split_once('}').map(|(name, _)| name);
                    assert!(name.is_some_and(|name| known.contains(&name)), "{}: {pattern}", format.name);
                }
            }
        }
    }

    #[test]
    fn what_users_write_is_no_pattern() {
        let written = fill("{Role}: {content}{system}.", "über", " {role} {system}", &mut "Be brief.".to_owned());
        assert_eq!(written, "über:  {role} {system}Be brief.\n\n.");
    }
}
