//! The bars that move while a model is loaded, downloaded or written.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::numbers::bytes;

const TEMPLATE: &str = "{msg} {bar:40.cyan/blue} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
/// Where the size is not known.
const SPINNER: &str = "{msg} {spinner} {bytes}, {bytes_per_sec}";
/// Of pieces of work.
const CHUNKS: &str = "computing {bar:40.cyan/blue} {pos} of {len} chunks, {eta} left";
const REDRAW: Duration = Duration::from_millis(100);
/// Smaller models are there before a bar could be read.
const MIN_BYTES: u64 = 256 << 20;
/// Without a terminal, a download is told about so often.
const LOG_STEPS: u64 = 10;

/// What a bar is about.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    Loading,
    Checking,
    Quantizing,
}

/// Counts bytes on the terminal; silent where there is none.
pub(crate) struct LoadBar(ProgressBar);

impl LoadBar {
    /// A bar that shows once it is started.
    pub(crate) fn new(work: Work) -> Self {
        let message = match work {
            Work::Loading => "loading",
            Work::Checking => "checking",
            Work::Quantizing => "quantizing",
        };
        Self(hidden_bar().with_message(message))
    }

    /// There are so many bytes to load.
    pub(crate) fn start(&self, num_bytes: u64) {
        if num_bytes < MIN_BYTES {
            self.0.set_draw_target(ProgressDrawTarget::hidden());
            return;
        }
        show(&self.0, Some(num_bytes));
    }

    /// So many more bytes are there.
    pub(crate) fn advance(&self, num_bytes: u64) {
        self.0.inc(num_bytes);
    }

    /// The bar goes away.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Counts chunks of a text that are computed; silent where there is no terminal.
pub(crate) struct ChunkBar(ProgressBar);

impl ChunkBar {
    pub(crate) fn start(num_chunks: usize) -> Self {
        let bar = hidden_bar();
        if let Ok(style) = ProgressStyle::with_template(CHUNKS) {
            bar.set_style(style);
        }
        bar.set_length(num_chunks as u64);
        bar.enable_steady_tick(REDRAW);
        Self(bar)
    }

    /// One more is computed.
    pub(crate) fn advance(&self) {
        self.0.inc(1);
    }

    /// The bar goes away.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Shows downloads on the terminal, or tells the log about them where there is none.
#[derive(Default)]
pub(crate) struct DownloadBar {
    bar: Option<ProgressBar>,
    name: String,
    done: u64,
    total: Option<u64>,
    /// Tenths of the file that the log knows of.
    num_logged: u64,
}

impl hub::Progress for DownloadBar {
    fn start(&mut self, name: &str, done: u64, total: Option<u64>) {
        (self.name, self.done, self.total) = (name.to_owned(), done, total);
        self.num_logged = self.tenths();
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(hidden_bar);
            bar.set_message(name.to_owned());
            show(bar, total);
            bar.set_position(done);
        } else {
            tracing::info!(file = name, done, total, "downloading");
        }
    }

    fn advance(&mut self, num_bytes: u64) {
        self.done += num_bytes;
        match &self.bar {
            Some(bar) => bar.inc(num_bytes),
            None if self.tenths() > self.num_logged => {
                self.num_logged = self.tenths();
                tracing::info!(file = self.name, done = self.done, total = self.total, "downloading");
            }
            None => {}
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        tracing::info!(file = self.name, size = bytes(self.done), "downloaded");
    }
}

impl DownloadBar {
    fn tenths(&self) -> u64 {
        self.total.map_or(0, |total| self.done * LOG_STEPS / total.max(1))
    }
}

/// On standard error, ten times a second at most; hidden where it is no terminal.
fn hidden_bar() -> ProgressBar {
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
}

fn show(bar: &ProgressBar, num_bytes: Option<u64>) {
    let template = if num_bytes.is_some() { TEMPLATE } else { SPINNER };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.reset_elapsed();
    num_bytes.into_iter().for_each(|n| bar.set_length(n));
    bar.enable_steady_tick(REDRAW);
}

const WRITE_TEMPLATE: &str = "writing {bar:40.cyan/blue} {bytes} of {total_bytes}, {bytes_per_sec}";

/// Counts the bytes of a result that are written; silent where there is no terminal.
pub(crate) struct WriteBar(ProgressBar);

impl WriteBar {
    /// A bar that shows with the first bytes.
    pub(crate) fn new() -> Self {
        let bar = hidden_bar();
        if let Ok(style) = ProgressStyle::with_template(WRITE_TEMPLATE) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// So many of all bytes are written.
    pub(crate) fn show(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// The bar goes away.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressStyle;

    #[test]
    fn the_templates_are_sound() {
        assert!(ProgressStyle::with_template(super::TEMPLATE).is_ok());
        assert!(ProgressStyle::with_template(super::SPINNER).is_ok());
        assert!(ProgressStyle::with_template(super::CHUNKS).is_ok());
        assert!(ProgressStyle::with_template(super::WRITE_TEMPLATE).is_ok());
    }
}
