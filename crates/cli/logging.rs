//! Logs: coloured lines on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    Auto,
    /// Readable lines
    Text,
    /// One JSON object a line
    Json,
}

/// Starts logging to standard error. `LLCUDA_LOG` filters, e.g. `debug` or `engine=trace,info`.
pub(crate) fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_env("LLCUDA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let json = format == LogFormat::Json || (format == LogFormat::Auto && !terminal);
    // A second call in one process keeps the first logger, which is what we want.
    let _ = if json { builder.json().flatten_event(true).try_init() } else { builder.with_target(false).try_init() };
}
