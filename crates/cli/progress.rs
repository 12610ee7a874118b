//! The bar that moves while a model loads.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "loading {bar:40.cyan/blue} {bytes} of {total_bytes}, {bytes_per_sec}";
const REDRAW: Duration = Duration::from_millis(100);
/// Smaller models are there before a bar could be read.
const MIN_BYTES: u64 = 256 << 20;

/// Counts bytes on the terminal; silent where there is none.
pub(crate) struct LoadBar(ProgressBar);

impl LoadBar {
    /// A bar that shows once it is started.
    pub(crate) fn new() -> Self {
        // Standard error, ten times a second at most; hidden where it is no terminal.
        Self(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
    }

    /// There are so many bytes to load.
    pub(crate) fn start(&self, num_bytes: u64) {
        if num_bytes < MIN_BYTES {
            self.0.set_draw_target(ProgressDrawTarget::hidden());
            return;
        }
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            self.0.set_style(style);
        }
        self.0.reset_elapsed();
        self.0.set_length(num_bytes);
        self.0.enable_steady_tick(REDRAW);
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

#[cfg(test)]
mod tests {
    #[test]
    fn the_template_is_sound() {
        assert!(indicatif::ProgressStyle::with_template(super::TEMPLATE).is_ok());
    }
}
