//! llama-server's flags that need nothing here: accepted, so that command lines keep working, and named in the log.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, parser::ValueSource};

const HEADING: &str = "Accepted for llama-server's command lines, without effect";

/// Whether a flag of the table takes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// A value that may be left out.
    Maybe,
}

/// Each flag, what follows it, and why it has no effect.
const FLAGS: &[(&str, Takes, &str)] = &[
    ("metrics", Takes::Nothing, "/metrics is always there"),
    ("cont-batching", Takes::Nothing, "requests are always batched continuously"),
    ("flash-attn", Takes::Maybe, "the device's own attention is used"),
    ("threads-batch", Takes::Value, "--threads counts for both"),
    ("warmup", Takes::Nothing, "the weights are always read at the start"),
    ("no-warmup", Takes::Nothing, "the weights are always read at the start"),
    ("repack", Takes::Nothing, "the device decides how weights lie"),
    ("no-repack", Takes::Nothing, "the device decides how weights lie"),
    ("no-ui", Takes::Nothing, "there is no page at /"),
    ("no-webui", Takes::Nothing, "there is no page at /"),
    ("cache-prompt", Takes::Nothing, "this is the default"),
    ("no-context-shift", Takes::Nothing, "a full context always ends the answer"),
    ("no-mmproj", Takes::Nothing, "there are no image inputs"),
    ("cache-ram", Takes::Value, "prompts stay in the KV blocks until others need them"),
    ("slot-prompt-similarity", Takes::Value, "prompts are matched block by block"),
    ("fit", Takes::Value, "the context always fits the memory where --ctx-size is 0"),
    ("numa", Takes::Value, "the system places the memory"),
    ("prio", Takes::Value, "the system's priority is kept"),
    ("poll", Takes::Value, "threads spin for some microseconds, then sleep"),
];

/// Which of those flags were given.
pub(crate) struct AcceptedArgs {
    pub(crate) given: Vec<&'static str>,
}

impl Args for AcceptedArgs {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(|&(name, takes, why)| {
            let arg = Arg::new(name).long(name).help(why).help_heading(HEADING);
            match takes {
                Takes::Nothing => arg.action(ArgAction::SetTrue),
                Takes::Value => arg.action(ArgAction::Set).value_name("VALUE").allow_hyphen_values(true),
                Takes::Maybe => {
                    arg.action(ArgAction::Set).value_name("VALUE").num_args(0..=1).default_missing_value("on")
                }
            }
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for AcceptedArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = |name: &&str| matches.value_source(name) == Some(ValueSource::CommandLine);
        Ok(Self { given: FLAGS.iter().map(|(name, ..)| *name).filter(given).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::AcceptedArgs;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        accepted: AcceptedArgs,
    }

    #[test]
    fn flags_without_effect_are_told() {
        let line = Line::parse_from(["x", "--warmup", "--flash-attn", "--cache-ram", "-1", "--numa=isolate"]);
        assert_eq!(line.accepted.given, ["flash-attn", "warmup", "cache-ram", "numa"]);
        assert!(Line::parse_from(["x"]).accepted.given.is_empty());
        assert!(Line::try_parse_from(["x", "--frobnicate"]).is_err());
    }
}
